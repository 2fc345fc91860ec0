//! `poll.lua` for repeated work: failed or stopped runs, settled polls with a lost reply, calls
//! under one idempotency key. And `promote.lua`.

use std::collections::HashMap;
use std::time::Duration;

use redcall_client::Code;
use redcall_store::{
    EndedCall, LeaseInfo, Outcome, PollOps as _, Promoted, QueuePoll, Record, Released, Settled,
    Settlement, UpkeepOps as _,
};
use redis::AsyncCommands;

use crate::lua::{CHANNEL, Store, TIMEOUT, envelope, outcome};

fn retry(id: &str, delay: Duration, attempt: u32) -> Outcome {
    let run = format!(r#"{{"attempt":{attempt},"code":"handler_failed","message":"n/a"}}"#);
    Outcome { run, ..outcome(id, Settlement::Retry { delay, notice: None }) }
}

#[tokio::test]
async fn failed_run_is_scheduled_then_returns_to_the_head() {
    let mut store = Store::new().await;
    let own = store.worker("own");
    store.push_ids(&["a", "b"]).await;
    assert_eq!(store.lease(&own, 1).await, ["a"]);
    let hour = Duration::from_secs(3600);
    let reply = store.poll(&own, 0, &[retry("a", hour, 1)]).await;
    assert_eq!(reply.settled, [Settled::Yes]);
    assert!(store.live().await.is_empty() && store.queued().await == [envelope("b")]);
    // Not due: it stays, and its time is returned.
    let promoted = store.link.promote(&store.keys, TIMEOUT).await.unwrap();
    let due = promoted.due_ms.unwrap();
    assert!(promoted.moved == 0 && due.abs_diff(store.now_ms().await + 3_600_000) < 5_000, "{due}");
    let () = store.conn.zadd(store.keys.schedule(), "a", 1).await.unwrap();
    let promoted = store.link.promote(&store.keys, TIMEOUT).await.unwrap();
    assert_eq!(promoted, Promoted { moved: 1, due_ms: None });
    assert_eq!(store.queued().await, [envelope("a"), envelope("b")]);
    // Leased again, with its record.
    let reply = store.poll(&own, 2, &[]).await;
    let record = Record { attempt: 1, fails: 1, crashes: 0 };
    assert_eq!(reply.leased[0].mark, LeaseInfo { cancelled: false, record });
    assert_eq!(reply.leased[1].mark, LeaseInfo::default());
    // Its end takes the record along.
    store.poll(&own, 0, &[outcome("a", Settlement::Done), outcome("b", Settlement::Done)]).await;
    assert_eq!(store.all_keys().await, [store.keys.workers()]);
}

/// Their live ids are removed together after all outcomes, before anything is leased.
#[tokio::test]
async fn several_requests_that_run_again_can_be_leased_in_the_same_poll() {
    let mut store = Store::new().await;
    let own = store.worker("own");
    store.push_ids(&["a", "b", "c", "d"]).await;
    assert_eq!(store.lease(&own, 4).await.len(), 4);
    let hour = Duration::from_secs(3600);
    let outcomes = [
        retry("a", 2 * hour, 1),
        retry("b", hour, 1),
        outcome("c", Settlement::Back),
        outcome("d", Settlement::Rerun { attempt: 1 }),
    ];
    let reply = store.poll(&own, 2, &outcomes).await;
    assert_eq!(reply.settled, [Settled::Yes; 4]);
    let ids: Vec<&str> = reply.leased.iter().map(|leased| leased.id.as_str()).collect();
    assert_eq!(ids, ["d", "c"]);
    assert_eq!((store.live().await, store.dead().await.len()), (vec!["c".into(), "d".into()], 0));
    let ttl: i64 = store.conn.pttl(store.keys.attempts()).await.unwrap();
    assert!(ttl > 0, "{ttl}");
    let scheduled: Vec<String> = store.conn.zrange(store.keys.schedule(), 0, -1).await.unwrap();
    assert_eq!(scheduled, ["b", "a"]);
}

#[tokio::test]
async fn new_request_is_promoted_once_to_the_tail() {
    let mut store = Store::new().await;
    store.push_ids(&["first"]).await;
    for id in ["x", "y"] {
        let () = store.conn.zadd(store.keys.schedule(), id, 1).await.unwrap();
        let () = store.conn.hset(store.keys.scheduled(), id, envelope(id)).await.unwrap();
    }
    // An entry without an envelope is harmless.
    let () = store.conn.zadd(store.keys.schedule(), "gone", 1).await.unwrap();
    let promoted = store.link.promote(&store.keys, TIMEOUT).await.unwrap();
    assert_eq!(promoted, Promoted { moved: 2, due_ms: None });
    let again = store.link.promote(&store.keys, TIMEOUT).await.unwrap();
    assert_eq!(again, Promoted { moved: 0, due_ms: None });
    assert_eq!(store.queued().await, ["first", "x", "y"].map(envelope));
}

#[tokio::test]
async fn request_cancelled_during_its_run_is_not_retried() {
    let mut store = Store::new().await;
    let own = store.worker("own");
    store.push_ids(&["a", "b"]).await;
    assert_eq!(store.lease(&own, 1).await, ["a"]);
    // Its worker was not notified yet.
    let () = store.conn.zadd(store.keys.cancelled(), "a", 9e15).await.unwrap();
    store.poll(&own, 0, &[retry("a", Duration::from_secs(3600), 1)]).await;
    assert!(!store.conn.exists::<_, bool>(store.keys.schedule()).await.unwrap());
    let reply = store.poll(&own, 1, &[]).await;
    assert_eq!((reply.leased[0].id.as_str(), reply.leased[0].mark.cancelled), ("a", true));
}

#[tokio::test]
async fn no_more_becomes_due_at_once_than_a_command_may_carry() {
    let mut store = Store::new().await;
    let large = "x".repeat(1 << 20);
    for n in 0..20 {
        let () = store.conn.zadd(store.keys.schedule(), n, 1 + n).await.unwrap();
        let () = store.conn.hset(store.keys.scheduled(), n, &large).await.unwrap();
    }
    let mut moved = Vec::new();
    loop {
        let promoted = store.link.promote(&store.keys, TIMEOUT).await.unwrap();
        moved.push(promoted.moved);
        if promoted.due_ms.is_none() {
            break;
        }
    }
    assert_eq!(moved, [8, 8, 4]);
}

#[tokio::test]
async fn a_run_that_was_stopped_counts_as_no_failure() {
    let mut store = Store::new().await;
    let own = store.worker("own");
    store.push_ids(&["a", "b"]).await;
    assert_eq!(store.lease(&own, 1).await, ["a"]);
    store.poll(&own, 0, &[outcome("a", Settlement::Rerun { attempt: 1 })]).await;
    let reply = store.poll(&own, 1, &[]).await;
    let record = Record { attempt: 1, fails: 0, crashes: 0 };
    assert_eq!((reply.leased[0].id.as_str(), reply.leased[0].mark.record), ("a", record));
}

#[tokio::test]
async fn dead_worker_records_a_crash_and_a_leaving_one_none() {
    let mut store = Store::new().await;
    let (dying, leaving) = (store.worker("dying"), store.worker("leaving"));
    store.push_ids(&["a", "b"]).await;
    assert_eq!(store.lease(&dying, 1).await, ["a"]);
    assert_eq!(store.lease(&leaving, 1).await, ["b"]);
    let () = store.conn.zadd(store.keys.workers(), "dying", 1).await.unwrap();
    for (worker, by_itself) in [("dying", false), ("leaving", true)] {
        let released = store.link.release(&store.keys, worker, by_itself, TIMEOUT).await.unwrap();
        assert_eq!(released, Released::Back(1));
    }
    let own = store.worker("own");
    let reply = store.poll(&own, 2, &[]).await;
    let records: HashMap<&str, Record> =
        reply.leased.iter().map(|leased| (leased.id.as_str(), leased.mark.record)).collect();
    assert_eq!(records["a"], Record { attempt: 1, fails: 0, crashes: 1 });
    assert_eq!(records["b"], Record::default());
}

#[tokio::test]
async fn a_history_keeps_the_first_and_the_last_runs() {
    let mut store = Store::new().await;
    let own = store.worker("own");
    store.push_ids(&["a"]).await;
    for attempt in 1..=30 {
        assert_eq!(store.lease(&own, 1).await, ["a"]);
        store.poll(&own, 0, &[retry("a", Duration::ZERO, attempt)]).await;
        let () = store.conn.zadd(store.keys.schedule(), "a", 1).await.unwrap();
        store.link.promote(&store.keys, TIMEOUT).await.unwrap();
    }
    let text: String = store.conn.hget(store.keys.attempts(), "a").await.unwrap();
    let record: serde_json::Value = serde_json::from_str(&text).unwrap();
    let runs = record["runs"].as_array().unwrap();
    let attempts: Vec<u64> = runs.iter().map(|run| run["attempt"].as_u64().unwrap()).collect();
    let expected: Vec<u64> = std::iter::once(1).chain(12..=30).collect();
    assert_eq!((attempts, record["fails"].as_u64()), (expected, Some(30)));
    assert!(text.contains(r#""message":"n\/a""#) || text.contains(r#""message":"n/a""#), "{text}");
    let ttl: i64 = store.conn.pttl(store.keys.attempts()).await.unwrap();
    assert!(ttl > 0, "{ttl}");
}

#[tokio::test]
async fn repeated_poll_returns_its_first_reply() {
    let mut store = Store::new().await;
    let own = store.worker("own");
    store.push_ids(&["a"]).await;
    assert_eq!(store.lease(&own, 1).await, ["a"]);
    let outcomes = [store.answer("a", r#"{"one":1}"#), store.answer("x", "{}")];
    let poll = |serial, again| QueuePoll {
        outcomes: &outcomes,
        serial,
        again,
        ..QueuePoll::take(&own, 0)
    };
    let first = store.link.poll(&[poll(7, false)], TIMEOUT).await.unwrap().remove(0).unwrap();
    assert_eq!(first.settled, [Settled::Yes, Settled::LeaseLost]);
    // Its reply was lost: settled by this worker, and only once.
    let again = store.link.poll(&[poll(7, true)], TIMEOUT).await.unwrap().remove(0).unwrap();
    assert_eq!(again.settled, [Settled::Yes, Settled::LeaseLost]);
    assert_eq!(store.frames("a").await, [r#"{"one":1}"#]);
    assert_eq!(store.received().await, [r#"[{"one":1}]"#]);
    // Another poll that was never carried out is, and finds no lease.
    let other = store.link.poll(&[poll(8, true)], TIMEOUT).await.unwrap().remove(0).unwrap();
    assert_eq!(other.settled, [Settled::LeaseLost, Settled::LeaseLost]);
    let ttl: i64 = store.conn.pttl(store.keys.poll("own")).await.unwrap();
    assert!((1..=60_000).contains(&ttl), "{ttl}");
}

#[tokio::test]
async fn a_tombstone_is_leased_with_its_request_and_goes_with_it() {
    let mut store = Store::new().await;
    let own = store.worker("own");
    store.push_ids(&["a", "b"]).await;
    let () = store.conn.zadd(store.keys.cancelled(), "a", 9e15).await.unwrap();
    let reply = store.poll(&own, 2, &[]).await;
    let marks = reply.leased.iter().map(|leased| leased.mark.cancelled);
    assert!(marks.eq([true, false]));
    // Lost in flight, it is found again.
    let held = store.link.held(&own, TIMEOUT).await.unwrap();
    let found = held.iter().find(|leased| leased.id == "a").unwrap();
    assert!(found.mark.cancelled && held.len() == 2);
    store.poll(&own, 0, &[outcome("a", Settlement::Done)]).await;
    assert!(!store.conn.exists::<_, bool>(store.keys.cancelled()).await.unwrap());
}

#[tokio::test]
async fn end_of_a_call_reaches_all_joined_callers_and_is_kept() {
    let mut store = Store::new().await;
    let own = store.worker("own");
    store.push_ids(&["a"]).await;
    assert_eq!(store.lease(&own, 1).await, ["a"]);
    let record = store.keys.idem("digest");
    let waiters = [
        ("id", "a".to_owned()),
        ("digest", "d".to_owned()),
        ("deadline", "0".to_owned()),
        ("w:a", "60000 -".to_owned()),
        ("w:b", format!("60000 {CHANNEL}")),
        ("w:c", "60000 -".to_owned()),
    ];
    let () = store.conn.hset_multiple(&record, &waiters).await.unwrap();
    let frame = |id: &str| {
        let key = store.keys.response(id);
        format!(r#"{{"id":"{id}","response_key":"{key}","type":"result","seq":1,"data":[]}}"#)
    };
    let (a, b, c) = (frame("a"), frame("b"), frame("c"));
    let call = EndedCall { digest: "digest".into(), keep: Some(TIMEOUT), frame: a.clone() };
    let outcome = Outcome { call: Some(call), ..store.answer("a", &a) };
    store.poll(&own, 0, &[outcome]).await;
    assert_eq!(store.frames("a").await, [a.as_str()]);
    assert_eq!(store.frames("b").await, [b.as_str()]);
    assert_eq!(store.frames("c").await, [c.as_str()]);
    assert_eq!(store.received().await, [format!("[{b},{a}]")]);
    let kept: HashMap<String, String> = store.conn.hgetall(&record).await.unwrap();
    assert_eq!(kept["tail"], r#","type":"result","seq":1,"data":[]}"#);
    assert_eq!((kept["id"].as_str(), kept["digest"].as_str(), kept.len()), ("a", "d", 4));
    let ttl: i64 = store.conn.pttl(&record).await.unwrap();
    assert!((1..=5_000).contains(&ttl), "{ttl}");
}

#[tokio::test]
async fn restartable_or_restarted_call_is_not_kept() {
    let mut store = Store::new().await;
    let own = store.worker("own");
    store.push_ids(&["a", "b"]).await;
    assert_eq!(store.lease(&own, 2).await, ["a", "b"]);
    let (mine, theirs) = (store.keys.idem("mine"), store.keys.idem("theirs"));
    let () = store.conn.hset_multiple(&mine, &[("id", "a"), ("digest", "d")]).await.unwrap();
    let () = store.conn.hset_multiple(&theirs, &[("id", "other"), ("w:x", "1 -")]).await.unwrap();
    let ended = |id: &str, digest: &str, keep| {
        let call = EndedCall { digest: digest.into(), keep, frame: "{}".into() };
        let code = Code::Cancelled;
        let settlement = Settlement::DeadLetter { code, reason: "r".into(), answer: None };
        Outcome { call: Some(call), ..outcome(id, settlement) }
    };
    store.poll(&own, 0, &[ended("a", "mine", None), ended("b", "theirs", Some(TIMEOUT))]).await;
    assert!(!store.conn.exists::<_, bool>(&mine).await.unwrap());
    // The call was started over: the end of the new one is still to come.
    assert_eq!(store.conn.hlen::<_, usize>(&theirs).await.unwrap(), 2);
    assert!(store.frames("x").await.is_empty());
}
