//! Every code on the wire.

use redcall_client::Code;
use redcall_worker::{HandlerError, Json};
use serde_json::Value;

use crate::client::CALL;
use crate::door::door;
use crate::raw::{connect, exchange, init_message, message_of, request};
use crate::support::Stage;
use crate::support::codes::{error, message, table};

/// Ends with the code in the record.
async fn transform(Json(record): Json<Value>) -> Result<Json<Value>, HandlerError> {
    Err(error(record["task_args"]["ingest_type"].as_str().unwrap()))
}

#[tokio::test]
async fn every_code_has_its_status_on_the_wire() {
    let stage = Stage::new().await;
    let _worker = stage.worker(|worker| worker.handler("transform", transform)).await;
    let gateway = stage.gateway(&door("")).await;
    let mut sender = connect(gateway.address("scix", "listen"), 1 << 20).await;
    assert_eq!(message_of("metadata"), init_message(false));
    let rows = [
        (&[Code::UnknownJob][..], 12),
        (&[Code::InvalidRequest, Code::InvalidData], 3),
        (&[Code::NotFound], 5),
        (&[Code::Conflict], 10),
        (&[Code::TooLarge, Code::Overloaded], 8),
        (&[Code::Unauthorized], 7),
        (&[Code::HandlerFailed, Code::HandlerPanicked, Code::Internal], 13),
        (&[Code::Timeout, Code::DeadlineExceeded], 4),
        (&[Code::Cancelled], 1),
        (&[Code::WorkerLost, Code::NoWorkers, Code::Unavailable], 14),
    ];
    for (code, status) in table(&rows) {
        let ended = exchange(&mut sender, request(CALL, &[], message_of(code.as_str()))).await;
        assert_eq!(
            (ended.http, ended.code, &*ended.messages),
            (200, Some(status), &[][..]),
            "{code}"
        );
        assert_eq!(ended.text, Some(message(code)));
    }
}
