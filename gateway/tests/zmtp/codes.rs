//! Every code on the wire.

use redcall_client::Code;
use redcall_gateway::zmtp::wire::SocketType;
use serde_json::json;

use crate::lab::door;
use crate::peers::Raw;
use crate::support::Stage;
use crate::support::codes::{message, table, with_codes};

#[tokio::test]
async fn every_code_has_its_result_on_the_wire() {
    let stage = Stage::new().await;
    let _worker = stage.worker(|worker| with_codes(worker, "command.42")).await;
    let gateway = stage.gateway(&door("")).await;
    let commands = gateway.address("lab", "listen_commands");
    let mut console = Raw::connect(commands, SocketType::Req).await;
    let command = [Code::InvalidData, Code::NotFound, Code::Conflict, Code::TooLarge];
    // Of a worker: nothing of the gateway says so.
    let ended = [Code::Timeout, Code::DeadlineExceeded, Code::Cancelled];
    let rows = [
        (&[Code::UnknownJob, Code::InvalidRequest][..], (0, 1)),
        (&command, (400, 2)),
        (&[Code::Unauthorized, Code::HandlerFailed], (400, 2)),
        (&ended, (400, 2)),
        (&[Code::HandlerPanicked, Code::Internal, Code::WorkerLost], (500, 1)),
        (&[Code::Overloaded, Code::NoWorkers, Code::Unavailable], (9999, 1)),
    ];
    for (code, (result, kind)) in table(&rows) {
        console.send(json!({"command": 42, "nonce": 7, "data": code.as_str()}).to_string()).await;
        let (number, message) = (code.number(), message(code));
        let wanted = format!(
            "{{\"nonce\": 7, \"command\": 42, \"result\": {result}, \
             \"data\": {{\"of\":\"{code}\"}}, \"errorKind\": {kind}, \
             \"errorCode\": {number}, \"errorMessage\": \"{message}\"}}"
        );
        assert_eq!(console.reply().await, wanted, "{code}");
    }
}
