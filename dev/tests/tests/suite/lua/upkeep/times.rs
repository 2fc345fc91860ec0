//! `times.lua` and `pace_of` of limits.lua: times that lie further ahead than Redcall writes them,
//! as a clock leaves them behind that was ahead and is not any more.

use std::time::Duration;

use redcall_common::settings::{Limit, Rate};
use redcall_store::{
    LimitRule, PollOps as _, QueuePoll, SendOps as _, TimeAhead, UpkeepOps as _, Waited,
};
use redis::AsyncCommands;

use crate::lua::{LONG, Store, TIMEOUT, envelope};

const HOUR: u64 = 3_600_000;
/// The lease of the worker that corrects times.
const LEASE: Duration = Duration::from_secs(5);

/// Key and member of each time that was brought back, sorted.
async fn brought_back(store: &Store) -> Vec<(String, String)> {
    let ahead = store.link.bound_times(&store.keys, LEASE, TIMEOUT).await.unwrap();
    let near = |ahead: &TimeAhead| ahead.ahead.as_millis().abs_diff(u128::from(HOUR)) < 10_000;
    assert!(ahead.iter().all(near), "{ahead:?}");
    let mut found: Vec<_> = ahead.into_iter().map(|time| (time.key, time.member)).collect();
    found.sort_unstable();
    found
}

async fn score(store: &mut Store, key: String, member: &str) -> u64 {
    let score: f64 = store.conn.zscore(key, member).await.unwrap();
    score as u64
}

