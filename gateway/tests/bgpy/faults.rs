//! Redis restarted, a gateway killed in a call, clients that do not read, many connections.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use redcall_common::settings::Settings;
use redcall_gateway::{Gateway, Stop};
use redcall_testkit::{RestartableRedis, eventually};
use redcall_worker::Worker;
use rustix::process::Signal;

use crate::client::{Client, kind};
use crate::service;
use crate::support::{RunningGateway, RunningWorker, Stage};

const NONE: &str = r#""command":"none""#;

#[tokio::test]
async fn redis_that_restarts_ends_calls_with_unavailable_only() {
    let mut redis = RestartableRedis::start().await;
    let stage = Stage::new().await; // For the files of the settings.
    let file = stage
        .write("own.toml", format!("{}{}", service::SERVICES, service::door(r#"timeout = "2s""#)));
    let settings = Settings::load_from(Some(&file), stage.folder(), &BTreeMap::new()).unwrap();
    let settings = Settings { redis: redis.settings(), ..settings };
    let worker = service::with_tasks(Worker::from_settings(settings.clone()).unwrap());
    let readiness = worker.readiness();
    let _worker = RunningWorker::start(worker);
    eventually("the worker to be ready", async || readiness.check().await.ok()).await;
    let gateway = RunningGateway::start(Gateway::open(settings).await.unwrap(), Stop::No);
    let address = gateway.address("counter", "listen");

    let mut client = Client::authenticated(address).await;
    client.initialize().await;
    client.execute(r#""command":"add","value_change":1"#).await;
    redis.kill();
    let start = Instant::now();
    let (kind, args) = client.execute(NONE).await;
    assert_eq!(kind, kind::ERROR, "{args}");
    assert!(args.contains(r#""code":"unavailable""#), "{args}");
    let (kind, args) = client.enqueue(NONE).await;
    assert_eq!(kind, kind::ERROR, "{args}");
    assert!(args.contains(r#""code":"unavailable""#), "{args}");
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());

    redis.start_again().await;
    // The same connection, and the state from before.
    eventually("an answer", async || {
        let (kind, args) = client.execute(r#""command":"add","value_change":1"#).await;
        (kind == kind::OK && args.starts_with(r#"{"answer":100"#)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn gateway_killed_in_a_call_loses_nothing_that_was_receipted() {
    let stage = Stage::new().await;
    let _worker = service::worker(&stage).await;
    let gateway = stage.program(&service::door(r#"timeout = "3s""#));
    let address = gateway.address("counter", "listen").await;
    let mut client = Client::authenticated(address).await;
    client.initialize().await;
    client.begin(kind::EXEC, r#""command":"sleep""#).await;
    let mut other = Client::authenticated(address).await;
    let (kind, _) = other.enqueue(r#""command":"add","value_change":7"#).await;
    assert_eq!(kind, kind::OK);
    gateway.signal(Signal::KILL);
    assert_eq!(client.closed().await, b"");
    drop(gateway);

    // The waited call ends with its budget, then the receipted one runs.
    let gateway = stage.gateway(&service::door("")).await;
    let mut client = Client::authenticated(gateway.address("counter", "listen")).await;
    let expected = (kind::OK, r#"{"answer":1007,"await_response":false}"#.to_owned());
    assert_eq!(client.execute(r#""command":"add""#).await, expected);
}

#[tokio::test]
async fn client_that_does_not_read_delays_no_other() {
    let (_stage, _worker, _gateway, address) = service::start("").await;
    let mut slow = Client::authenticated(address).await;
    slow.initialize().await;
    // More than the buffers of the system take.
    slow.begin(kind::EXEC, r#""command":"big""#).await;
    let mut other = Client::authenticated(address).await;
    for _ in 0..3 {
        assert_eq!(other.execute(NONE).await.0, kind::OK);
    }
    let (kind, args) = slow.receive().await;
    assert_eq!((kind, args.len() > 6 << 20), (kind::OK, true));
}

#[tokio::test]
async fn connection_above_the_limit_is_closed_and_others_go_on() {
    let (_stage, _worker, _gateway, address) = service::start("connections = 2").await;
    let mut first = Client::authenticated(address).await;
    first.initialize().await;
    let second = Client::authenticated(address).await;
    assert_eq!(Client::connect(address).await.closed().await, b"");
    drop(second);
    assert_eq!(first.execute(NONE).await.0, kind::OK);
}
