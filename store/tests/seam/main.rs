//! The seam to the broker: one request from its enqueue to its answer, by the operations alone. The
//! same function drives Redis and a small broker in memory, which shows that the seam needs no
//! Redis. Needs a Redis or Valkey server on the machine, as the tests of the embedded server do.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

mod inspector;
mod letters;
mod memory;

use std::sync::Arc;
use std::time::Duration;

use redcall_common::keys::{Keys, QueueKeys};
use redcall_common::request::ReplyTo;
use redcall_common::settings::RedisSettings;
use redcall_store::embedded::{Embedded, EmbeddedOptions};
use redcall_store::{
    AnswerOps, Connection, Connector, Enqueued, HeartbeatRequest, Item, Outcome, PollOps,
    QueuePoll, RequestPop, SendOps, Session, Settled, Settlement, UpkeepOps, Waited, WorkerKeys,
};
use tokio::sync::mpsc;

use memory::{Hub, MemoryBroker};

const TIMEOUT: Duration = Duration::from_secs(5);
const LEASE: Duration = Duration::from_secs(60);
const CHANNEL: &str = "redcall:{q}:notify:me";
const FRAME: &str = r#"{"v":1,"type":"result","data":3}"#;

fn keys() -> QueueKeys {
    Keys::new("redcall").of("q")
}

/// Registers the worker `own`.
async fn register<B: UpkeepOps>(worker: &B) {
    let beat = HeartbeatRequest { worker: "own", lease: LEASE, info: "{}", names: &[] };
    worker.heartbeat(&keys(), &beat, TIMEOUT).await.unwrap();
}

async fn enqueue<B: SendOps>(client: &B, id: &str) -> Enqueued {
    let envelope = format!(r#"{{"id":"{id}","name":"add","data":null}}"#);
    client.enqueue(&keys(), 0, &[Item { waited: true, envelope }], &[], TIMEOUT).await.unwrap()
}

/// Settles `id` with a final frame, and leases up to one other request; the result, and the ids.
async fn answer<B: PollOps>(worker: &B, own: &WorkerKeys, id: &str) -> (Settled, Vec<String>) {
    let reply = ReplyTo {
        response_key: keys().response(id),
        ttl_ms: 60_000,
        notify: Some(CHANNEL.to_owned()),
    };
    let settlement = Settlement::Answer { reply, frame: FRAME.to_owned() };
    let outcomes = [Outcome::new(id, settlement)];
    let poll = QueuePoll { outcomes: &outcomes, serial: 1, ..QueuePoll::take(own, 1) };
    let reply = worker.poll(&[poll], TIMEOUT).await.unwrap().remove(0).unwrap();
    (reply.settled[0], reply.leased.into_iter().map(|leased| leased.id).collect())
}

/// One request from its enqueue to its answer, then a second one that the same poll leases.
async fn request_is_answered<B>(opener: B::Opener)
where
    B: Session + SendOps + AnswerOps + PollOps + UpkeepOps,
{
    let (received, mut announced) = mpsc::unbounded_channel();
    let handler = Arc::new(move |channel: &[u8], _: &[u8]| {
        let _ = received.send(channel.to_vec());
    });
    let client = B::connect(opener.clone(), handler).await.unwrap();
    client.subscribe(CHANNEL, TIMEOUT).await.unwrap();
    let worker = B::connect(opener.clone(), Arc::new(|_: &[u8], _: &[u8]| {})).await.unwrap();

    let refused = enqueue(&client, "none").await;
    assert_eq!(refused, Enqueued { waited: Waited::NoWorkers, accepted: 0 });
    register(&worker).await;

    let own = Arc::new(WorkerKeys::new(keys(), "own", 100, LEASE));
    let mut pop = B::Pop::new(opener, own.clone());
    let popping = tokio::spawn(async move { pop.next(TIMEOUT, &[], false).await });
    let taken = Enqueued { waited: Waited::Taken, accepted: 1 };
    assert_eq!(enqueue(&client, "a").await, taken);
    let popped = popping.await.unwrap().unwrap();
    assert_eq!((popped.leased.len(), popped.leased[0].id.as_str()), (1, "a"));
    let held = worker.held(&own, TIMEOUT).await.unwrap();
    assert_eq!(held[0].id, "a");

    assert_eq!(enqueue(&client, "b").await, taken);
    assert_eq!(answer(&worker, &own, "a").await, (Settled::Yes, vec!["b".to_owned()]));
    assert_eq!(announced.recv().await.unwrap(), CHANNEL.as_bytes());
    let response = [keys().response("a")];
    let frames = client.last_frames(&response, TIMEOUT).await.unwrap();
    assert_eq!(frames, [Some(FRAME.as_bytes().to_vec())]);
    client.forget(&response, TIMEOUT).await.unwrap();
    assert_eq!(client.frame_count(&response[0], TIMEOUT).await.unwrap(), 0);

    // The fence: its lease has ended.
    assert_eq!(answer(&worker, &own, "a").await.0, Settled::LeaseLost);
    assert_eq!(client.frame_count(&response[0], TIMEOUT).await.unwrap(), 0);
}

#[tokio::test]
async fn request_is_answered_by_a_broker_in_memory() {
    request_is_answered::<MemoryBroker>(Hub::default()).await;
}

#[tokio::test]
async fn request_is_answered_by_redis() {
    let server = Embedded::start(EmbeddedOptions::default()).await.unwrap();
    let settings = RedisSettings { url: server.url(), ..RedisSettings::default() };
    let opener = Connector::new(&settings, "seam").unwrap();
    request_is_answered::<Connection>(opener).await;
}
