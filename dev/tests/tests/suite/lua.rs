//! Every script of the store and every one of its result codes, through the typed calls.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

mod bytes;
mod callers;
mod cancel;
mod dead;
mod deferred;
mod enqueue_ext;
mod events;
mod failures;
mod states;
mod status;
mod ticks;
mod trims;

/// The scripts by which a worker settles and leases.
mod polls {
    mod again;
    mod claims;
    mod codes;
    mod inbox;
    mod lanes;
    mod lease;
    mod limits;
    mod reading;
    mod rotation;
    mod settle;
}
/// The scripts by which workers keep a queue in order, and faults of their server.
mod upkeep {
    mod ends;
    mod flush;
    mod leases;
    mod probe;
    pub(super) mod registry;
    mod robust;
    mod times;
}

use std::sync::Arc;
use std::time::Duration;

use crate::support::{TIMEOUT, now_ms};
use redcall_common::keys::{Keys, QueueKeys};
use redcall_common::request::ReplyTo;
use redcall_store::{
    Connection, Connector, HeartbeatRequest, Item, Outcome, PollOps as _, PollReply, QueuePoll,
    Session as _, Settlement, UpkeepOps as _, WorkerKeys,
};
use redcall_testkit::TestRedis;
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use tokio::sync::mpsc;

/// A lease that does not end within a test.
const LONG: Duration = Duration::from_secs(600);
/// Bytes.
const MIB: u64 = 1 << 20;
/// The channel that the tests listen on.
const CHANNEL: &str = "redcall:{q}:notify:me";

/// A link to a private server with a subscription to `CHANNEL`, and a plain connection.
struct Store {
    link: Connection,
    connector: Connector,
    conn: MultiplexedConnection,
    received: mpsc::UnboundedReceiver<String>,
    keys: QueueKeys,
    /// `true` if polls always use `poll.lua`; otherwise `poll_fast.lua` where it suffices.
    more: bool,
    // Last, since connections to a server that has gone are noisy.
    _redis: TestRedis,
}

impl Store {
    async fn new() -> Self {
        let redis = TestRedis::start().await;
        let connector = Connector::new(&redis.settings(), "test").unwrap();
        let (receive, received) = mpsc::unbounded_channel();
        let sink = move |_: &[u8], payload: &[u8]| {
            let _ = receive.send(String::from_utf8(payload.to_vec()).unwrap());
        };
        let link = Connection::connect(connector.clone(), Arc::new(sink)).await.unwrap();
        link.subscribe(CHANNEL, TIMEOUT).await.unwrap();
        let conn = redis.connection().await;
        let keys = Keys::new("redcall").of("q");
        Self { link, connector, conn, received, keys, more: false, _redis: redis }
    }

    /// The keys of a worker, which keeps a hundred dead letters for an hour.
    fn worker(&self, id: &str) -> WorkerKeys {
        WorkerKeys::new(self.keys.clone(), id, 100, Duration::from_secs(3600))
    }

    /// Pushes elements as they are.
    async fn push(&mut self, elements: &[String]) {
        let () = self.conn.rpush(self.keys.queue(), elements).await.unwrap();
    }

    /// Pushes a request for each id.
    async fn push_ids(&mut self, ids: &[&str]) {
        let elements: Vec<String> = ids.iter().map(|id| envelope(id)).collect();
        self.push(&elements).await;
    }

    /// One poll of a worker that lives, unless a test sets it otherwise.
    async fn poll(&self, own: &WorkerKeys, take: usize, outcomes: &[Outcome]) -> PollReply {
        self.lives(own).await;
        let poll = QueuePoll { outcomes, more: self.more, ..QueuePoll::take(own, take) };
        self.link.poll(&[poll], TIMEOUT).await.unwrap().remove(0).unwrap()
    }

    /// Puts a worker into the registry for longer than any test, unless it is there.
    async fn lives(&self, own: &WorkerKeys) {
        let id = own.leases.rsplit(':').next().unwrap();
        let mut conn = self.conn.clone();
        let ends = self.now_ms().await + 3_000_000;
        let add =
            redis::cmd("ZADD").arg(own.queue.workers()).arg("NX").arg(ends).arg(id).to_owned();
        let _: i64 = add.query_async(&mut conn).await.unwrap();
    }

    /// Redis time, ms.
    async fn now_ms(&self) -> u64 {
        now_ms(&mut self.conn.clone()).await
    }

    /// Takes up to `count` requests; their ids.
    async fn lease(&self, own: &WorkerKeys, count: usize) -> Vec<String> {
        let reply = self.poll(own, count, &[]).await;
        assert_eq!(reply.settled, []);
        reply.leased.into_iter().map(|leased| leased.id).collect()
    }

    /// Registers a worker with these names, by a heartbeat.
    async fn beat(&self, worker: &str, lease: Duration, names: &[&str]) {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let beat = HeartbeatRequest { worker, lease, info: "{}", names: &names };
        self.link.heartbeat(&self.keys, &beat, TIMEOUT).await.unwrap();
    }

    /// Returns the messages on the channel so far: up to a message of the test's own.
    async fn received(&mut self) -> Vec<String> {
        let publish = redis::cmd("SPUBLISH").arg(CHANNEL).arg("so far").to_owned();
        let () = publish.query_async(&mut self.conn).await.unwrap();
        let mut received = Vec::new();
        loop {
            match self.received.recv().await.unwrap().as_str() {
                "so far" => return received,
                other => received.push(other.to_owned()),
            }
        }
    }

    /// The frames at the response key of `id`.
    async fn frames(&mut self, id: &str) -> Vec<String> {
        self.conn.lrange(self.keys.response(id), 0, -1).await.unwrap()
    }

    /// The queue's elements.
    async fn queued(&mut self) -> Vec<String> {
        self.conn.lrange(self.keys.queue(), 0, -1).await.unwrap()
    }

    /// The ids that count as live.
    async fn live(&mut self) -> Vec<String> {
        let mut ids: Vec<String> = self.conn.hkeys(self.keys.live()).await.unwrap();
        ids.sort_unstable();
        ids
    }

    async fn dead(&mut self) -> Vec<[String; 5]> {
        type Entry = (String, std::collections::HashMap<String, String>);
        let range = redis::cmd("XRANGE").arg(self.keys.dead()).arg("-").arg("+").to_owned();
        let entries: Vec<Entry> = range.query_async(&mut self.conn).await.unwrap();
        let fields = ["id", "code", "reason", "worker", "request"];
        let entry = |(_, entry): Entry| fields.map(|field| entry[field].clone());
        entries.into_iter().map(entry).collect()
    }

    /// Returns every key of the server, except the workers' records of their last polls.
    async fn all_keys(&mut self) -> Vec<String> {
        let mut keys = crate::support::keys(&mut self.conn).await;
        keys.retain(|key| !key.contains(":poll:"));
        keys
    }

    /// A reply to `id`, kept for a minute and announced.
    fn reply(&self, id: &str) -> ReplyTo {
        let notify = Some(CHANNEL.to_owned());
        ReplyTo { response_key: self.keys.response(id), ttl_ms: 60_000, notify }
    }

    fn answer(&self, id: &str, frame: &str) -> Outcome {
        outcome(id, Settlement::Answer { reply: self.reply(id), frame: frame.to_owned() })
    }
}

fn envelope(id: &str) -> String {
    format!(r#"{{"id":"{id}","name":"add","data":null}}"#)
}

fn outcome(id: &str, settlement: Settlement) -> Outcome {
    Outcome::new(id, settlement)
}

fn item(waited: bool, envelope: &str) -> Item {
    Item { waited, envelope: envelope.to_owned() }
}
