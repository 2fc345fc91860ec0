//! Pushes by callers on a real Redis behind a proxy. The tests set the knowledge of the queue, so
//! that it can be wrong.

use std::sync::Arc;
use std::time::Duration;

use redcall_common::error::Code;
use redcall_common::frame::Frame;
use redcall_common::settings::{RedisSettings, Settings};
use redcall_store::{HeldRequests, SendOps as _, Session as _};
use redcall_testkit::redis::aio::MultiplexedConnection;
use redcall_testkit::redis::{self, AsyncCommands};
use redcall_testkit::{FaultProxy, TestRedis, eventually};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::DirectShared;
use super::forgotten::TOGETHER;
use super::line::{GATHERED_MAX, WRITES_MAX};
use crate::engine::client::Client;
use crate::engine::in_flight::{Guard, Stage};
use crate::engine::route::{HandedIn, Route};
use crate::engine::sender::{Caller, Command, Joined, Outgoing, Payload, SendClaim};
use crate::error::CallError;

const LIMIT: Duration = Duration::from_secs(5);
const QUEUE: &str = "redcall:{q}:queue";
const WORKERS: &str = "redcall:{q}:workers";

mod gathered;
mod sockets;

type Confirmed = oneshot::Receiver<Result<Joined, CallError>>;
type Answer = (Guard, oneshot::Receiver<Result<Frame, CallError>>);

/// Returns the result of a request, in bounded time.
async fn ended<T>(result: oneshot::Receiver<T>) -> T {
    timeout(2 * LIMIT, result).await.unwrap().unwrap()
}

struct Setup {
    redis: TestRedis,
    proxy: FaultProxy,
    conn: MultiplexedConnection,
    client: Client,
    route: Arc<Route>,
}

impl Setup {
    /// A queue with this cap and a live worker, to which a caller can write.
    async fn new(cap: u64) -> Self {
        Self::with(cap, LIMIT).await
    }

    async fn with(cap: u64, response_timeout: Duration) -> Self {
        let redis = TestRedis::start().await;
        let proxy = FaultProxy::start(&redis);
        Self::at(redis, proxy.settings(), proxy, cap, response_timeout).await
    }

    /// Without the proxy.
    async fn on(redis: TestRedis) -> Self {
        let (settings, proxy) = (redis.settings(), FaultProxy::start(&redis));
        Self::at(redis, settings, proxy, 0, LIMIT).await
    }

    async fn at(
        redis: TestRedis,
        address: RedisSettings,
        proxy: FaultProxy,
        cap: u64,
        response_timeout: Duration,
    ) -> Self {
        let mut settings = Settings { redis: address, ..Settings::default() };
        settings.redis.response_timeout = response_timeout;
        settings.limits.max_length = cap;
        let client = Client::from_settings(&settings).await.unwrap();
        let mut conn = redis.connection().await;
        let () = conn.zadd(WORKERS, "w", client.inner.link.now_ms() + 60_000).await.unwrap();
        let route = client.inner.route("q");
        let mut setup = Self { redis, proxy, conn, client, route };
        setup.ready().await;
        setup
    }

    /// The queue is said to be empty, for the next hour, and to have a worker.
    fn trust(&self) {
        let later = Instant::now() + Duration::from_secs(3600);
        self.route.room.note_held(later, HeldRequests { queued: 0, outside: 0 });
        self.route.room.note_waited(true);
    }

    /// Returns when a caller can write.
    async fn ready(&mut self) {
        eventually("a caller to write", async || {
            self.trust();
            let (outgoing, confirmed) = self.forgotten("probe");
            if self.is_written(outgoing) { ended(confirmed).await.ok() } else { None }
        })
        .await;
        let () = self.conn.del(QUEUE).await.unwrap();
        self.trust();
    }

    fn now_ms(&self) -> u64 {
        self.client.inner.link.now_ms()
    }

    fn shared(&self) -> &DirectShared {
        &self.client.inner.direct.shared
    }

    fn handed_in(&self) -> HandedIn {
        HandedIn::new(self.route.clone())
    }

    /// A request whose caller waits for its enqueue only.
    fn forgotten(&self, envelope: &str) -> (Outgoing, Confirmed) {
        let (done, confirmed) = oneshot::channel();
        let caller = Caller::Forgets { done, send_claim: SendClaim::default() };
        let payload = Payload::Push(envelope.to_owned());
        (Outgoing { route: self.handed_in(), payload, caller }, confirmed)
    }

    /// A request whose caller waits for its answer. It fails at once without a worker.
    fn waited(&self, id: &str) -> (Outgoing, Answer) {
        let in_flight = &self.client.inner.in_flight;
        let answer = in_flight.wait_for(id, "key", Stage::HandedIn, None);
        let caller = Caller::Waits { id: id.to_owned(), until: Instant::now() };
        let payload = Payload::Push(id.to_owned());
        (Outgoing { route: self.handed_in(), payload, caller }, answer)
    }

    fn is_written(&self, outgoing: Outgoing) -> bool {
        self.client.inner.direct.push(vec![outgoing], self.now_ms()).is_empty()
    }

