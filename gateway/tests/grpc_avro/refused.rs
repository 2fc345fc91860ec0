//! Messages and requests that are refused, alongside a stream that goes on; recorded sessions.

use std::collections::BTreeMap;

use redcall_gateway::Gateway;
use redcall_testkit::unhex;
use serde::Deserialize;
use serde_json::json;

use crate::client::{GrpcClient, INIT, MONITOR, monitor, record, vectors};
use crate::door::{door, worker};
use crate::hostile::{answer_of, data_of};
use crate::python::python;
use crate::raw::{self, connect, exchange};
use crate::support::Stage;

#[derive(Deserialize)]
struct Refuse {
    is: String,
    datum_hex: String,
}

#[tokio::test]
async fn inputs_of_the_refuse_table_are_invalid_arguments() {
    let Some(python) = python() else { return };
    let stage = Stage::new().await;
    let gateway = stage.gateway(&door("")).await;
    let address = gateway.address("scix", "listen");
    let mut other = GrpcClient::of(&python, address);
    other.begin(json!({"path": INIT, "record": record(true)})).await;
    other.record().await;
    let mut client = GrpcClient::of(&python, address);
    let table = std::fs::read_to_string(vectors().join("refuse.json")).unwrap();
    let table: Vec<Refuse> = serde_json::from_str(&table).unwrap();
    for Refuse { is, datum_hex } in table {
        for path in [INIT, MONITOR] {
            let (code, _) = client.refused(json!({"path": path, "hex": datum_hex})).await;
            assert_eq!(code, "INVALID_ARGUMENT", "{is}");
        }
    }
    // Nothing was queued but the other client's job.
    let queue = stage.client().await.inspect().queue("default").await.unwrap();
    assert_eq!(queue.length, 1);
    let (_worker, job) = worker(&stage).await;
    job.end_one();
    assert_eq!(other.state().await, "Processing");
    assert_eq!(other.state().await, "Success");
    assert_eq!(other.code().await, "OK");
}

#[tokio::test]
async fn message_over_the_limit_is_resource_exhausted() {
    let Some(python) = python() else { return };
    let stage = Stage::new().await;
    let gateway = stage.gateway(&door("message = \"64KiB\"")).await;
    let mut client = GrpcClient::of(&python, gateway.address("scix", "listen"));
    let mut large = record(false);
    large["task_args"]["ingest_type"] = json!("a".repeat(65_000));
    let mut call = json!({"path": INIT, "record": large});
    assert_eq!(client.states(call.clone()).await.1, "OK");
    call["record"]["task_args"]["ingest_type"] = json!("a".repeat(10_000_000));
    assert_eq!(client.refused(call.clone()).await.0, "RESOURCE_EXHAUSTED");
    // Small on the wire: decompression stops at the limit.
    for compression in ["gzip", "deflate"] {
        call["compression"] = json!(compression);
        assert_eq!(client.refused(call.clone()).await.0, "RESOURCE_EXHAUSTED", "{compression}");
    }
}

/// Within the default of `message`, 4 MiB, and beyond that of `limits.request`, 2 MiB.
#[tokio::test]
async fn message_over_the_limit_of_requests_is_resource_exhausted() {
    let Some(python) = python() else { return };
    let stage = Stage::new().await;
    let gateway = stage.gateway(&door("")).await;
    let mut client = GrpcClient::of(&python, gateway.address("scix", "listen"));
    let mut large = record(false);
    // The second one fits without its envelope.
    for length in [3_000_000, (2 << 20) - 200] {
        large["task_args"]["ingest_type"] = json!("a".repeat(length));
        let (code, details) = client.refused(json!({"path": INIT, "record": large})).await;
        assert_eq!(code, "RESOURCE_EXHAUSTED", "{length}: {details}");
    }
}

#[tokio::test]
async fn compressed_requests_are_read() {
    let Some(python) = python() else { return };
    let stage = Stage::new().await;
    let gateway = stage.gateway(&door("")).await;
    let mut client = GrpcClient::of(&python, gateway.address("scix", "listen"));
    for compression in ["gzip", "deflate"] {
        let call = json!({"path": INIT, "record": record(false), "compression": compression});
        assert_eq!(client.states(call).await, (vec!["Pending".to_owned()], "OK".to_owned()));
    }
}

#[tokio::test]
async fn requests_that_are_not_calls_of_the_door_are_refused() {
    let stage = Stage::new().await;
    let gateway = stage.gateway(&door("")).await;
    let mut sender = connect(gateway.address("scix", "listen"), 1 << 20).await;
    let message = raw::init_message(false);
    let unknown = raw::request("/templateaapi.TemplateInit/other", &[], message.clone());
    assert_eq!(exchange(&mut sender, unknown).await.code, Some(12));
    let encoding = raw::init(false, &[("grpc-encoding", "br")]);
    assert_eq!(exchange(&mut sender, encoding).await.code, Some(12));
    let kind = raw::init(false, &[("content-type", "application/json")]);
    assert_eq!(exchange(&mut sender, kind).await.http, 415);
    let mut verb = raw::init(false, &[]);
    *verb.method_mut() = hyper::Method::GET;
    assert_eq!(exchange(&mut sender, verb).await.http, 405);
    for body in [
        vec![],
        vec![0, 0, 0],
        message[..10].to_vec(),
        [message.clone(), message.clone()].concat(),
        [vec![2], message[1..].to_vec()].concat(),
    ] {
        let shown = format!("{body:?}");
        let answer = exchange(&mut sender, raw::request(INIT, &[], body)).await;
        assert_eq!((answer.http, answer.code, answer.messages.len()), (200, Some(3), 0), "{shown}");
    }
    // The connection has survived all of them.
    let good = raw::init(false, &[("content-type", "application/grpc+proto")]);
    assert_eq!(exchange(&mut sender, good).await.code, Some(0));
}

