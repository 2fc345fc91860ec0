//! Result codes of `poll.lua` and `heartbeat.lua` that the other tests do not reach: pauses,
//! limited names, further results of a heartbeat. The table of all codes is in
//! docs/internals/decisions/0008.

use std::time::Duration;

use redcall_client::Code;
use redcall_common::settings::{Limit, Rate};
use redcall_store::rights::Role;
use redcall_store::{
    CheckOps as _, LimitRule, Outcome, PauseOps as _, PollOps as _, PollReply, QueuePoll, Record,
    Settled, Settlement, WorkerKeys,
};
use redis::AsyncCommands;

use crate::lua::upkeep::registry;
use crate::lua::{LONG, Store, TIMEOUT, envelope, outcome};

fn retry(delay: Duration) -> Settlement {
    Settlement::Retry { delay, notice: None }
}

/// One poll of a worker for which `add` is limited.
async fn limited(store: &Store, own: &WorkerKeys, limit: &Limit, ends: &[&str]) -> PollReply {
    store.lives(own).await;
    let rules = [LimitRule { name: "add".to_owned(), limit: limit.clone(), room: None }];
    let outcomes: Vec<_> = ends.iter().map(|id| outcome(id, Settlement::Done)).collect();
    let take = if ends.is_empty() { 5 } else { 0 };
    let poll = QueuePoll { rules: &rules, outcomes: &outcomes, ..QueuePoll::take(own, take) };
    store.link.poll(&[poll], TIMEOUT).await.unwrap().remove(0).unwrap()
}

fn ids(reply: &PollReply) -> Vec<&str> {
    reply.leased.iter().map(|leased| leased.id.as_str()).collect()
}

#[tokio::test]
async fn paused_queue_settles_and_returns_popped_requests() {
    let mut store = Store::new().await;
    let own = store.worker("own");
    store.push_ids(&["a", "b"]).await;
    assert_eq!(store.lease(&own, 1).await, ["a"]);
    store.link.set_paused(&store.keys, true, TIMEOUT).await.unwrap();
    let () = store.conn.rpush(store.keys.inbox("own"), envelope("popped")).await.unwrap();
    let reply = store.poll(&own, 5, &[outcome("a", Settlement::Done)]).await;
    assert!(reply.paused && !reply.expired && reply.leased.is_empty(), "{reply:?}");
    assert_eq!((reply.settled, reply.length), (vec![Settled::Yes], Some(2)));
    assert_eq!(store.queued().await, ["popped", "b"].map(envelope));
    store.link.set_paused(&store.keys, false, TIMEOUT).await.unwrap();
    assert_eq!(store.lease(&own, 5).await, ["popped", "b"]);
}

#[tokio::test]
async fn poll_reports_runnable_limited_requests() {
    let mut store = Store::new().await;
    let own = store.worker("own");
    let limit = Limit { key: None, concurrency: Some(1), rate: None };
    store.push_ids(&["a", "b"]).await;
    let reply = limited(&store, &own, &limit, &[]).await;
    assert_eq!((ids(&reply), reply.ready, reply.due_ms), (vec!["a"], false, None));
    // Its slot is free, and this poll has no room for the next one.
    let reply = limited(&store, &own, &limit, &["a"]).await;
    assert_eq!((ids(&reply), reply.ready), (vec![], true));
    let reply = limited(&store, &own, &limit, &[]).await;
    assert_eq!((ids(&reply), reply.ready), (vec!["b"], false));
}

#[tokio::test]
async fn drawn_element_whose_dead_letter_fails_is_reported_and_kept() {
    let mut store = Store::new().await;
    let own = store.worker("own");
    let limit = Limit { key: None, concurrency: Some(5), rate: None };
    store.push_ids(&["a"]).await;
    assert_eq!(ids(&limited(&store, &own, &limit, &[]).await), ["a"]);
    // An element with the id of a live request cannot be leased, and cannot be dead-lettered now.
    let () = store.conn.set(store.keys.dead(), "no stream").await.unwrap();
    store.push_ids(&["a"]).await;
    let reply = limited(&store, &own, &limit, &[]).await;
    let trouble = reply.trouble.unwrap_or_default();
    assert!(trouble.contains("WRONGTYPE"), "{trouble}");
    assert_eq!(reply.refused, ["invalid_request"]);
    assert_eq!(store.queued().await, ["a"].map(envelope));
}

#[tokio::test]
async fn poll_reports_the_time_of_the_next_permit() {
    let mut store = Store::new().await;
    let own = store.worker("own");
    let rate = Rate { count: 1, per: LONG };
    let limit = Limit { key: None, concurrency: None, rate: Some(rate) };
    assert_eq!(limited(&store, &own, &limit, &[]).await.due_ms, None);
    store.push_ids(&["a", "b"]).await;
    let reply = limited(&store, &own, &limit, &[]).await;
    assert_eq!((ids(&reply), reply.ready), (vec!["a"], false));
    let due = reply.due_ms.unwrap();
    assert!(due.abs_diff(store.now_ms().await + 600_000) < 10_000, "{due}");
    // Heartbeats report it as well.
    assert_eq!(registry::beat(&store, "own", LONG, &[]).await.due_ms, Some(due));
}