    /// Has its caller write it.
    fn push(&self, envelope: &str) -> Confirmed {
        let (outgoing, confirmed) = self.forgotten(envelope);
        assert!(self.is_written(outgoing), "{envelope}");
        confirmed
    }

    /// Has its caller write it; returns the error.
    async fn failure(&self, envelope: &str) -> CallError {
        ended(self.push(envelope)).await.unwrap_err()
    }

    /// Has its caller write a request whose answer it awaits; returns the error.
    async fn waited_failure(&self, id: &str) -> CallError {
        let (outgoing, (_guard, answer)) = self.waited(id);
        assert!(self.is_written(outgoing), "{id}");
        ended(answer).await.unwrap_err()
    }

    async fn queued(&mut self) -> Vec<String> {
        self.conn.lrange(QUEUE, 0, -1).await.unwrap()
    }

    /// How many times this command was executed.
    async fn executed(&mut self, command: &str) -> usize {
        let stats = redis::cmd("INFO").arg("commandstats").to_owned();
        let stats: String = stats.query_async(&mut self.conn).await.unwrap();
        let calls = stats.lines().find_map(|line| {
            line.strip_prefix(&format!("cmdstat_{command}:calls="))?.split(',').next()?.parse().ok()
        });
        calls.unwrap_or(0)
    }

    async fn run(&mut self, command: &str) {
        let mut words = command.split(' ');
        let mut call = redis::cmd(words.next().unwrap());
        for word in words {
            call.arg(word);
        }
        call.exec_async(&mut self.conn).await.unwrap();
    }
}

