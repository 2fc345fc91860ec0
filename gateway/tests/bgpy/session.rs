//! The recorded session of bgpy's client and server, with the gateway in the server's place.

use redcall_testkit::unhex;
use serde::Deserialize;
use serde_json::Value;

use crate::client::{Client, Received, kind, parse};
use crate::service;

const SESSION: &str = include_str!("../vectors/bgpy/session.jsonl");
const WRITE: &str = include_str!("../vectors/bgpy/write.json");

/// One segment of the recording, or the end of a direction.
#[derive(Deserialize)]
struct Segment {
    c: u32,
    d: String,
    hex: Option<String>,
}

/// The messages that differ from those of bgpy's server, by connection and number of the message.
/// bgpy ignores EXEC before INIT, and answers clients that do not wait.
fn instead(connection: u32, number: usize) -> Option<Option<Received>> {
    let error = r#"{"message":"Not yet initialized.","await_response":false}"#;
    match (connection, number) {
        (2, 2) => Some(Some((kind::ERROR, error.to_owned()))),
        (5, 3) => Some(None),
        _ => None,
    }
}

#[tokio::test]
async fn recorded_session_gets_the_recorded_answers() {
    let tasks = r#"tasks = ["mytasks.init_task", "mytasks.exec_task", "mytasks.exit_task"]"#;
    let (_stage, _worker, _gateway, address) = service::start(tasks).await;
    let lines = SESSION.lines().map(|line| serde_json::from_str::<Segment>(line).unwrap());
    let segments: Vec<Segment> = lines.collect();
    for connection in 1..=8 {
        let mut client = Client::connect(address).await;
        let (mut part, mut answers) = (Vec::new(), 0);
        for segment in segments.iter().filter(|segment| segment.c == connection) {
            let Some(bytes) = segment.hex.as_deref().map(unhex) else { continue };
            if segment.d == "C>S" {
                client.send(&bytes).await;
                continue;
            }
            part.extend(bytes);
            let length: usize = std::str::from_utf8(&part[..16]).unwrap().trim().parse().unwrap();
            if part.len() < 16 + length {
                continue;
            }
            let recorded = parse(&std::mem::take(&mut part));
            match instead(connection, answers) {
                None => assert_eq!(client.receive().await, recorded, "{connection}, {answers}"),
                Some(Some(other)) => assert_eq!(client.receive().await, other),
                Some(None) => {}
            }
            answers += 1;
        }
        client.finish().await;
        assert_eq!(client.closed().await, b"", "connection {connection}");
    }
}

#[test]
fn frames_of_the_writer_are_the_recorded_ones() {
    let frames: Vec<Value> = serde_json::from_str(WRITE).unwrap();
    for recorded in frames {
        let kind = if recorded["type"] == "OK" { kind::OK } else { kind::ERROR };
        let frame = unhex(recorded["frame_hex"].as_str().unwrap());
        let (read_kind, args) = parse(&frame);
        assert_eq!(read_kind, kind);
        assert_eq!(serde_json::from_str::<Value>(&args).unwrap(), recorded["args"]);
        assert_eq!(crate::client::message(kind, &args), frame);
    }
}