#[derive(Deserialize)]
struct Segment {
    c: u32,
    d: String,
    #[serde(default)]
    hex: String,
}

/// The bytes of a recorded connection, by direction.
fn recorded(connection: u32) -> [Vec<u8>; 2] {
    let text = std::fs::read_to_string(vectors().join("real-session.jsonl")).unwrap();
    let segments = text.lines().map(|line| serde_json::from_str::<Segment>(line).unwrap());
    let mut bytes = BTreeMap::<String, Vec<u8>>::new();
    for segment in segments.filter(|segment| segment.c == connection) {
        bytes.entry(segment.d).or_default().extend(unhex(&segment.hex));
    }
    ["C>S", "S>C"].map(|direction| bytes.remove(direction).unwrap())
}

/// A frame's bytes after its hash.
fn after_hash(frame: &[u8]) -> &[u8] {
    let length = match frame[6..] {
        // 64 characters in the recordings, 36 in ours; none if the field is null.
        [0x80, 1, ..] => 2 + 64,
        [0x48, ..] => 1 + 36,
        _ => 0,
    };
    &frame[6 + length..]
}

#[tokio::test]
async fn recorded_sessions_are_answered_as_recorded() {
    let stage = Stage::new().await;
    let gateway = stage.gateway(&door("")).await;
    let (_worker, job) = worker(&stage).await;
    let address = gateway.address("scix", "listen");
    // INIT, INIT of another record, INIT with a stream, MONITOR without an id.
    for connection in [1, 4, 6, 8] {
        job.end_one();
        let [sent, received] = recorded(connection);
        let ours = answer_of(address, &sent).await;
        let (ours, mut theirs) = (data_of(&ours), data_of(&received));
        // The original repeats a state.
        theirs.dedup();
        let [ours, theirs] = [&ours, &theirs].map(|frames| {
            frames.iter().map(|frame| after_hash(frame).to_vec()).collect::<Vec<_>>()
        });
        assert_eq!(ours, theirs, "connection {connection}");
    }
    // An unknown job, no datum: no message, as in the recordings.
    for connection in [7, 9] {
        let [sent, received] = recorded(connection);
        assert_eq!(data_of(&received), Vec::<Vec<u8>>::new());
        assert_eq!(data_of(&answer_of(address, &sent).await), Vec::<Vec<u8>>::new());
    }
}

#[tokio::test]
async fn settings_that_do_not_fit_their_schemas_are_refused() {
    let stage = Stage::new().await;
    let recursive = r#"{"type":"record","name":"r","fields":[{"name":"x","type":["null","r"]}]}"#;
    let recursive = stage.write("recursive.avsc", recursive);
    let input = vectors().join("TemplateInput.avsc").display().to_string();
    let output = vectors().join("TemplateOutput.avsc").display().to_string();
    for (from, to, expected) in [
        ("key = \"hash\"", "key = \"hsh\"", "there is no field `hsh`"),
        ("key = \"hash\"", "key = \"id\"", "the field `id` does not take \"x\""),
        ("status = \"status\"", "status = \"task\"", "does not take \"Pending\""),
        ("follow = \"task_args.persistence\"", "follow = \"hash\"", "does not take true"),
        (&*input, recursive.to_str().unwrap(), "`r` contains itself"),
        (&*input, "/nonexistent/x.avsc", "No such file"),
        (&*input, &output, "there is no field"),
    ] {
        let settings = stage.settings(&door("").replace(from, to));
        let problems = Gateway::check(&settings);
        let messages = problems.iter().map(ToString::to_string).collect::<String>();
        assert!(messages.contains(expected), "{to}: {messages}");
        let opened = Gateway::open(settings).await;
        assert!(opened.is_err_and(|error| error.to_string().contains(expected)), "{to}");
    }
    assert!(Gateway::check(&stage.settings(&door(""))).is_empty());
}

#[tokio::test]
async fn monitor_of_a_job_that_may_not_be_called_is_not_found() {
    let Some(python) = python() else { return };
    let stage = Stage::new().await;
    let gateway = stage.gateway(&door("")).await;
    let mut client = GrpcClient::of(&python, gateway.address("scix", "listen"));
    let id = client.init().await;
    let other = stage.gateway(&door("jobs = [\"transform\"]")).await;
    let mut client = GrpcClient::of(&python, other.address("scix", "listen"));
    assert_eq!(client.refused(monitor(&id, false)).await.0, "NOT_FOUND");
    let (code, _) = client.refused(json!({"path": INIT, "record": record(false)})).await;
    assert_eq!(code, "UNIMPLEMENTED");
}
