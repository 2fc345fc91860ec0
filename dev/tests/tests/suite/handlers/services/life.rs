//! One instance from its beginning to its end, and the refused operations.

use redcall_client::{Code, ServiceOp, Update};
use redcall_common::settings::{ServiceSettings, ServiceTasks};
use redcall_tests::counter;
use redcall_worker::{DeferError, Request};
use redis::AsyncCommands;
use serde_json::{Value, json};

use super::{add, bench, data, served, state};
use crate::support::failed;

#[tokio::test]
async fn a_counter_counts_from_its_beginning_to_its_end() {
    let bench = bench().await;
    let (_worker, client) = served(&bench).await;
    let service = client.service("counter");
    assert_eq!(state(&service).await, None);
    assert_eq!(data(service.initialize(&1000).await), json!("initialized"));
    assert_eq!(data(add(&service, 10).await), json!(1010));
    assert_eq!(data(add(&service, -100).await), json!(910));
    assert_eq!(state(&service).await, Some((910, 2)));
    assert_eq!(data(service.terminate(&()).await), json!({"value": 910, "requests": 3}));
    assert_eq!(state(&service).await, None);
    data(service.initialize(&1).await);
    assert_eq!(data(add(&service, 1).await), json!(2));
}

#[tokio::test]
async fn instances_have_states_of_their_own() {
    let bench = bench().await;
    let (_worker, client) = served(&bench).await;
    let service = client.service("counter");
    let (one, other) = (service.clone().instance("user-42"), service.clone().instance("a@b.c"));
    for (value, each) in [(0, &service), (100, &one), (200, &other)] {
        data(each.initialize(&value).await);
    }
    data(add(&one, 1).await);
    data(one.terminate(&()).await);
    assert_eq!(state(&service).await, Some((0, 0)));
    assert_eq!(state(&one).await, None);
    assert_eq!(state(&other).await, Some((200, 0)));
}

#[tokio::test]
async fn operation_in_the_wrong_phase_is_a_conflict() {
    let bench = bench().await;
    let (_worker, client) = served(&bench).await;
    let service = client.service("counter");
    assert_eq!(failed(add(&service, 1).await).code, Code::Conflict);
    assert_eq!(failed(service.terminate(&()).await).code, Code::Conflict);
    data(service.initialize(&5).await);
    assert_eq!(failed(service.initialize(&6).await).code, Code::Conflict);
    assert_eq!(state(&service).await, Some((5, 0)));
}

#[tokio::test]
async fn failed_service_request_is_answered_and_changes_nothing() {
    let bench = bench().await;
    let (_worker, client) = served(&bench).await;
    let service = client.service("counter");
    data(service.initialize(&5).await);
    let error = failed(service.execute(&json!({"by": 1, "fails": true})).await);
    assert_eq!((error.code, &*error.message), (Code::HandlerFailed, "as requested"));
    assert_eq!(failed(service.execute(&json!({"by": "one"})).await).code, Code::InvalidData);
    let error = failed(service.execute(&json!({"by": 1, "ballast": 1 << 20})).await);
    assert_eq!(error.code, Code::TooLarge);
    assert!(error.message.contains("1048576"), "{error}");
    assert_eq!(state(&service).await, Some((5, 0)));
    data(service.execute(&json!({"by": 1, "ballast": 1_000_000})).await);
    assert_eq!(state(&service).await, Some((6, 1)));
}

#[tokio::test]
async fn follower_gets_a_receipt_then_the_answer() {
    let bench = bench().await;
    let (_worker, client) = served(&bench).await;
    let service = client.service("counter");
    data(service.initialize(&5).await);
    let request = service.request_with_receipt(ServiceOp::Execute, &json!({"by": 1})).unwrap();
    let mut stream = request.stream().await.unwrap();
    let mut seen = Vec::new();
    while let Some(update) = stream.next().await {
        seen.push(match update.unwrap() {
            Update::Progress(data) => data.get().to_owned(),
            Update::Done(response) => response.data.get().to_owned(),
            other => format!("{other:?}"),
        });
    }
    assert_eq!(seen, [r#"{"task":"execute"}"#, "6"]);
}

#[tokio::test]
async fn service_operation_cannot_be_deferred() {
    async fn defers(request: Request) -> Result<(), DeferError> {
        request.defer(&(), None).await.map(drop)
    }
    let mut bench = bench().await;
    let tasks = ServiceTasks::Compiled { init: None, execute: "defers".to_owned(), exit: None };
    bench.settings.services.insert("later".to_owned(), ServiceSettings::new(tasks));
    let build = |worker| counter(worker).handler("defers", defers);
    let (_worker, client) = (bench.worker_with(build).await, bench.client().await);
    let service = client.service("later");
    data(service.initialize(&1).await);
    let error = failed(service.execute(&()).await);
    assert_eq!(
        &*error.message,
        "a request to a service cannot defer its answer: the next one needs its state"
    );
    assert_eq!(data(service.terminate(&()).await), json!(1));
}

#[tokio::test]
async fn invalid_service_operation_is_refused() {
    let bench = bench().await;
    let (_worker, client) = served(&bench).await;
    for data in [
        json!(null),
        json!({"task": "stop"}),
        json!({"task": "init", "instance": "a:b"}),
        json!({"task": "init", "instance": 7}),
    ] {
        // The queue is known from the settings.
        let error = failed(client.request("counter").data(&data).wait().await);
        assert_eq!(error.code, Code::InvalidData, "{data}: {error}");
    }
    // Half a character: sorting by instance cannot read it.
    let order = r#"{"task":"init","args":"\ud800"}"#.to_owned();
    let order = serde_json::value::RawValue::from_string(order).unwrap();
    let error = failed(client.request("counter").data(&order).wait().await);
    assert_eq!(error.code, Code::InvalidData, "{error}");
    for (name, key) in [("a:b", ""), ("counter", "a:b")] {
        let error = client.service(name).instance(key).initialize(&1).await.unwrap_err();
        assert_eq!((error.code(), error.may_be_queued()), (Code::InvalidRequest, false));
    }
}

#[tokio::test]
async fn a_service_has_a_queue_of_its_own() {
    let bench = bench().await;
    let (_worker, client) = served(&bench).await;
    let order = json!({"task": "init", "args": 1});
    let error = failed(client.request("counter").queue("default").data(&order).wait().await);
    assert_eq!(error.code, Code::InvalidRequest);
    assert!(error.message.contains("`service:counter`"), "{error}");
    let error = failed(client.request("add").queue("service:counter").wait().await);
    assert_eq!(error.code, Code::InvalidRequest);
    assert!(error.message.contains("`counter` only"), "{error}");
}

#[tokio::test]
async fn unused_instance_is_removed() {
    let bench = bench().await;
    let (_worker, client) = served(&bench).await;
    let mut conn = bench.redis.connection().await;
    let service = client.service("counter").instance("user-42");
    data(service.initialize(&5).await);
    let key = "redcall:{service:counter}:state:user-42";
    let month = 30 * 24 * 60 * 60 * 1000;
    let ttl: i64 = conn.pttl(key).await.unwrap();
    assert!((month - 60_000..=month).contains(&ttl), "{ttl}");
    let _: bool = conn.pexpire(key, 60_000).await.unwrap();
    data(add(&service, 1).await);
    let ttl: i64 = conn.pttl(key).await.unwrap();
    assert!(ttl > month - 60_000, "a change renews it: {ttl}");
    let fields: Vec<Value> =
        conn.hkeys::<_, Vec<String>>(key).await.unwrap().into_iter().map(Value::from).collect();
    assert_eq!(fields.len(), 2, "{fields:?}");
}
