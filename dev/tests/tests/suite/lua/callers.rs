//! `enqueue.lua`, `frame.lua`: pushed requests, and frames before the end.

use redcall_store::dead::DeadSelection;
use redcall_store::{
    EnqueueExtResult, Enqueued, Pushed, Released, RunOps as _, SendOps as _, Tick, UpkeepOps as _,
    Waited,
};
use redis::AsyncCommands;

use super::enqueue_ext::extended;
use super::{LONG, Store, TIMEOUT, envelope, item};

#[tokio::test]
async fn waited_requests_are_refused_without_a_live_worker() {
    let mut store = Store::new().await;
    let items = [item(true, "w1"), item(false, "f1"), item(true, "w2"), item(false, "f2")];
    let enqueue = async |store: &Store| {
        store.link.enqueue(&store.keys, 0, &items, &[], TIMEOUT).await.unwrap()
    };
    assert_eq!(enqueue(&store).await, Enqueued { waited: Waited::NoWorkers, accepted: 2 });
    assert_eq!(store.queued().await, ["f1", "f2"]);
    // A worker whose lease has ended counts for nothing.
    let () = store.conn.zadd(store.keys.workers(), "dead", 1000).await.unwrap();
    assert_eq!(enqueue(&store).await, Enqueued { waited: Waited::NoWorkers, accepted: 2 });
    let () = store.conn.del(store.keys.queue()).await.unwrap();
    store.beat("alive", LONG, &[]).await;
    assert_eq!(enqueue(&store).await, Enqueued { waited: Waited::Taken, accepted: 4 });
    assert_eq!(store.queued().await, ["w1", "f1", "w2", "f2"]);
}

#[tokio::test]
async fn fire_and_forget_does_not_need_a_worker() {
    let store = Store::new().await;
    let enqueued = store.link.enqueue(&store.keys, 0, &[item(false, "f")], &[], TIMEOUT).await;
    assert_eq!(enqueued.unwrap(), Enqueued { waited: Waited::Taken, accepted: 1 });
}

#[tokio::test]
async fn a_queue_takes_no_more_than_its_cap() {
    let mut store = Store::new().await;
    store.beat("alive", LONG, &[]).await;
    let items: Vec<_> = (0..8).map(|n| item(n % 2 == 0, &n.to_string())).collect();
    let enqueue = async |store: &Store, cap: u64| {
        store.link.enqueue(&store.keys, cap, &items, &[], TIMEOUT).await.unwrap().accepted
    };
    assert_eq!(enqueue(&store, 5).await, 5);
    assert_eq!(store.queued().await, ["0", "1", "2", "3", "4"]);
    assert_eq!(enqueue(&store, 5).await, 0);
    // Lowered since.
    assert_eq!(enqueue(&store, 3).await, 0);
    assert_eq!(enqueue(&store, 6).await, 1);
    assert_eq!(enqueue(&store, 0).await, 8);
    assert_eq!(store.queued().await.len(), 14);
}

#[tokio::test]
async fn queue_stays_empty_where_others_use_up_the_cap() {
    let mut store = Store::new().await;
    store.beat("alive", LONG, &[]).await;
    for id in ["a", "b"] {
        let () = store.conn.zadd(store.keys.schedule(), id, 9e15).await.unwrap();
    }
    let items = [item(false, "f1"), item(true, "w1")];
    for cap in [1, 2] {
        let enqueued = store.link.enqueue(&store.keys, cap, &items, &[], TIMEOUT).await.unwrap();
        assert_eq!(enqueued, Enqueued { waited: Waited::Taken, accepted: 0 });
        assert_eq!(store.queued().await, [""; 0]);
    }
}

#[tokio::test]
async fn refused_requests_do_not_count_for_the_cap() {
    let mut store = Store::new().await;
    let items = [item(true, "w1"), item(true, "w2"), item(false, "f1"), item(false, "f2")];
    let enqueued = store.link.enqueue(&store.keys, 1, &items, &[], TIMEOUT).await.unwrap();
    assert_eq!(enqueued, Enqueued { waited: Waited::NoWorkers, accepted: 1 });
    assert_eq!(store.queued().await, ["f1"]);
}

#[tokio::test]
async fn delayed_and_throttled_requests_count_for_the_cap() {
    let mut store = Store::new().await;
    let keys = store.keys.clone();
    let () = store.conn.zadd(keys.schedule(), "later", 9e15).await.unwrap();
    let partitioned = [("one", 1), ("two", 2)];
    let () = store.conn.hset_multiple(keys.limited_names(), &partitioned).await.unwrap();
    let items: Vec<_> = (0..5).map(|_| item(false, "x")).collect();
    let enqueued = store.link.enqueue(&keys, 6, &items, &[], TIMEOUT).await.unwrap();
    assert_eq!(enqueued.accepted, 2);
}

