//! `tick.lua`: the ticks of a schedule that are enqueued, and the record of the last one.

use redcall_store::{Tick, Ticked, UpkeepOps as _};
use redis::AsyncCommands;

use super::{Store, TIMEOUT, envelope};

/// Long ago: everything after it is due.
const START: u64 = 1_700_000_000_000;

fn ticks(at: &[u64]) -> Vec<Tick> {
    let tick = |at_ms: &u64| Tick { at_ms: *at_ms, envelope: envelope(&format!("t{at_ms}")) };
    at.iter().map(tick).collect()
}

async fn tick(store: &Store, cap: u64, known: Option<u64>, at: &[u64]) -> Ticked {
    store.link.tick(&store.keys, cap, "nightly", known, &ticks(at), TIMEOUT).await.unwrap()
}

/// The queue holds exactly these ticks, in order.
async fn queued(store: &mut Store, at: &[u64]) {
    let expected: Vec<String> = ticks(at).into_iter().map(|tick| tick.envelope).collect();
    assert_eq!(store.queued().await, expected);
}

async fn last(store: &mut Store) -> Option<u64> {
    store.conn.hget(store.keys.ticks(), "nightly").await.unwrap()
}

#[tokio::test]
async fn new_schedule_starts_now_for_all_workers() {
    let mut store = Store::new().await;
    let first = tick(&store, 0, None, &[]).await;
    let now = store.now_ms().await;
    assert!(first.enqueued == 0 && now.abs_diff(first.last_ms) < 5_000, "{first:?} at {now}");
    assert_eq!(last(&mut store).await, Some(first.last_ms));
    // Later workers get the same start.
    let run_tick = async |known, at: &[u64]| {
        let ticked = tick(&store, 0, known, at).await;
        assert_eq!(ticked, Ticked { now_ms: ticked.now_ms, ..first });
    };
    run_tick(None, &[]).await;
    run_tick(Some(START), &[]).await;
    // Nothing before it is missed.
    run_tick(None, &[START]).await;
    queued(&mut store, &[]).await;
    let ttl: i64 = store.conn.pttl(store.keys.ticks()).await.unwrap();
    assert!((1..=400 * 86_400_000).contains(&ttl) && ttl > 399 * 86_400_000, "{ttl}");
}

#[tokio::test]
async fn each_tick_is_enqueued_once_and_in_order() {
    let mut store = Store::new().await;
    let ticked = tick(&store, 0, Some(START), &[START + 1, START + 2]).await;
    assert_eq!(ticked, Ticked { enqueued: 2, last_ms: START + 2, ahead_ms: 0, ..ticked });
    // The second to come; then one that knows of a further tick.
    let ticked = tick(&store, 0, Some(START), &[START + 1, START + 2]).await;
    assert_eq!(ticked, Ticked { enqueued: 0, last_ms: START + 2, ahead_ms: 0, ..ticked });
    let ticked = tick(&store, 0, Some(START), &[START + 1, START + 2, START + 3]).await;
    assert_eq!(ticked, Ticked { enqueued: 1, last_ms: START + 3, ahead_ms: 0, ..ticked });
    // A worker whose settings tick in between is too late for it.
    let ticked = tick(&store, 0, Some(START), &[START + 2]).await;
    assert_eq!(ticked, Ticked { enqueued: 0, last_ms: START + 3, ahead_ms: 0, ..ticked });
    queued(&mut store, &[START + 1, START + 2, START + 3]).await;
    assert_eq!(last(&mut store).await, Some(START + 3));
    let ttl: i64 = store.conn.pttl(store.keys.ticks()).await.unwrap();
    assert!(ttl > 399 * 86_400_000, "{ttl}");
}

#[tokio::test]
async fn schedules_of_one_queue_do_not_disturb_each_other() {
    let store = Store::new().await;
    tick(&store, 0, Some(START), &[START + 5]).await;
    let theirs = ticks(&[START + 1]);
    let other = store.link.tick(&store.keys, 0, "other", Some(START), &theirs, TIMEOUT);
    let ticked = other.await.unwrap();
    assert_eq!(ticked, Ticked { enqueued: 1, last_ms: START + 1, ahead_ms: 0, ..ticked });
    assert_eq!(tick(&store, 0, None, &[]).await.last_ms, START + 5);
}

#[tokio::test]
async fn no_tick_comes_before_its_time() {
    let mut store = Store::new().await;
    let ahead = store.now_ms().await + 60_000;
    let ticked = tick(&store, 0, Some(START), &[START + 1, ahead]).await;
    assert_eq!(ticked, Ticked { enqueued: 1, last_ms: START + 1, ahead_ms: 0, ..ticked });
    let ticked = tick(&store, 0, Some(START), &[ahead]).await;
    assert_eq!(ticked, Ticked { enqueued: 0, last_ms: START + 1, ahead_ms: 0, ..ticked });
    queued(&mut store, &[START + 1]).await;
}

#[tokio::test]
async fn ticks_over_a_full_queue_are_enqueued_later() {
    let mut store = Store::new().await;
    store.push_ids(&["a"]).await;
    let due = [START + 1, START + 2, START + 3];
    let ticked = tick(&store, 2, Some(START), &due).await;
    assert_eq!(ticked, Ticked { enqueued: 1, last_ms: START + 1, ahead_ms: 0, ..ticked });
    let ticked = tick(&store, 2, Some(START), &due).await;
    assert_eq!(ticked, Ticked { enqueued: 0, last_ms: START + 1, ahead_ms: 0, ..ticked });
    let () = store.conn.del(store.keys.queue()).await.unwrap();
    let ticked = tick(&store, 2, Some(START), &due).await;
    assert_eq!(ticked, Ticked { enqueued: 2, last_ms: START + 3, ahead_ms: 0, ..ticked });
    queued(&mut store, &[START + 2, START + 3]).await;
}

#[tokio::test]
async fn remembered_tick_restores_a_schedule_lost_by_redis() {
    let mut store = Store::new().await;
    tick(&store, 0, Some(START), &[START + 1]).await;
    let () = redis::cmd("FLUSHALL").query_async(&mut store.conn).await.unwrap();
    let ticked = tick(&store, 0, Some(START + 1), &[START + 2]).await;
    assert_eq!(ticked, Ticked { enqueued: 1, last_ms: START + 2, ahead_ms: 0, ..ticked });
    // An invalid time is ignored.
    let () = store.conn.hset(store.keys.ticks(), "nightly", "soon").await.unwrap();
    let ticked = tick(&store, 0, Some(START + 2), &[START + 3]).await;
    assert_eq!(ticked, Ticked { enqueued: 1, last_ms: START + 3, ahead_ms: 0, ..ticked });
}
