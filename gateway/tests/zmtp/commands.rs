//! Commands of consoles.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests are tests, which clippy cannot tell"
)]

use std::time::{Duration, Instant};

use redcall_client::Code;
use redcall_client::WireError;
use redcall_gateway::zmtp::wire::{Incoming, SocketType, encode};
use redcall_testkit::eventually;
use serde_json::{Value, json};

use crate::lab::{Lab, Note, door};
use crate::peers::{Python, Raw, Version};
use crate::support::Stage;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn console_of_each_version_is_answered_now_and_later() {
    for version in Version::BOTH {
        let Some(mut python) = Python::start(version) else { continue };
        let lab = Lab::new(&format!("dialect = \"{}\"", version.dialect())).await;
        python.connect("console", "REQ", &[lab.commands()]);
        python.connect("events", "SUB", &[lab.events()]);
        python.event("events", "HEARTBEAT"); // its subscription is known

        let reply = python.request("console", 100, 5, &Value::Null);
        let headers = json!({"command": "100", "gateway": "lab", "nonce": "5"});
        let data = json!({"name": "about", "headers": headers});
        let expected = json!({
            "nonce": 5, "command": 100, "result": 100, "data": data,
            "errorKind": 0, "errorCode": 0, "errorMessage": null,
        });
        assert_eq!(reply, expected, "{version:?}");

        let reply = python.request("console", 120, 6, &Value::Null);
        assert_eq!((&reply["result"], &reply["data"]), (&json!(201), &json!("soon")));
        let token = lab.token().await;
        // The next command is answered while the first is not settled.
        assert_eq!(python.request("console", 110, 7, &json!([1]))["data"], json!([1]));
        assert!(lab.client.settle(&token, Ok(json!({"moved": true}))).await.unwrap());
        let expected = json!({
            "result": 100, "data": {"moved": true}, "errorCode": 0, "errorMessage": null,
            "command": 120, "nonce": 6,
        });
        assert_eq!(python.event("events", "COMMAND_RESULT"), expected, "{version:?}");

        assert_eq!(python.request("console", 120, 8, &Value::Null)["result"], 201);
        let error = WireError::new(Code::Conflict, "the door is open");
        let token = lab.token().await;
        assert!(lab.client.settle::<()>(&token, Err(error)).await.unwrap());
        let failed = python.event("events", "COMMAND_RESULT");
        assert_eq!((&failed["result"], &failed["nonce"]), (&json!(400), &json!(8)));
        assert_eq!(failed["errorCode"], Code::Conflict.number());
        assert_eq!(failed["errorMessage"], "the door is open");

        let silent = python.request("console", 120, 9, &json!("silent"));
        assert_eq!(silent["result"], 200, "its end is not published");
    }
}