#[tokio::test]
async fn caller_writes_in_order_and_deletes_answers_that_were_read() {
    let mut setup = Setup::new(0).await;
    let read: Vec<String> = (0..TOGETHER).map(|n| format!("redcall:{{q}}:response:{n}")).collect();
    for key in &read {
        let () = setup.conn.set(key, "answer").await.unwrap();
        setup.client.inner.direct.forget(&setup.route.keys, key, 8);
    }
    let pushed: Vec<Confirmed> = ["a", "b", "c"].map(|envelope| setup.push(envelope)).into();
    for confirmed in pushed {
        assert_eq!(ended(confirmed).await.unwrap(), None);
    }
    assert_eq!(setup.queued().await, ["a", "b", "c"]);
    let left: usize = setup.conn.exists(read).await.unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn forgotten_answers_are_deleted_without_a_push() {
    let mut setup = Setup::new(0).await;
    let () = setup.conn.set("redcall:{q}:response:x", "answer").await.unwrap();
    setup.client.inner.direct.forget(&setup.route.keys, "redcall:{q}:response:x", 8);
    eventually("the deletion", async || {
        let is_left: bool = setup.conn.exists("redcall:{q}:response:x").await.unwrap();
        (!is_left).then_some(())
    })
    .await;
    // In time for a program that exits.
    let () = setup.conn.set("redcall:{q}:response:y", "answer").await.unwrap();
    setup.client.inner.direct.forget(&setup.route.keys, "redcall:{q}:response:y", 8);
    setup.client.flush().await;
    let is_left: bool = setup.conn.exists("redcall:{q}:response:y").await.unwrap();
    assert!(!is_left);
}

#[tokio::test]
async fn sender_gets_the_requests_that_a_caller_must_not_write() {
    let setup = Setup::new(0).await;
    let large = setup.forgotten(&"x".repeat(64 * 1024 + 1)).0;
    assert!(!setup.is_written(large));
    let (mut first, second) = (setup.forgotten("first").0, setup.forgotten("second").0);
    first.hand_in();
    assert!(!setup.is_written(second), "it would overtake the first one");
    drop(first);
    setup.route.room.note_waited(false);
    let (waited, _answer) = setup.waited("waited");
    assert!(!setup.is_written(waited), "no worker is known");
    setup.route.room.note_waited(true);
    let (abandoned, answer) = setup.waited("abandoned");
    drop(answer);
    assert!(setup.is_written(abandoned), "it is dropped");
    setup.shared().answered("q").await;

    setup.proxy.hold_replies();
    let pushed = (0..WRITES_MAX + GATHERED_MAX).map(|number| setup.push(&number.to_string()));
    let _pushed: Vec<Confirmed> = pushed.collect();
    assert!(!setup.is_written(setup.forgotten("one more").0), "too many wait");
}

#[tokio::test]
async fn sender_writes_behind_the_push_of_a_caller() {
    let mut setup = Setup::new(0).await;
    let held = setup.proxy.hold_request(|exchange| exchange.request_contains("RPUSH"));
    let first = setup.push("a");
    let held = held.await;
    let (mut second, confirmed) = setup.forgotten("b");
    second.hand_in();
    let command = Command::Enqueue(vec![second]);
    assert!(setup.client.inner.commands.send(command).await.is_ok());
    // On the sender's connection: behind its write, if it made one.
    for _ in 0..3 {
        assert!(setup.client.inner.link.is_served(&setup.route.keys, LIMIT).await.unwrap());
    }
    assert!(held.deliver().await);
    ended(first).await.unwrap();
    ended(confirmed).await.unwrap();
    assert_eq!(setup.queued().await, ["a", "b"]);
}

#[tokio::test]
async fn waited_push_without_a_worker_ends_as_one_of_the_sender() {
    let mut setup = Setup::new(0).await;
    let () = setup.conn.del(WORKERS).await.unwrap();
    assert_eq!(setup.waited_failure("a").await.code(), Code::NoWorkers);
    assert!(setup.queued().await.is_empty());
    assert!(!setup.route.room.allows(1, true, Instant::now()));
}

#[tokio::test]
async fn push_over_the_cap_ends_as_one_of_the_sender() {
    let mut setup = Setup::new(3).await;
    let () = setup.conn.rpush(QUEUE, &["x", "y"]).await.unwrap();
    ended(setup.push("a")).await.unwrap();
    setup.trust();
    let error = setup.failure("b").await;
    assert_eq!((error.code(), error.may_be_queued()), (Code::Overloaded, false));
    assert_eq!(setup.queued().await, ["x", "y", "a"]);
}

#[tokio::test]
async fn push_at_the_limit_of_answers_ends_as_one_of_the_sender() {
    let mut setup = Setup::new(0).await;
    let () = setup.conn.set(setup.route.keys.answers_full(), "").await.unwrap();
    assert_eq!(setup.waited_failure("a").await.code(), Code::Overloaded);
    assert!(setup.queued().await.is_empty());
}

#[tokio::test]
async fn refusals_of_redis_end_a_push_as_one_of_the_sender() {
    let mut setup = Setup::new(0).await;
    setup.run("CONFIG SET maxmemory 1").await;
    let error = setup.failure("a").await;
    assert!(error.to_string().contains("out of memory"), "{error}");
    assert!(!error.may_be_queued());
    setup.run("CONFIG SET maxmemory 0").await;

    setup.trust();
    let () = setup.conn.set(QUEUE, "a string").await.unwrap();
    let error = setup.failure("a").await;
    assert!(!error.may_be_queued(), "{error}");
    let () = setup.conn.del(QUEUE).await.unwrap();

    setup.trust();
    setup.run("REPLICAOF 127.0.0.1 1").await;
    let error = setup.waited_failure("a").await;
    assert!(error.to_string().contains("read-only"), "{error}");
    assert!(!error.may_be_queued());
    setup.run("REPLICAOF NO ONE").await;
    assert!(setup.queued().await.is_empty());
    setup.ready().await;
}

#[tokio::test]
async fn push_without_its_reply_may_be_queued() {
    let mut setup = Setup::new(0).await;
    // The reply to the push itself, and to a check behind it.
    for command in ["RPUSH", "ZCOUNT"] {
        let lost = setup.proxy.lose_reply(move |exchange| exchange.request_contains(command));
        let error = setup.waited_failure("a").await;
        lost.await;
        assert!(error.may_be_queued(), "{error}");
        assert_eq!(setup.queued().await, ["a"]);
        assert!(!setup.route.room.allows(1, true, Instant::now()), "the server may be another");
        setup.shared().answered("q").await;
        setup.ready().await;
    }
    // The request itself is lost: the caller knows as little.
    let held = setup.proxy.hold_request(|exchange| exchange.request_contains("RPUSH"));
    let pushed = setup.push("b");
    drop(held.await);
    assert!(ended(pushed).await.unwrap_err().may_be_queued());
    assert!(setup.queued().await.is_empty());
}

#[tokio::test]
async fn late_reply_ends_a_push() {
    let setup = Setup::with(0, Duration::from_millis(300)).await;
    setup.proxy.hold_replies();
    let (first, second) = (setup.push("a"), setup.push("b"));
    assert!(ended(first).await.unwrap_err().may_be_queued());
    assert!(ended(second).await.unwrap_err().may_be_queued());
}

#[tokio::test]
async fn idle_connection_that_is_lost_is_replaced() {
    let mut setup = Setup::new(0).await;
    setup.proxy.cut().await;
    eventually("the loss", async || {
        setup.trust();
        (!setup.is_written(setup.forgotten("a").0)).then_some(())
    })
    .await;
    setup.ready().await;
    ended(setup.push("b")).await.unwrap();
    assert_eq!(setup.queued().await, ["b"]);
}

#[test]
fn push_ends_with_the_runtime() {
    let [own, other] = [(), ()].map(|()| tokio::runtime::Runtime::new().unwrap());
    let (setup, pushed) = own.block_on(async {
        let setup = Setup::new(0).await;
        let held = setup.proxy.hold_reply(|exchange| exchange.request_contains("RPUSH"));
        let pushed = setup.push("a");
        let _held = held.await;
        (setup, pushed)
    });
    drop(own);
    other.block_on(async {
        // It is lost with the held reply, or with the runtime.
        assert!(ended(pushed).await.unwrap_err().may_be_queued());
        setup.trust();
        assert!(!setup.is_written(setup.forgotten("b").0));
    });
}
