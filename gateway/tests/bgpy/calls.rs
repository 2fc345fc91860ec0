//! Calls of clients, as the service sees them.

use redcall_client::{Client as Redcall, DeadSelection};
use redcall_testkit::eventually;

use crate::client::{Client, init, kind};
use crate::service;
use crate::support::Stage;

/// The state of the instance, as JSON.
async fn state(client: &Redcall) -> Option<String> {
    let state = client.service("counter").state(service::SHORT).await.unwrap();
    state.map(|state| state.state.get().to_owned())
}

#[tokio::test]
async fn tasks_are_initialized_executed_and_ended() {
    let (stage, _worker, _gateway, address) = service::start("").await;
    let redcall = stage.client().await;
    let mut client = Client::authenticated(address).await;
    client.initialize().await;
    assert_eq!(state(&redcall).await.unwrap(), r#"{"n":0,"value":1000}"#);

    let expected = (kind::OK, r#"{"answer":1010,"await_response":false}"#.to_owned());
    assert_eq!(client.execute(r#""command":"add","value_change":10"#).await, expected);
    let receipt = (kind::OK, r#"{"message":"Received 'EXEC'"}"#.to_owned());
    assert_eq!(client.enqueue(r#""command":"add","value_change":-100"#).await, receipt);
    let expected = (kind::OK, r#"{"n":2,"await_response":false}"#.to_owned());
    assert_eq!(client.call(kind::EXIT, "").await, expected);
    assert_eq!(state(&redcall).await, None);
    client.initialize().await;
}

#[tokio::test]
async fn conflicts_have_the_texts_of_bgpy() {
    let (_stage, _worker, _gateway, address) = service::start("").await;
    let mut client = Client::authenticated(address).await;
    let not_yet = r#"{"message":"Not yet initialized.","await_response":false}"#;
    assert_eq!(client.enqueue(r#""command":"none""#).await, (kind::ERROR, not_yet.to_owned()));
    let not_yet = r#"{"message":"Not yet initialized.","code":"conflict","await_response":false}"#;
    for kind in [kind::EXEC, kind::EXIT] {
        assert_eq!(client.call(kind, "").await, (kind::ERROR, not_yet.to_owned()));
    }
    client.initialize().await;
    client.send(&init("mytasks")).await;
    client.receives(kind::OK, r#"{"message":"Received 'INIT'"}"#).await;
    let already = r#"{"message":"Already initialized.","await_response":false}"#;
    client.receives(kind::ERROR, already).await;
}

#[tokio::test]
async fn other_tasks_are_not_served() {
    let tasks = r#"tasks = ["mytasks.init_task", "mytasks.exec_task", "mytasks.exit_task"]"#;
    let (stage, _worker, _gateway, address) = service::start(tasks).await;
    let mut client = Client::authenticated(address).await;
    client.send(&init("os")).await;
    client.receives(kind::OK, r#"{"message":"Received 'INIT'"}"#).await;
    let error = r#"{"message":"These tasks are not served here.","await_response":false}"#;
    client.receives(kind::ERROR, error).await;
    client.receipt("ERROR").await;
    assert_eq!(state(&stage.client().await).await, None);
    client.initialize().await;
}

#[tokio::test]
async fn error_of_a_task_has_its_message_and_code() {
    let (_stage, _worker, _gateway, address) = service::start("").await;
    let mut client = Client::authenticated(address).await;
    client.initialize().await;
    let error = r#"{"message":"the task failed","code":"handler_failed","await_response":false}"#;
    assert_eq!(client.execute(r#""command":"fail""#).await, (kind::ERROR, error.to_owned()));
}

#[tokio::test]
async fn caller_that_goes_withdraws_its_call() {
    let (_stage, _worker, _gateway, address) = service::start("").await;
    let mut client = Client::authenticated(address).await;
    client.initialize().await;
    client.begin(kind::EXEC, r#""command":"sleep""#).await;
    drop(client);
    // The calls of an instance run one after the other.
    let mut other = Client::authenticated(address).await;
    let expected = (kind::OK, r#"{"await_response":false}"#.to_owned());
    assert_eq!(other.execute(r#""command":"none""#).await, expected);
}

#[tokio::test]
async fn call_without_an_answer_in_time_is_an_error() {
    let (_stage, _worker, _gateway, address) = service::start(r#"timeout = "500ms""#).await;
    let mut client = Client::authenticated(address).await;
    client.initialize().await;
    let (kind, args) = client.execute(r#""command":"sleep""#).await;
    assert_eq!(kind, kind::ERROR);
    assert!(args.contains(r#""code":"deadline_exceeded""#), "{args}");
}

#[tokio::test]
async fn failure_of_an_enqueued_task_is_a_dead_letter() {
    let (stage, _worker, _gateway, address) = service::start("").await;
    let mut client = Client::authenticated(address).await;
    client.initialize().await;
    let receipt = (kind::OK, r#"{"message":"Received 'EXEC'"}"#.to_owned());
    assert_eq!(client.enqueue(r#""command":"fail""#).await, receipt);
    let redcall = stage.client().await;
    let dead = eventually("the dead letter", async || {
        let page = redcall.dead("service:counter").list(&DeadSelection::default()).await.ok()?;
        page.letters.into_iter().next()
    });
    assert!(dead.await.reason.contains("the task failed"));
}

#[tokio::test]
async fn door_without_a_token_admits_any() {
    let stage = Stage::new().await;
    let _worker = service::worker(&stage).await;
    let settings = service::door("").replace("token =", "# token =");
    let gateway = stage.gateway(&settings).await;
    let mut client = Client::authenticated(gateway.address("counter", "listen")).await;
    client.initialize().await;
}

#[tokio::test]
async fn drain_ends_open_calls_and_then_the_gateway() {
    let (_stage, _worker, gateway, address) = service::start("").await;
    let mut client = Client::authenticated(address).await;
    client.initialize().await;
    let mut silent = Client::authenticated(address).await;
    client.begin(kind::EXEC, r#""command":"add","value_change":5"#).await;
    gateway.drain();
    let expected = (kind::OK, r#"{"answer":1005,"await_response":false}"#.to_owned());
    assert_eq!(client.receive().await, expected);
    client.receipt("OK").await;
    assert_eq!(client.closed().await, b"");
    assert_eq!(silent.closed().await, b"");
    gateway.end().await.unwrap();
}