#[tokio::test]
async fn values_pass_unchanged() {
    let lab = Lab::new("").await;
    let mut console = lab.console().await;
    let data =
        r#"{"b": 1.50, "A_a": -100000000000000000000000, "": {}, "é\u0000\ud83d\ude00": "x-Y"}"#;
    let nonce = "18446744073709551616";
    console.send(format!(r#"{{"nonce": {nonce}, "data": {data}, "command": 110}}"#)).await;
    let no_error = r#""errorKind": 0, "errorCode": 0, "errorMessage": null"#;
    let expected = format!(
        r#"{{"nonce": {nonce}, "command": 110, "result": 100, "data": {data}, {no_error}}}"#
    );
    assert_eq!(console.reply().await, expected);
}

/// The commands of a console and their results: result, error kind, error code.
#[tokio::test]
async fn each_command_has_the_result_of_the_table() {
    let lab =
        Lab::new("jobs = [\"about\", \"same\", \"panics\", \"fail\", \"command.*\", \"unmapped\"]")
            .await;
    let mut console = lab.console().await;
    let own = |nonce: i64, command: i64| (nonce, command);
    let cases = [
        (r#"{"command": 99999, "customCommand": 42, "nonce": 4}"#, own(4, 99_999), (100, 0, 0)),
        (r#"{"command": 42, "nonce": 5}"#, own(5, 42), (100, 0, 0)),
        (r#"{"command": -7}"#, own(0, -7), (100, 0, 0)),
        (r#"{"command": 100, "nonce": "x"}"#, own(0, 100), (100, 0, 0)),
        (r#"{"command": 100, "nonce": 1.5}"#, own(0, 100), (100, 0, 0)),
        (r#"{"command": 160, "nonce": 1}"#, own(1, 160), (0, 1, -32001)),
        (r#"{"command": 43, "nonce": 1}"#, own(1, 43), (0, 1, -32001)),
        (r#"{"command": 120, "nonce": 1}"#, own(1, 120), (0, 1, -32001)), // not in `jobs`
        (r#"{"command": 140, "nonce": 1}"#, own(1, 140), (500, 1, -32011)),
        (r#"{"command": 150, "nonce": 1, "data": {}}"#, own(1, 150), (400, 2, -32010)),
        (r#"{"command": 110, "nonce": 1, "data": "\ud800"}"#, own(1, 110), (400, 2, -32006)),
        (r#"{"command": 0, "nonce": 7}"#, own(7, 0), (0, 1, -32005)),
        (r#"{"command": 1.5, "nonce": 7}"#, own(7, 0), (0, 1, -32005)),
        (r#"{"nonce": 7}"#, own(7, 0), (0, 1, -32005)),
        (r#"{"command": 100, "nonce": NaN}"#, own(0, 0), (0, 1, -32005)),
        ("[100]", own(0, 0), (0, 1, -32005)),
        ("", own(0, 0), (0, 1, -32005)),
        ("hello", own(0, 0), (0, 1, -32005)),
    ];
    for (request, (nonce, command), (result, kind, code)) in cases {
        let reply = console.request(request).await;
        let found = json!([reply["nonce"], reply["command"], reply["result"]]);
        assert_eq!(found, json!([nonce, command, result]), "{request} {reply}");
        assert_eq!(json!([reply["errorKind"], reply["errorCode"]]), json!([kind, code]), "{reply}");
        assert_eq!(reply.as_object().unwrap().len(), 7, "{reply}");
        assert_eq!(reply["errorMessage"].is_null(), kind == 0, "{reply}");
    }
    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    let reply = console.request(format!(r#"{{"command": 110, "data": {deep}}}"#)).await;
    assert_eq!(json!([reply["result"], reply["errorCode"]]), json!([400, -32006]));
    console.write(&encode::message(&[b"", b"\xff\xfe"])).await;
    assert!(console.reply().await.contains("\"result\": 0"));
    // Of two bodies neither is taken; without a delimiter there is no address for an answer.
    console.write(&encode::message(&[b"", b"{\"command\": 110}", b"{}"])).await;
    assert!(console.reply().await.contains("\"result\": 0"));
    console.write(&encode::message(&[b"{\"command\": 110}"])).await;
    assert_eq!(console.request(r#"{"command": 110, "data": 3}"#).await["data"], 3);
}

#[tokio::test]
async fn addresses_of_a_dealer_are_repeated_and_pings_answered_meanwhile() {
    let lab = Lab::new("").await;
    let mut dealer = Raw::connect(lab.commands(), SocketType::Req).await;
    let body = br#"{"command": 120, "nonce": 1}"#;
    dealer.write(&encode::message(&[b"a1", b"a2", b"", body])).await;
    let frames = dealer.message().await;
    assert_eq!(frames[..3], [&b"a1"[..], b"a2", b""]);
    dealer.send(r#"{"command": 130}"#).await;
    drop(lab.token().await);
    assert!(matches!(lab.note().await, Note::Started));
    dealer.write(b"\x04\x09\x04PING\0\x05ab").await;
    // The PONG comes although the command runs.
    let mut first = [0; 9];
    use tokio::io::AsyncReadExt as _;
    dealer.read.get_mut().read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"\x04\x07\x04PONGab");
}

#[tokio::test]
async fn command_without_a_worker_is_unavailable_at_once() {
    let stage = Stage::new().await;
    let gateway = stage.gateway(&door("timeout = \"20s\"")).await;
    let mut console =
        Raw::connect(gateway.address("lab", "listen_commands"), SocketType::Req).await;
    let since = Instant::now();
    let reply = console.request(r#"{"command": 100, "nonce": 3}"#).await;
    assert!(since.elapsed() < Duration::from_secs(4), "{:?}", since.elapsed());
    let found = json!([reply["nonce"], reply["result"], reply["errorKind"], reply["errorCode"]]);
    assert_eq!(found, json!([3, 9999, 1, -32002]), "{reply}");
}

#[tokio::test]
async fn command_that_takes_too_long_is_unavailable_and_withdrawn() {
    let lab = Lab::new("timeout = \"300ms\"").await;
    let mut console = lab.console().await;
    let reply = console.request(r#"{"command": 130, "nonce": 3}"#).await;
    let found = json!([reply["nonce"], reply["result"], reply["errorKind"], reply["errorCode"]]);
    assert_eq!(found, json!([3, 9999, 1, -32013]), "{reply}");
    assert!(matches!(lab.note().await, Note::Started));
    assert!(matches!(lab.note().await, Note::Cancelled));
}

#[tokio::test]
async fn console_that_goes_away_withdraws_its_command() {
    let lab = Lab::new("timeout = \"1h\"").await;
    let mut console = lab.console().await;
    console.send(r#"{"command": 130}"#).await;
    assert!(matches!(lab.note().await, Note::Started));
    drop(console);
    assert!(matches!(lab.note().await, Note::Cancelled));
}

#[tokio::test]
async fn console_that_sends_ahead_withdraws_its_command_too() {
    let lab = Lab::new("timeout = \"1h\"").await;
    let mut console = lab.console().await;
    console.send(r#"{"command": 130}"#).await;
    assert!(matches!(lab.note().await, Note::Started));
    // As a DEALER does.
    for _ in 0..4 {
        console.send(r#"{"command": 110}"#).await;
    }
    drop(console);
    assert!(matches!(lab.note().await, Note::Cancelled));
}

#[tokio::test]
async fn commands_that_are_sent_ahead_are_answered_in_order() {
    let lab = Lab::new("").await;
    let mut console = lab.console().await;
    for number in 0..40 {
        console.send(format!(r#"{{"command": 110, "nonce": {number}}}"#)).await;
    }
    for number in 0..40 {
        let reply: Value = serde_json::from_str(&console.reply().await).unwrap();
        assert_eq!(reply["nonce"], number);
    }
}

#[tokio::test]
async fn command_to_a_full_queue_is_unavailable() {
    let lab = Lab::new("[limits]\nmax_length = 1\n").await;
    lab.client.pause("device").await.unwrap();
    lab.client.request("same").queue("device").submit().await.unwrap();
    let reply = lab.console().await.request(r#"{"command": 110, "nonce": 3}"#).await;
    let summary = json!([reply["nonce"], reply["result"], reply["errorKind"], reply["errorCode"]]);
    assert_eq!(summary, json!([3, 9999, 1, Code::Overloaded.number()]));
}

#[tokio::test]
async fn slow_commands_hold_up_no_others() {
    let lab = Lab::new("timeout = \"1h\"").await;
    let mut waiting = Vec::new();
    for _ in 0..8 {
        let mut console = lab.console().await;
        console.send(r#"{"command": 130}"#).await;
        assert!(matches!(lab.note().await, Note::Started));
        waiting.push(console);
    }
    let mut console = lab.console().await;
    assert_eq!(console.request(r#"{"command": 110, "data": 1}"#).await["data"], 1);
}

#[tokio::test]
async fn drain_answers_the_running_command_first() {
    let lab = Lab::new("timeout = \"1h\"").await;
    let (mut console, mut idle) = (lab.console().await, lab.console().await);
    console.send(r#"{"command": 120, "nonce": 4}"#).await;
    let token = lab.token().await;
    assert!(console.reply().await.contains("\"result\": 201"));
    let mut subscriber = Raw::subscriber(lab.events()).await;
    lab.gateway.end().await.unwrap();
    assert!(idle.next().await.is_none() && console.next().await.is_none());
    while subscriber.next().await.is_some_and(|item: Result<Incoming, _>| item.is_ok()) {}
    // The deferred command is its own: it outlives the gateway.
    assert!(lab.client.settle(&token, Ok(1)).await.unwrap());
    eventually("no deferred request", async || {
        (lab.client.inspect().queue("device").await.unwrap().deferred == 0).then_some(())
    })
    .await;
}