#[tokio::test]
async fn heartbeat_reports_an_unknown_worker() {
    let store = Store::new().await;
    assert!(!registry::beat(&store, "own", LONG, &[]).await.known);
    assert!(registry::beat(&store, "own", LONG, &[]).await.known);
}

#[tokio::test]
async fn heartbeat_reports_pause_schedule_and_cancelled_leases() {
    let mut store = Store::new().await;
    let own = store.worker("own");
    store.push_ids(&["a", "b"]).await;
    assert_eq!(store.lease(&own, 2).await, ["a", "b"]);
    let received = registry::beat(&store, "own", LONG, &[]).await;
    assert!(
        !received.paused && received.due_ms.is_none() && received.cancelled.is_empty(),
        "{received:?}"
    );
    store.link.set_paused(&store.keys, true, TIMEOUT).await.unwrap();
    let () = store.conn.zadd(store.keys.schedule(), "later", 9_000_000_000_000_u64).await.unwrap();
    // Expired tombstones are ignored.
    let tombs = [(1.0, "b"), (9e15, "a"), (9e15, "elsewhere")];
    let () = store.conn.zadd_multiple(store.keys.cancelled(), &tombs).await.unwrap();
    let received = registry::beat(&store, "own", LONG, &[]).await;
    assert!(received.paused, "{received:?}");
    assert_eq!(
        (received.due_ms, received.cancelled),
        (Some(9_000_000_000_000), vec!["a".to_owned()])
    );
}

#[tokio::test]
async fn heartbeat_reports_limited_names_and_their_mapping() {
    let mut store = Store::new().await;
    let partitioned = [("mine", 1), ("nobodys", 2)];
    let () = store.conn.hset_multiple(store.keys.limited_names(), &partitioned).await.unwrap();
    let mut limited = registry::beat(&store, "own", LONG, &["mine".to_owned()]).await.limited;
    limited.sort_unstable();
    assert_eq!(limited, [("mine".to_owned(), true), ("nobodys".to_owned(), false)]);
}

#[tokio::test]
async fn without_the_lease_nothing_is_tried_again() {
    let mut store = Store::new().await;
    let (own, holder) = (store.worker("own"), store.worker("holder"));
    store.push_ids(&["x"]).await;
    assert_eq!(store.lease(&holder, 1).await, ["x"]);
    store.lives(&own).await;
    let before = store.all_keys().await;
    let outcomes = [outcome("x", retry(LONG)), outcome("x", Settlement::Rerun { attempt: 1 })];
    assert_eq!(store.poll(&own, 0, &outcomes).await.settled, [Settled::LeaseLost; 2]);
    assert_eq!((store.all_keys().await, store.queued().await), (before, Vec::new()));
}

/// Found by the walk against the model: the record of a stopped run was created in the poll that
/// leased the request again, but not read there, so that its runs were numbered from 1.
#[tokio::test]
async fn request_returned_and_leased_in_one_poll_has_its_record() {
    let mut store = Store::new().await;
    let own = store.worker("own");
    store.push_ids(&["a"]).await;
    assert_eq!(store.lease(&own, 1).await, ["a"]);
    let reply = store.poll(&own, 1, &[outcome("a", Settlement::Rerun { attempt: 3 })]).await;
    let record = Record { attempt: 3, fails: 0, crashes: 0 };
    assert_eq!((ids(&reply), reply.leased[0].mark.record), (vec!["a"], record));
}

#[tokio::test]
async fn live_ids_are_kept_in_a_table() {
    let mut store = Store::new().await;
    for more in [false, true] {
        store.more = more;
        let own = store.worker("own");
        store.push_ids(&["a"]).await;
        assert_eq!(store.lease(&own, 1).await, ["a"]);
        let encoding = redis::cmd("OBJECT").arg("ENCODING").arg(store.keys.live()).to_owned();
        let encoding: String = encoding.query_async(&mut store.conn).await.unwrap();
        assert_eq!(encoding, "hashtable", "a list would be searched for each id");
        store.poll(&own, 0, &[outcome("a", Settlement::Done)]).await;
    }
}

/// The fast poll detects each kind of work that only `poll.lua` can do.
#[tokio::test]
async fn fast_poll_script_detects_other_work() {
    let mut store = Store::new().await;
    let own = store.worker("own");
    let keys = store.keys.clone();
    assert!(!store.poll(&own, 1, &[]).await.more);
    let there = [
        (keys.paused(), "SET x"),
        (keys.attempts(), "HSET x {}"),
        (keys.cancelled(), "ZADD 9e15 x"),
        (keys.permits(), "HSET x x"),
        (keys.limited_names(), "HSET x 1"),
        (keys.parked_names(), "SADD x"),
    ];
    for (key, write) in there {
        let mut words = write.split(' ');
        let mut write = redis::cmd(words.next().unwrap());
        write.arg(&key).arg(words.collect::<Vec<_>>());
        let () = write.query_async(&mut store.conn).await.unwrap();
        assert!(store.poll(&own, 0, &[]).await.more, "{key}");
        let () = store.conn.del(&key).await.unwrap();
        assert!(!store.poll(&own, 0, &[]).await.more, "{key}");
    }
    // A worker that has to send a heartbeat first gets that code.
    let () = store.conn.del(keys.workers()).await.unwrap();
    let reply = store.link.poll(&[QueuePoll::take(&own, 1)], TIMEOUT).await.unwrap().remove(0);
    assert!(reply.unwrap().expired);
}