#[tokio::test]
async fn deferred_requests_count_under_the_cap() {
    let mut store = Store::new().await;
    let keys = store.keys.clone();
    for id in ["a", "b"] {
        let () = store.conn.zadd(keys.deferred_ids(), id, 9e15).await.unwrap();
    }
    let items: Vec<_> = (0..5).map(|_| item(false, "x")).collect();
    let enqueued = store.link.enqueue(&keys, 3, &items, &[], TIMEOUT).await.unwrap();
    assert_eq!(enqueued.accepted, 1);
    let tick = Tick { at_ms: 2, envelope: "x".into() };
    let ticked = store.link.tick(&keys, 3, "s", Some(1), &[tick], TIMEOUT).await.unwrap();
    assert_eq!(ticked.enqueued, 0);
    assert_eq!(store.enqueue_ext_up_to(3, extended("p")).await, EnqueueExtResult::Full);
    store.dead_letter("1-0", "d", "timeout", envelope("d")).await;
    for dry_run in [true, false] {
        let retried = store.letters(3).retry(&DeadSelection::default(), dry_run).await.unwrap();
        assert!(retried.full && retried.done.is_empty(), "{dry_run}: {retried:?}");
    }
}

#[tokio::test]
async fn parked_requests_count_for_the_cap() {
    let mut store = Store::new().await;
    let keys = store.keys.clone();
    for (name, count) in [("one", 1), ("two", 2)] {
        let () = store.conn.sadd(keys.parked_names(), name).await.unwrap();
        let () = store.conn.rpush(keys.parked(name), vec!["x"; count]).await.unwrap();
    }
    let items: Vec<_> = (0..5).map(|_| item(false, "x")).collect();
    let enqueued = store.link.enqueue(&keys, 4, &items, &[], TIMEOUT).await.unwrap();
    assert_eq!(enqueued.accepted, 1);
    let tick = Tick { at_ms: 2, envelope: "x".into() };
    let ticked = store.link.tick(&keys, 4, "s", Some(1), &[tick], TIMEOUT).await.unwrap();
    assert_eq!(ticked.enqueued, 0);
}

#[tokio::test]
async fn thousands_are_pushed_at_once_and_read_keys_deleted_with_them() {
    let mut store = Store::new().await;
    let forget = ["a", "b"].map(|id| store.keys.response(id));
    for key in &forget {
        let () = store.conn.rpush(key, "read").await.unwrap();
    }
    let texts: Vec<String> = (0..5000).map(|n| n.to_string()).collect();
    let items: Vec<_> = texts.iter().map(|text| item(false, text)).collect();
    let enqueued = store.link.enqueue(&store.keys, 0, &items, &forget, TIMEOUT).await.unwrap();
    assert_eq!(enqueued, Enqueued { waited: Waited::Taken, accepted: 5000 });
    assert_eq!(store.queued().await, texts);
    assert_eq!(store.all_keys().await, [store.keys.queue()]);
}

#[tokio::test]
async fn frame_is_pushed_and_announced_with_lease_and_room() {
    let mut store = Store::new().await;
    let own = store.worker("own");
    store.push_ids(&["a"]).await;
    assert_eq!(store.lease(&own, 1).await, ["a"]);
    let reply = store.reply("a");
    let push = async |store: &Store, frame: &str| {
        let pushing = store.link.push_frame(&own.leases, "a", &reply, frame, 2, TIMEOUT);
        pushing.await.unwrap()
    };
    assert_eq!(push(&store, r#"{"seq":1}"#).await, Pushed::Yes);
    assert_eq!(push(&store, r#"{"seq":2}"#).await, Pushed::Yes);
    assert_eq!(push(&store, r#"{"seq":3}"#).await, Pushed::Full);
    assert_eq!(store.frames("a").await, [r#"{"seq":1}"#, r#"{"seq":2}"#]);
    assert_eq!(store.received().await, [r#"[{"seq":1}]"#, r#"[{"seq":2}]"#]);
    let ttl: i64 = store.conn.pttl(store.keys.response("a")).await.unwrap();
    assert!((50_000..=60_000).contains(&ttl), "{ttl}");
    // Read: there is room again.
    let () = store.conn.ltrim(&reply.response_key, 1, -1).await.unwrap();
    assert_eq!(push(&store, r#"{"seq":3}"#).await, Pushed::Yes);
    assert_eq!(store.received().await, [r#"[{"seq":3}]"#]);
    let released = store.link.release(&store.keys, "own", true, TIMEOUT).await.unwrap();
    assert_eq!(released, Released::Back(1));
    assert_eq!(push(&store, r#"{"seq":4}"#).await, Pushed::LeaseLost);
    assert_eq!(store.frames("a").await, [r#"{"seq":2}"#, r#"{"seq":3}"#]);
    assert_eq!(store.received().await, [""; 0]);
}

#[tokio::test]
async fn large_frame_is_announced_by_id_and_silent_one_is_not() {
    let mut store = Store::new().await;
    let own = store.worker("own");
    store.push_ids(&["a"]).await;
    assert_eq!(store.lease(&own, 1).await, ["a"]);
    let mut reply = store.reply("a");
    let large = format!("\"{}\"", "x".repeat(8191));
    let pushing = store.link.push_frame(&own.leases, "a", &reply, &large, 10, TIMEOUT);
    assert_eq!(pushing.await.unwrap(), Pushed::Yes);
    reply.notify = None;
    let pushing = store.link.push_frame(&own.leases, "a", &reply, "1", 10, TIMEOUT);
    assert_eq!(pushing.await.unwrap(), Pushed::Yes);
    assert_eq!(store.received().await, [r#"["a"]"#]);
    assert_eq!(store.frames("a").await, [large.as_str(), "1"]);
}
