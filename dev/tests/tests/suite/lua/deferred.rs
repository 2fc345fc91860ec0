//! `settle.lua`, `expire.lua`, and the other scripts' view of deferred requests.

use std::time::Duration;

use redcall_store::{
    AnswerOps as _, CancelRequest, Cancellation, DeferredRecord, DeferredRun, DeferredSettled,
    EndedCall, EndedDeferred, Outcome, SendOps as _, Settled, Settlement, UpkeepOps as _,
    WorkerKeys,
};
use redis::AsyncCommands;

use super::{LONG, Store, TIMEOUT, envelope, outcome};
use crate::support::HOUR;

/// The start of the final frames of these tests, after id and response key.
const LATE: &str = r#","late":1}"#;
const GONE: &str = r#","gone":1}"#;
const DONE: &str = r#","done":1}"#;

fn frame(store: &Store, id: &str, tail: &str) -> String {
    format!(r#"{{"id":"{id}","response_key":"{}"{tail}"#, store.keys.response(id))
}

/// Defers for `timeout`, under the token digest `d`.
fn later(store: &Store, id: &str, timeout: Duration) -> Outcome {
    let record = DeferredRecord {
        digest: "d".to_owned(),
        run: DeferredRun {
            name: "start".to_owned(),
            attempt: 2,
            seq: 4,
            nonce: Some("7".to_owned()),
            notify: true,
            ..DeferredRun::default()
        },
        reply: Some(store.reply(id)),
        late: LATE.to_owned(),
        gone: GONE.to_owned(),
        dead_letter: false,
        status_ttl_ms: None,
        seal: None,
    };
    let notice = Some((store.reply(id), "{}".to_owned()));
    outcome(id, Settlement::Deferred { timeout, record: Box::new(record), notice })
}

impl Store {
    /// A worker that has put the request `x` off.
    async fn deferral(&mut self, timeout: Duration) -> WorkerKeys {
        let own = self.worker("own");
        self.push_ids(&["x"]).await;
        assert_eq!(self.lease(&own, 1).await, ["x"]);
        let reply = self.poll(&own, 0, &[later(self, "x", timeout)]).await;
        assert_eq!(reply.settled, [Settled::Yes]);
        own
    }

    async fn settle(&self, digest: &str, by: &str) -> DeferredSettled {
        let end = (DONE, None, true);
        self.link.settle_deferred(&self.keys, ("x", digest, by), end, TIMEOUT).await.unwrap()
    }
}

fn expected() -> Vec<EndedDeferred> {
    let (id, name, nonce) = ("x".to_owned(), "start".to_owned(), Some("7".to_owned()));
    vec![EndedDeferred { id, name, nonce }]
}

#[tokio::test]
async fn deferral_drops_the_lease_and_keeps_the_id_live() {
    let mut store = Store::new().await;
    let own = store.deferral(HOUR).await;
    assert_eq!(store.received().await, ["[{}]"]);
    assert!(!store.conn.exists::<_, bool>(&own.leases).await.unwrap());
    assert_eq!(store.live().await, ["x"]);
    let raw: String = store.conn.hget(store.keys.deferred("x"), "raw").await.unwrap();
    assert_eq!(raw, envelope("x"), "its bytes stay as they are");
    for key in [store.keys.deferred("x"), store.keys.deferred_ids()] {
        let ttl: u64 = store.conn.pttl(&key).await.unwrap();
        let beyond = 7 * 24 * 3_600_000;
        assert!((beyond + 3_500_000..=beyond + 3_600_000).contains(&ttl), "{key} goes in {ttl}");
    }
    // A second request of its id is refused, and no lease is given back.
    store.push_ids(&["x"]).await;
    assert_eq!(store.lease(&own, 1).await, [""; 0]);
    assert_eq!(store.dead().await[0][1], "invalid_request");
    store.link.release(&store.keys, "own", true, TIMEOUT).await.unwrap();
    assert_eq!((store.queued().await, store.live().await), (vec![], vec!["x".to_owned()]));

    let (known, _) = store.link.deferred(&store.keys, "x", "d", TIMEOUT).await.unwrap().unwrap();
    assert_eq!((&*known.name, known.attempt, known.seq, known.notify), ("start", 2, 4, true));
    assert_eq!(store.link.deferred(&store.keys, "x", "e", TIMEOUT).await.unwrap(), None);
}

#[tokio::test]
async fn answer_with_an_occupied_key_is_dead_lettered() {
    let mut store = Store::new().await;
    store.deferral(HOUR).await;
    let () = store.conn.set(store.keys.response("x"), "of another client").await.unwrap();
    assert_eq!(store.settle("d", "me").await, DeferredSettled::Yes);
    assert_eq!(store.dead().await[0][1], "invalid_request");
    assert_eq!(store.live().await, [""; 0]);
}

#[tokio::test]
async fn deferral_without_the_lease_is_refused() {
    let mut store = Store::new().await;
    let own = store.worker("own");
    let reply = store.poll(&own, 0, &[later(&store, "x", HOUR)]).await;
    assert_eq!(reply.settled, [Settled::LeaseLost]);
    assert_eq!(store.all_keys().await, [store.keys.workers()]);
    assert_eq!(store.received().await, [""; 0]);
}

#[tokio::test]
async fn token_settles_once_and_removes_the_records() {
    let mut store = Store::new().await;
    store.deferral(HOUR).await;
    let () = store.conn.hset(store.keys.attempts(), "x", "{}").await.unwrap();
    store.received().await;
    assert_eq!(store.settle("e", "me").await, DeferredSettled::Unknown);
    assert_eq!(store.settle("d", "me").await, DeferredSettled::Yes);
    let done = frame(&store, "x", DONE);
    assert_eq!(store.frames("x").await, ["{}", &done]);
    assert_eq!(store.received().await, [format!("[{done}]")]);
    // The reply was lost: the same settlement gets the same reply, another one is too late.
    assert_eq!(store.settle("d", "me").await, DeferredSettled::Yes);
    assert_eq!(store.settle("d", "you").await, DeferredSettled::Before);
    assert_eq!(store.settle("e", "me").await, DeferredSettled::Unknown);
    assert_eq!(store.frames("x").await.len(), 2);
    let mut left = [store.keys.deferred("x"), store.keys.response("x"), store.keys.workers()];
    left.sort_unstable();
    assert_eq!(store.all_keys().await, left);
    let ttl: i64 = store.conn.pttl(store.keys.deferred("x")).await.unwrap();
    assert!((1..=600_000).contains(&ttl), "{ttl}");
    // The id may be used again.
    let own = store.deferral(HOUR).await;
    assert_eq!(store.settle("d", "you").await, DeferredSettled::Yes);
    assert_eq!(store.lease(&own, 1).await, [""; 0]);
}

#[tokio::test]
async fn expired_deferral_is_answered_once() {
    let mut store = Store::new().await;
    let expire = async |store: &Store| store.link.expire(&store.keys, TIMEOUT).await.unwrap();
    store.deferral(HOUR).await;
    assert_eq!(expire(&store).await, (0, vec![]), "not before its time");
    store.settle("d", "me").await;
    store.deferral(Duration::ZERO).await;
    assert_eq!(expire(&store).await, (1, expected()));
    let late = frame(&store, "x", LATE);
    assert_eq!(store.frames("x").await.last(), Some(&late));
    assert_eq!(expire(&store).await, (0, vec![]));
    assert_eq!(store.settle("d", "me").await, DeferredSettled::Unknown);
    assert_eq!(store.live().await, [""; 0]);

    // Before a worker has checked, a late settlement gets the same reply.
    store.deferral(Duration::ZERO).await;
    assert_eq!(store.settle("d", "me").await, DeferredSettled::Late);
    assert_eq!(store.frames("x").await.iter().filter(|frame| **frame == late).count(), 2);
    assert_eq!(expire(&store).await, (0, vec![]));
}

#[tokio::test]
async fn heartbeat_reports_expired_deferrals_and_repairs_live_ids() {
    let mut store = Store::new().await;
    let own = store.deferral(HOUR).await;
    let beat = async |store: &Store| {
        let beat =
            redcall_store::HeartbeatRequest { worker: "own", lease: LONG, info: "{}", names: &[] };
        store.link.heartbeat(&store.keys, &beat, TIMEOUT).await.unwrap()
    };
    // Also where the registry was lost: it puts no worker there that is none.
    let () = store.conn.del(store.keys.workers()).await.unwrap();
    assert!(!beat(&store).await.over);
    assert_eq!(store.live().await, ["x"]);
    let workers: Vec<String> = store.conn.zrange(store.keys.workers(), 0, -1).await.unwrap();
    assert_eq!(workers, ["own"]);
    let () = store.conn.zadd(store.keys.deferred_ids(), "x", 1).await.unwrap();
    assert!(beat(&store).await.over);
    // A lease without a live id is found by its record.
    store.push_ids(&["y"]).await;
    assert_eq!(store.lease(&own, 1).await, ["y"]);
    let () = store.conn.hdel(store.keys.live(), "y").await.unwrap();
    beat(&store).await;
    assert_eq!(store.live().await, ["x", "y"]);
    // A live id without a record would refuse its like until it expires.
    let () = store.conn.del(store.keys.deferred("x")).await.unwrap();
    beat(&store).await;
    assert_eq!(store.live().await, ["y"]);
    assert_eq!(store.link.expire(&store.keys, TIMEOUT).await.unwrap(), (1, vec![]));
    assert!(!store.conn.exists::<_, bool>(store.keys.deferred_ids()).await.unwrap());
}

#[tokio::test]
async fn cancelled_deferral_ends_at_once_without_a_tombstone() {
    let mut store = Store::new().await;
    store.deferral(HOUR).await;
    let one = [CancelRequest { id: "x".to_owned(), ttl_ms: 60_000, record: None }];
    let cancelled = store.link.cancel(&store.keys, &one, TIMEOUT).await.unwrap();
    assert_eq!(cancelled, (vec![Cancellation::Deferred], expected()));
    let gone = frame(&store, "x", GONE);
    assert_eq!(store.frames("x").await, ["{}", &gone]);
    assert_eq!(store.received().await, ["[{}]", &format!("[{gone}]")]);
    assert_eq!(store.settle("d", "me").await, DeferredSettled::Unknown);
    let mut left = [store.keys.response("x"), store.keys.workers()];
    left.sort_unstable();
    assert_eq!(store.all_keys().await, left);

    // Cancelled before its worker was notified: it is not deferred.
    store.push_ids(&["x"]).await;
    let own = store.worker("own");
    assert_eq!(store.lease(&own, 1).await, ["x"]);
    let cancelled = store.link.cancel(&store.keys, &one, TIMEOUT).await.unwrap();
    assert_eq!(cancelled, (vec![Cancellation::Running], vec![]));
    let reply = store.poll(&own, 0, &[later(&store, "x", HOUR)]).await;
    assert_eq!(reply.settled, [Settled::Yes]);
    assert_eq!(store.frames("x").await[2..], ["{}", &gone]);
    assert_eq!(store.all_keys().await, left);
}

#[tokio::test]
async fn deferred_error_is_dead_lettered_if_requested_and_ends() {
    let mut store = Store::new().await;
    let own = store.worker("own");
    store.push_ids(&["x"]).await;
    assert_eq!(store.lease(&own, 1).await, ["x"]);
    let record = store.keys.idem("c");
    let waiter = format!("60000 {}", super::CHANNEL);
    let fields = [("digest", "d"), ("id", "x"), ("deadline", "0"), ("w:y", &waiter)];
    let () = store.conn.hset_multiple(&record, &fields).await.unwrap();
    let mut outcome = later(&store, "x", HOUR);
    if let Settlement::Deferred { record, notice, .. } = &mut outcome.settlement {
        (record.dead_letter, record.reply, *notice) = (true, None, None);
    }
    let (digest, frame_of) = ("c".to_owned(), frame(&store, "x", "{}"));
    outcome.call = Some(EndedCall { digest, keep: Some(HOUR), frame: frame_of });
    store.poll(&own, 0, &[outcome]).await;
    let (of, error) = (("x", "d", "me"), Some(("handler_failed", "no")));
    let settled = store.link.settle_deferred(&store.keys, of, (DONE, error, true), TIMEOUT).await;
    assert_eq!(settled.unwrap(), DeferredSettled::Yes);
    let dead = store.dead().await;
    assert_eq!(dead[0][..4], ["x", "handler_failed", "no", "own"]);
    assert_eq!((dead.len(), &*dead[0][4]), (1, &*envelope("x")));
    // Joined and later callers get its end; the first caller does not wait.
    assert_eq!(store.frames("y").await, [frame(&store, "y", DONE)]);
    assert_eq!(store.frames("x").await, [""; 0]);
    let tail: String = store.conn.hget(&record, "tail").await.unwrap();
    assert_eq!(tail, DONE);
}

#[tokio::test]
async fn a_deferred_answer_is_counted_among_those_kept() {
    let mut store = Store::new().await;
    store.deferral(HOUR).await;
    let tail = format!(r#","data":"{}"}}"#, "x".repeat(512 << 10));
    let settling =
        store.link.settle_deferred(&store.keys, ("x", "d", "me"), (&tail, None, true), TIMEOUT);
    assert_eq!(settling.await.unwrap(), DeferredSettled::Yes);
    let noted: u64 = store.conn.hget(store.keys.answers(), "response:x").await.unwrap();
    assert!((448 << 10..=576 << 10).contains(&noted), "{noted}");
}

#[tokio::test]
async fn unendable_request_waits_a_minute_behind_the_others() {
    let mut store = Store::new().await;
    let own = store.worker("own");
    store.push_ids(&["stuck", "good"]).await;
    assert_eq!(store.lease(&own, 2).await, ["stuck", "good"]);
    let outcomes = ["stuck", "good"].map(|id| later(&store, id, Duration::ZERO));
    store.poll(&own, 0, &outcomes).await;
    let pending = store.keys.deferred_ids();
    let due: u64 = store.conn.zscore(&pending, "stuck").await.unwrap();
    // Its end can go neither to its response key nor to the dead letters.
    let () = store.conn.set(store.keys.response("stuck"), "of another type").await.unwrap();
    let () = store.conn.set(store.keys.dead(), "of another type").await.unwrap();
    let (_, expected) = store.link.expire(&store.keys, TIMEOUT).await.unwrap();
    assert_eq!(expected.iter().map(|ended| &*ended.id).collect::<Vec<_>>(), ["good"]);
    let next: u64 = store.conn.zscore(&pending, "stuck").await.unwrap();
    assert!(next >= due + 60_000, "{due}, then {next}");
    assert_eq!(store.live().await, ["stuck"]);
}

#[tokio::test]
async fn end_that_is_taken_back_is_not_announced() {
    let mut store = Store::new().await;
    let own = store.worker("own");
    store.push_ids(&["x"]).await;
    assert_eq!(store.lease(&own, 1).await, ["x"]);
    // It was cancelled while it ran, and its end fails after its answer.
    let () = store.conn.zadd(store.keys.cancelled(), "x", 1e15).await.unwrap();
    let () = store.conn.set(store.keys.idem("c"), "of another type").await.unwrap();
    let mut outcome = later(&store, "x", HOUR);
    let (digest, frame) = ("c".to_owned(), frame(&store, "x", "{}"));
    outcome.call = Some(EndedCall { digest, keep: Some(HOUR), frame: frame.clone() });
    let reply = store.poll(&own, 0, &[outcome]).await;
    assert_eq!(reply.settled, [Settled::Yes]);
    assert_eq!(store.received().await, [format!("[{frame}]")]);
    assert_eq!(store.frames("x").await, [frame]);
}

#[tokio::test]
async fn end_that_is_stored_stands_if_its_record_stays() {
    let mut store = Store::new().await;
    store.deferral(HOUR).await;
    let record = store.keys.idem("c");
    let fields = [("digest", "d"), ("id", "x"), ("deadline", "0")];
    let () = store.conn.hset_multiple(&record, &fields).await.unwrap();
    // The record of the deferred request may be deleted, that of its call may not.
    let mut forbid = redis::cmd("ACL");
    forbid.arg("SETUSER").arg("default").arg("resetkeys");
    forbid.arg(format!("~{}", store.keys.deferred("x"))).arg("(~* &* +@all -del)");
    let () = forbid.query_async(&mut store.conn).await.unwrap();
    let one = [CancelRequest { id: "x".to_owned(), ttl_ms: 60_000, record: Some(record.clone()) }];
    let cancelled = store.link.cancel(&store.keys, &one, TIMEOUT).await.unwrap();
    assert_eq!(cancelled, (vec![Cancellation::Deferred], expected()));
    let gone = frame(&store, "x", GONE);
    assert_eq!(store.frames("x").await, ["{}", &gone]);
    assert_eq!(store.received().await, ["[{}]", &format!("[{gone}]")]);
    assert!(store.conn.exists::<_, bool>(&record).await.unwrap());
}
