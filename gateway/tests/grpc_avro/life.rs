//! The life of jobs, as a real `grpcio` client sees it.

use redcall_worker::{HandlerError, Json};
use serde_json::json;
use serde_json::value::RawValue;

use crate::client::{CALL, GrpcClient, INIT, monitor, record};
use crate::door::{door, worker};
use crate::python::python;
use crate::support::Stage;

#[tokio::test]
async fn whole_life_of_a_job_is_a_stream() {
    let Some(python) = python() else { return };
    let stage = Stage::new().await;
    let gateway = stage.gateway(&door("")).await;
    let mut client = GrpcClient::of(&python, gateway.address("scix", "listen"));
    client.begin(json!({"path": INIT, "record": record(true)})).await;
    let first = client.record().await;
    let id = first["hash"].as_str().unwrap().to_owned();
    let mut expected = record(true);
    expected["hash"] = json!(id);
    expected["status"] = json!("Pending");
    expected["task_args"]["persistence"] = json!(null);
    assert_eq!(first, expected);
    // Nothing runs the job so far.
    let (_worker, mut job) = worker(&stage).await;
    expected["status"] = json!("Processing");
    assert_eq!(client.record().await, expected);
    let data = job.started.recv().await.unwrap();
    let whole = concat!(
        r#"{"hash":null,"id":null,"task":"SYMBOL1","status":null,"task_args":{"ingest":null,"#,
        r#""ingest_type":"metadata","daterange":"2023-03-07","persistence":true}}"#
    );
    assert_eq!(data, whole);
    job.end_one();
    expected["status"] = json!("Success");
    assert_eq!(client.record().await, expected);
    assert_eq!(client.code().await, "OK");
}

#[tokio::test]
async fn failed_job_ends_its_stream_with_error() {
    let Some(python) = python() else { return };
    let stage = Stage::new().await;
    let gateway = stage.gateway(&door("")).await;
    let (_worker, job) = worker(&stage).await;
    job.end_one();
    let mut client = GrpcClient::of(&python, gateway.address("scix", "listen"));
    let mut record = record(true);
    record["task_args"]["ingest_type"] = json!("fails");
    let (states, code) = client.states(json!({"path": INIT, "record": record})).await;
    assert_eq!((states.last().unwrap().as_str(), code.as_str()), ("Error", "OK"));
    assert_eq!(states[0], "Pending");
}

#[tokio::test]
async fn monitor_returns_the_state_of_running_and_ended_jobs() {
    let Some(python) = python() else { return };
    let stage = Stage::new().await;
    let gateway = stage.gateway(&door("")).await;
    let mut client = GrpcClient::of(&python, gateway.address("scix", "listen"));
    let mut follower = GrpcClient::of(&python, gateway.address("scix", "listen"));
    let id = client.init().await;
    let one = |state: &str| (vec![state.to_owned()], "OK".to_owned());
    assert_eq!(client.states(monitor(&id, false)).await, one("Pending"));
    let (_worker, mut job) = worker(&stage).await;
    job.started.recv().await.unwrap();
    assert_eq!(client.states(monitor(&id, false)).await, one("Processing"));
    // From now on: no Pending.
    follower.begin(monitor(&id, true)).await;
    let first = follower.record().await;
    assert_eq!((&first["hash"], &first["status"]), (&json!(id), &json!("Processing")));
    // As the original service: the field that requests the stream stays in these frames.
    assert_eq!(first["task_args"]["persistence"], true);
    job.end_one();
    assert_eq!(follower.state().await, "Success");
    assert_eq!(follower.code().await, "OK");
    assert_eq!(client.states(monitor(&id, false)).await, one("Success"));
    assert_eq!(client.states(monitor(&id, true)).await, one("Success"));
}

#[tokio::test]
async fn monitor_of_an_unknown_job_is_not_found() {
    let Some(python) = python() else { return };
    let stage = Stage::new().await;
    let gateway = stage.gateway(&door("")).await;
    let mut client = GrpcClient::of(&python, gateway.address("scix", "listen"));
    for id in ["nosuchhash", "not an id\n", &"x".repeat(300), "*"] {
        for follow in [false, true] {
            let (code, _) = client.refused(monitor(id, follow)).await;
            assert_eq!(code, "NOT_FOUND", "{id}");
        }
    }
    // A request that names no job is answered by a frame, as the original service does.
    let mut none = monitor("", false);
    for hash in [json!(null), json!("")] {
        for follow in [false, true] {
            none["record"]["hash"] = hash.clone();
            none["record"]["task_args"]["persistence"] = json!(follow);
            let error = (vec!["Error".to_owned()], "OK".to_owned());
            assert_eq!(client.states(none.clone()).await, error);
        }
    }
}

#[tokio::test]
async fn call_waits_for_the_answer_of_its_job() {
    let Some(python) = python() else { return };
    let stage = Stage::new().await;
    let gateway = stage.gateway(&door("timeout = \"5s\"")).await;
    let address = gateway.address("scix", "listen");
    let input = crate::client::vectors().join("TemplateInput.avsc");
    let output = crate::client::vectors().join("TemplateOutput.avsc");
    let mut client = GrpcClient::start(&python, &address.to_string(), [&input, &output], &[]);
    let call = |kind: &str| {
        let mut record = record(false);
        record["task_args"]["ingest_type"] = json!(kind);
        json!({"path": CALL, "record": record})
    };
    let (code, _) = client.refused(call("good")).await;
    assert_eq!(code, "UNAVAILABLE", "no worker serves the queue");
    let _worker = stage.worker(|worker| worker.handler("transform", transform)).await;
    client.begin(call("good")).await;
    let answer = client.record().await;
    let expected = json!({"record_id": "r1", "record_data": null, "task": "SYMBOL4"});
    assert_eq!((answer, client.code().await), (expected, "OK".to_owned()));
    for (kind, code, details) in [
        ("failed", "INTERNAL", "the record is too old"),
        ("symbol", "INTERNAL", "task: the text is not one of the enum's symbols"),
        ("more", "INTERNAL", "more: the record has no such field"),
        ("less", "INTERNAL", "record_data: the field is missing"),
        ("late", "DEADLINE_EXCEEDED", ""),
    ] {
        let (found, message) = client.refused(call(kind)).await;
        assert!(found == code && message.contains(details), "{kind}: {found} {message}");
    }
}

async fn transform(
    Json(record): Json<serde_json::Value>,
) -> Result<Json<Box<RawValue>>, HandlerError> {
    let answer = match record["task_args"]["ingest_type"].as_str() {
        Some("good") => r#"{"task":"SYMBOL4","record_id":"r1","record_data":null}"#,
        Some("symbol") => r#"{"task":"SYMBOL5","record_id":"r1","record_data":null}"#,
        Some("more") => r#"{"task":"SYMBOL1","record_id":"","record_data":"","more":1}"#,
        Some("less") => r#"{"task":"SYMBOL1","record_id":""}"#,
        Some("late") => return std::future::pending().await,
        _ => return Err(HandlerError::new("the record is too old")),
    };
    Ok(Json(RawValue::from_string(answer.to_owned())?))
}

#[tokio::test]
async fn unknown_job_of_a_call_is_unimplemented() {
    let Some(python) = python() else { return };
    let stage = Stage::new().await;
    let gateway = stage.gateway(&door("jobs = [\"template\"]")).await;
    let mut client = GrpcClient::of(&python, gateway.address("scix", "listen"));
    let (code, _) = client.refused(json!({"path": CALL, "record": record(false)})).await;
    assert_eq!(code, "UNIMPLEMENTED");
}
