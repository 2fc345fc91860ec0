//! Every code on the wire.

use redcall_client::Code;
use serde_json::json;

use crate::raw::Peer;
use crate::support::Stage;
use crate::support::codes::{message, table, with_codes};

#[tokio::test]
async fn every_code_has_its_number_on_the_wire() {
    let stage = Stage::new().await;
    let _worker = stage.worker(|worker| with_codes(worker, "ends")).await;
    let door = "[gateways.apps]\nprotocol = \"pm\"\nlisten = \"127.0.0.1:0\"\n";
    let gateway = stage.gateway(door).await;
    let mut peer = Peer::connect(gateway.address("apps", "listen")).await;
    let rows = [
        (&[Code::UnknownJob][..], -32601),
        (&[Code::InvalidRequest], -32600),
        (&[Code::InvalidData], -32602),
        (&[Code::NotFound, Code::Conflict, Code::TooLarge], -1),
        (&[Code::HandlerFailed, Code::HandlerPanicked, Code::Internal], -1),
        (&[Code::Overloaded, Code::WorkerLost, Code::NoWorkers, Code::Unavailable], -2),
        (&[Code::Unauthorized], -32001),
        (&[Code::Timeout, Code::DeadlineExceeded, Code::Cancelled], -32000),
    ];
    for (id, (code, number)) in table(&rows).into_iter().enumerate() {
        let data = json!(code.as_str());
        peer.request(id as u64, "ends", "S", data).await;
        let message = match code {
            Code::UnknownJob => "Method not found".to_owned(),
            code => message(code),
        };
        let error =
            format!(r#"{{"sid": "S", "error": {{"code": {number}, "message": "{message}"}}}}"#);
        let wanted = format!(r#"{{"jsonrpc": "2.0", "id": {id}, "error": {error}}}"#);
        assert_eq!(peer.next_text().await.unwrap(), wanted, "{code}");
    }
}