#[tokio::test]
async fn outcome_that_cannot_be_stored_keeps_its_lease_until_it_can() {
    let mut store = Store::new().await;
    let own = store.worker("own");
    store.push_ids(&["a", "b", "c"]).await;
    assert_eq!(store.lease(&own, 2).await, ["a", "b"]);
    let () = store.conn.set(store.keys.dead(), "no stream").await.unwrap();
    let dead_letter =
        Settlement::DeadLetter { code: Code::Timeout, reason: "why".to_owned(), answer: None };
    let run = r#"{"attempt":1,"worker":"own","started_at":1,"ended_at":2,"code":"timeout"}"#;
    let dead_letter = Outcome { run: run.to_owned(), ..outcome("a", dead_letter) };
    let outcomes = [dead_letter, store.answer("b", "end")];
    // The other one is settled, and the worker continues.
    let reply = store.poll(&own, 1, &outcomes).await;
    assert_eq!(reply.settled, [Settled::Failed, Settled::Yes]);
    let why = reply.unsettled.clone().unwrap();
    assert!(why.contains("WRONGTYPE"), "{why}");
    assert_eq!((ids(&reply), store.frames("b").await), (vec!["c"], vec!["end".to_owned()]));
    assert_eq!(store.live().await, ["a", "c"]);
    // It takes effect once, when the key is right again.
    let () = store.conn.del(store.keys.dead()).await.unwrap();
    let reply = store.poll(&own, 0, &outcomes[..1]).await;
    assert_eq!((reply.settled, reply.unsettled), (vec![Settled::Yes], None));
    assert_eq!(store.dead().await[0][..2], ["a", "timeout"]);
    let reply = store.poll(&own, 0, &outcomes[..1]).await;
    assert_eq!((reply.settled, store.dead().await.len()), (vec![Settled::LeaseLost], 1));
    assert_eq!(store.live().await, ["c"]);
}

#[tokio::test]
async fn failed_retry_keeps_a_scheduled_request_with_the_same_id() {
    let mut store = Store::new().await;
    let own = store.worker("own");
    store.push_ids(&["a"]).await;
    assert_eq!(store.lease(&own, 1).await, ["a"]);
    let (twin, due) = (envelope("a") + " ", 4_000_000_000_000_u64);
    let () = store.conn.hset(store.keys.scheduled(), "a", &twin).await.unwrap();
    let () = store.conn.zadd(store.keys.schedule(), "a", due).await.unwrap();
    // The retry is stored, and then fails at the live id.
    let () = store.conn.set(store.keys.live(), "no hash").await.unwrap();
    let run = r#"{"attempt":1,"worker":"own","started_at":1,"ended_at":2,"code":"timeout"}"#;
    let failed = Outcome { run: run.to_owned(), ..outcome("a", retry(LONG)) };
    assert_eq!(store.poll(&own, 0, &[failed]).await.settled, [Settled::Failed]);
    let kept: String = store.conn.hget(store.keys.scheduled(), "a").await.unwrap();
    let kept_due: u64 = store.conn.zscore(store.keys.schedule(), "a").await.unwrap();
    assert_eq!((kept, kept_due), (twin, due));
}

#[tokio::test]
async fn settling_poll_returns_the_length_on_request() {
    for more in [false, true] {
        let mut store = Store { more, ..Store::new().await };
        let own = store.worker("own");
        store.push_ids(&["a"]).await;
        for (length, expected) in [(true, Some(1)), (false, None)] {
            let poll = QueuePoll { inbox: false, length, more, ..QueuePoll::take(&own, 0) };
            let reply = store.link.poll(&[poll], TIMEOUT).await.unwrap().remove(0).unwrap();
            assert_eq!(reply.length, expected);
        }
    }
}

#[tokio::test]
async fn refused_rights_are_reported_without_a_run() {
    let mut store = Store::new().await;
    let all = redcall_common::keys::Keys::new("redcall");
    let missing = async |store: &Store| {
        let missing = store.link.missing_rights(Role::Worker, &all, &["q"], TIMEOUT).await.unwrap();
        missing.into_iter().map(|right| right.rule).collect::<Vec<_>>()
    };
    assert_eq!(missing(&store).await, [""; 0]);
    // The first checked command, and others.
    let commands = Role::Worker.commands();
    for command in [commands[0].as_str(), "lpush", "client|kill"] {
        let rule = format!("-{command}");
        let user = redis::cmd("ACL").arg("SETUSER").arg("default").arg(rule).to_owned();
        let () = user.query_async(&mut store.conn).await.unwrap();
    }
    assert_eq!(missing(&store).await, ["+blmove", "+lpush", "+client|kill"]);
    assert_eq!(store.all_keys().await, [""; 0]);
}