#[tokio::test]
async fn time_beyond_its_bound_is_corrected_and_reported_once() {
    let mut store = Store::new().await;
    let (keys, now) = (store.keys.clone(), store.now_ms().await);
    let ahead = now + HOUR;
    let () = store.conn.zadd(keys.workers(), "dead", ahead).await.unwrap();
    let () = store.conn.set(keys.worker("dead"), r#"{"lease_ms":2000}"#).await.unwrap();
    let () = store.conn.zadd(keys.names(), "gone", ahead).await.unwrap();
    let () = store.conn.hset(keys.ticks(), "nightly", ahead).await.unwrap();
    let () = store.conn.zadd(keys.deferred_ids(), "deferred", ahead).await.unwrap();
    let fields = [("within", 60_000), ("deadline", ahead)];
    let () = store.conn.hset_multiple(keys.deferred("deferred"), &fields).await.unwrap();
    let () = store.conn.zadd(keys.schedule(), "retried", ahead).await.unwrap();
    let record = r#"{"attempt":1,"fails":1,"crashes":0,"pause":1500}"#;
    let () = store.conn.hset(keys.attempts(), "retried", record).await.unwrap();

    let expected = [
        ("deferred", "deferred"),
        ("schedule", "retried"),
        ("ticks", "nightly"),
        ("workers", "dead"),
    ];
    let expected = expected.map(|(key, member)| (key.to_owned(), member.to_owned()));
    assert_eq!(brought_back(&store).await, expected);
    assert_eq!(brought_back(&store).await, []);

    let later = store.now_ms().await;
    let in_time = |at: u64, ms: u64| (now..=later + ms + 50).contains(&at);
    assert!(in_time(score(&mut store, keys.workers(), "dead").await, 2_000));
    assert!(in_time(score(&mut store, keys.names(), "gone").await, 10_000));
    assert!(in_time(score(&mut store, keys.schedule(), "retried").await, 1_500));
    assert!(in_time(score(&mut store, keys.deferred_ids(), "deferred").await, 60_000));
    let deadline: u64 = store.conn.hget(keys.deferred("deferred"), "deadline").await.unwrap();
    assert!(in_time(deadline, 60_000));
    let tick: u64 = store.conn.hget(keys.ticks(), "nightly").await.unwrap();
    assert!(in_time(tick, 0));
}

#[tokio::test]
async fn time_within_its_bound_stays_as_it_is() {
    let mut store = Store::new().await;
    let (keys, now) = (store.keys.clone(), store.now_ms().await);
    // A lease that is longer than that of the checking worker, and its names; one that is not
    // known.
    let () = store.conn.zadd(keys.workers(), "slow", now + 600_000).await.unwrap();
    let () = store.conn.set(keys.worker("slow"), r#"{"lease_ms":600000}"#).await.unwrap();
    let () = store.conn.zadd(keys.workers(), "quiet", now + HOUR - 60_000).await.unwrap();
    let () = store.conn.zadd(keys.names(), "add", now + 600_000).await.unwrap();
    // Delayed by a caller; a retry, a deferred request, a tombstone of their own length.
    let () = store.conn.zadd(keys.schedule(), "wanted", now + 9 * HOUR).await.unwrap();
    let () = store.conn.zadd(keys.schedule(), "retried", now + HOUR).await.unwrap();
    let record = format!(r#"{{"attempt":1,"fails":1,"crashes":0,"pause":{}}}"#, HOUR + 1);
    let () = store.conn.hset(keys.attempts(), "retried", record).await.unwrap();
    let () = store.conn.zadd(keys.deferred_ids(), "deferred", now + HOUR).await.unwrap();
    let () = store.conn.hset(keys.deferred("deferred"), "within", HOUR + 1).await.unwrap();
    let () = store.conn.zadd(keys.cancelled(), "x", now + 24 * HOUR).await.unwrap();
    let () = store.conn.hset(keys.ticks(), "nightly", now - 1).await.unwrap();

    assert_eq!(brought_back(&store).await, []);
    for (key, member, at) in [
        (keys.workers(), "slow", now + 600_000),
        (keys.workers(), "quiet", now + HOUR - 60_000),
        (keys.names(), "add", now + 600_000),
        (keys.schedule(), "wanted", now + 9 * HOUR),
        (keys.schedule(), "retried", now + HOUR),
        (keys.deferred_ids(), "deferred", now + HOUR),
        (keys.cancelled(), "x", now + 24 * HOUR),
    ] {
        assert_eq!(score(&mut store, key, member).await, at, "{member}");
    }
}

#[tokio::test]
async fn tombstone_lives_no_longer_than_any_may() {
    let mut store = Store::new().await;
    let (key, year) = (store.keys.cancelled(), 366 * 24 * HOUR);
    let () = store.conn.zadd(&key, "x", store.now_ms().await + year + HOUR).await.unwrap();
    let ahead = store.link.bound_times(&store.keys, LEASE, TIMEOUT).await.unwrap();
    assert_eq!((ahead.len(), &*ahead[0].key), (1, "cancelled"));
    assert!(score(&mut store, key, "x").await <= store.now_ms().await + year + 50);
}

#[tokio::test]
async fn times_by_workers_of_earlier_versions_have_the_longest_bound() {
    let mut store = Store::new().await;
    let (keys, now, day) = (store.keys.clone(), store.now_ms().await, 24 * HOUR);
    // They stored neither the delay of a retry nor the timeout of a deferral.
    let record = r#"{"attempt":1,"fails":1,"crashes":0}"#;
    for (id, at) in [("near", now + 29 * day), ("far", now + 30 * day + HOUR)] {
        let () = store.conn.zadd(keys.schedule(), id, at).await.unwrap();
        let () = store.conn.hset(keys.attempts(), id, record).await.unwrap();
    }
    // A caller scheduled a request with the id of one that runs, and has a record.
    let () = store.conn.zadd(keys.schedule(), "twin", now + 99 * day).await.unwrap();
    let () = store.conn.hset(keys.attempts(), "twin", record).await.unwrap();
    let () = store.conn.hset(keys.live(), "twin", "own").await.unwrap();
    for (id, at) in [("soon", now + 6 * day), ("late", now + 7 * day + HOUR)] {
        let () = store.conn.zadd(keys.deferred_ids(), id, at).await.unwrap();
        let fields = [("raw", "{}"), ("deadline", &at.to_string())];
        let () = store.conn.hset_multiple(keys.deferred(id), &fields).await.unwrap();
    }
    let ahead = store.link.bound_times(&store.keys, LEASE, TIMEOUT).await.unwrap();
    let mut found: Vec<_> = ahead.iter().map(|time| (&*time.key, &*time.member)).collect();
    found.sort_unstable();
    assert_eq!(found, [("deferred", "late"), ("schedule", "far")]);
    let later = store.now_ms().await;
    let in_time = |at: u64, ms: u64| (now + ms..=later + ms + 50).contains(&at);
    assert!(in_time(score(&mut store, keys.schedule(), "far").await, 30 * day));
    assert!(in_time(score(&mut store, keys.deferred_ids(), "late").await, 7 * day));
    let deadline: u64 = store.conn.hget(keys.deferred("late"), "deadline").await.unwrap();
    assert!(in_time(deadline, 7 * day));
    assert_eq!(score(&mut store, keys.schedule(), "twin").await, now + 99 * day);
    assert_eq!(brought_back(&store).await, []);
}

#[tokio::test]
async fn value_of_another_type_costs_no_other_key_its_time() {
    let mut store = Store::new().await;
    let keys = store.keys.clone();
    for key in [keys.workers(), keys.names(), keys.deferred_ids(), keys.schedule(), keys.attempts()]
    {
        let () = store.conn.set(key, "x").await.unwrap();
    }
    let () = store.conn.hset(keys.ticks(), "nightly", store.now_ms().await + HOUR).await.unwrap();
    assert_eq!(brought_back(&store).await, [("ticks".to_owned(), "nightly".to_owned())]);
}

#[tokio::test]
async fn retry_and_deferral_use_their_own_time_bounds() {
    use redcall_store::Settlement;
    let mut store = Store::new().await;
    let own = store.worker("own");
    store.push_ids(&["a"]).await;
    assert_eq!(store.lease(&own, 1).await, ["a"]);
    let delay = Duration::from_millis(1234);
    let mut retried = crate::lua::outcome("a", Settlement::Retry { delay, notice: None });
    retried.run = r#"{"attempt":1,"worker":"own","ended_at":1,"code":"timeout"}"#.to_owned();
    store.poll(&own, 0, &[retried]).await;
    let record: String = store.conn.hget(store.keys.attempts(), "a").await.unwrap();
    assert!(record.contains(r#""pause":1234"#), "{record}");
}

#[tokio::test]
async fn rate_whose_pace_is_an_hour_ahead_allows_the_next_within_its_window() {
    let mut store = Store::new().await;
    let own = store.worker("own");
    store.lives(&own).await;
    let rate = Some(Rate { count: 2, per: Duration::from_secs(60) });
    let limit = Limit { key: None, concurrency: None, rate };
    let rules = [LimitRule { name: "add".to_owned(), limit, room: None }];
    store.push(&[envelope("a"), envelope("b")]).await;
    let now = store.now_ms().await;
    let rate_key = format!("{}:rate:add:", store.keys.base());
    let () = store.conn.set(&rate_key, (now + HOUR) * 1000).await.unwrap();
    let poll = QueuePoll { rules: &rules, ..QueuePoll::take(&own, 5) };
    let reply = store.link.poll(&[poll], TIMEOUT).await.unwrap().remove(0).unwrap();
    let due = reply.due_ms.unwrap();
    assert!((now + 25_000..now + 40_000).contains(&due), "{} ms", due - now);
    // It stays so: the clock does not take the bound along.
    let pace: u64 = store.conn.get(&rate_key).await.unwrap();
    assert!(pace < (now + 70_000) * 1000, "{pace}");
    let ttl: i64 = store.conn.pttl(&rate_key).await.unwrap();
    assert!((1..=60_000).contains(&ttl), "{ttl}");
}

#[tokio::test]
async fn schedule_with_a_future_last_tick_ticks_from_now_on() {
    let mut store = Store::new().await;
    let (key, now) = (store.keys.ticks(), store.now_ms().await);
    for known in [None, Some(now + HOUR)] {
        let () = store.conn.hset(&key, "nightly", now + HOUR).await.unwrap();
        let reply = store.link.tick(&store.keys, 0, "nightly", known, &[], TIMEOUT).await.unwrap();
        assert!(reply.last_ms.abs_diff(store.now_ms().await) < 5_000, "{reply:?}");
        assert!(reply.ahead_ms > HOUR - 10_000, "{reply:?}");
        let kept: u64 = store.conn.hget(&key, "nightly").await.unwrap();
        assert_eq!(kept, reply.last_ms);
    }
    let reply = store.link.tick(&store.keys, 0, "nightly", None, &[], TIMEOUT).await.unwrap();
    assert_eq!(reply.ahead_ms, 0);
}

#[tokio::test]
async fn impossibly_late_lease_is_ignored() {
    let mut store = Store::new().await;
    let key = store.keys.workers();
    let () = store.conn.zadd(&key, "dead", store.now_ms().await + 3 * HOUR).await.unwrap();
    assert!(!store.link.is_served(&store.keys, TIMEOUT).await.unwrap());
    let waited = [crate::lua::item(true, &envelope("a"))];
    let queued = store.link.enqueue(&store.keys, 0, &waited, &[], TIMEOUT).await.unwrap();
    assert!(queued.waited == Waited::NoWorkers && queued.accepted == 0, "{queued:?}");
    store.beat("own", LONG, &[]).await;
    assert!(store.link.is_served(&store.keys, TIMEOUT).await.unwrap());
}
