//! `heartbeat.lua` and `release.lua`: live and expired workers, and the requests of the expired
//! ones.

use std::time::Duration;

use redcall_store::{
    Heartbeat, HeartbeatRequest, Released, Settled, Settlement, SharedOps as _, UpkeepOps as _,
};
use redcall_testkit::eventually;
use redis::AsyncCommands;

use crate::lua::{LONG, Store, TIMEOUT, envelope, outcome};

use crate::support::carried_out;

pub(crate) async fn beat(
    store: &Store,
    worker: &str,
    lease: Duration,
    names: &[String],
) -> Heartbeat {
    let beat = HeartbeatRequest { worker, lease, info: r#"{"a":1}"#, names };
    store.link.heartbeat(&store.keys, &beat, TIMEOUT).await.unwrap()
}

#[tokio::test]
async fn heartbeat_registers_worker_and_names_for_a_lease() {
    let mut store = Store::new().await;
    let names = ["one", "two"].map(str::to_owned);
    let received = beat(&store, "own", LONG, &names).await;
    assert!(received.dead.is_empty() && received.parked.is_empty(), "{received:?}");
    let until = store.now_ms().await as f64 + 600_000.0;
    let near = |ends: f64| (ends - until).abs() < 10_000.0;
    let workers: Vec<(String, f64)> =
        store.conn.zrange_withscores(store.keys.workers(), 0, -1).await.unwrap();
    assert!(workers.len() == 1 && workers[0].0 == "own" && near(workers[0].1), "{workers:?}");
    let mapped: Vec<(String, f64)> =
        store.conn.zrange_withscores(store.keys.names(), 0, -1).await.unwrap();
    assert!(mapped.iter().map(|(name, _)| name).eq(&names), "{mapped:?}");
    assert!(mapped.iter().all(|(_, ends)| near(*ends)), "{mapped:?}");
    // A worker with a shorter lease does not shorten that of a name.
    beat(&store, "other", Duration::from_secs(10), &names).await;
    let ends: f64 = store.conn.zscore(store.keys.names(), "one").await.unwrap();
    assert!(near(ends), "{ends}");
    let info: String = store.conn.get(store.keys.worker("own")).await.unwrap();
    assert_eq!(info, r#"{"a":1}"#);
    let ttl: i64 = store.conn.pttl(store.keys.worker("own")).await.unwrap();
    assert!((1_100_000..=1_200_000).contains(&ttl), "{ttl}");
    for key in [store.keys.workers(), store.keys.names()] {
        let ttl: i64 = store.conn.pttl(&key).await.unwrap();
        assert!(ttl > 600_000, "{key} goes in {ttl} ms");
    }
}

#[tokio::test]
async fn heartbeat_reports_the_dead_and_removes_their_names() {
    let mut store = Store::new().await;
    let theirs = ["theirs".to_owned()];
    beat(&store, "late", Duration::from_millis(1), &theirs).await;
    eventually("the lease to end", async || {
        (beat(&store, "own", LONG, &[]).await.dead == ["late"]).then_some(())
    })
    .await;
    assert!(!store.conn.exists::<_, bool>(store.keys.names()).await.unwrap());
    // It is reported until a worker takes over, and not after the late one is back.
    assert_eq!(beat(&store, "own", LONG, &[]).await.dead, ["late"]);
    beat(&store, "late", LONG, &theirs).await;
    assert!(beat(&store, "own", LONG, &[]).await.dead.is_empty());
    // At most sixteen at a time.
    let many: Vec<(f64, String)> = (0..20).map(|n| (1000.0, format!("dead{n}"))).collect();
    let () = store.conn.zadd_multiple(store.keys.workers(), &many).await.unwrap();
    assert_eq!(beat(&store, "own", LONG, &[]).await.dead.len(), 16);
}

#[tokio::test]
async fn heartbeat_reports_parked_names_and_their_mapping() {
    let mut store = Store::new().await;
    let () = store.conn.sadd(store.keys.parked_names(), &["mine", "nobodys"]).await.unwrap();
    let mut parked = beat(&store, "own", LONG, &["mine".to_owned()]).await.parked;
    parked.sort_unstable();
    assert_eq!(parked, [("mine".to_owned(), true), ("nobodys".to_owned(), false)]);
}

#[tokio::test]
async fn a_worker_that_leaves_gives_everything_back() {
    let mut store = Store::new().await;
    let own = store.worker("own");
    store.beat("own", LONG, &[]).await;
    store.push_ids(&["a", "b", "c"]).await;
    assert_eq!(store.lease(&own, 2).await, ["a", "b"]);
    // Moved by a blocked pop, and not yet leased.
    let inbox = store.keys.inbox("own");
    let () = store.conn.rpush(&inbox, &[envelope("i"), envelope("j")]).await.unwrap();
    let released = store.link.release(&store.keys, "own", true, TIMEOUT).await.unwrap();
    assert_eq!(released, Released::Back(4));
    let queued = store.queued().await;
    assert_eq!(queued[..2], [envelope("i"), envelope("j")]);
    assert_eq!(queued[4], envelope("c"));
    let mut taken = queued[2..4].to_vec();
    taken.sort_unstable();
    assert_eq!(taken, [envelope("a"), envelope("b")]);
    assert_eq!(store.all_keys().await, [store.keys.queue()]);
    // Again: harmless. And the ids are free.
    let released = store.link.release(&store.keys, "own", true, TIMEOUT).await.unwrap();
    assert_eq!(released, Released::Back(0));
    assert_eq!(store.lease(&store.worker("other"), 9).await.len(), 5);
}

#[tokio::test]
async fn live_or_unknown_worker_is_not_taken_over() {
    let mut store = Store::new().await;
    let own = store.worker("own");
    let release =
        async |store: &Store| store.link.release(&store.keys, "own", false, TIMEOUT).await.unwrap();
    assert_eq!(release(&store).await, Released::StillAlive);
    store.beat("own", LONG, &[]).await;
    store.push_ids(&["a"]).await;
    assert_eq!(store.lease(&own, 1).await, ["a"]);
    assert_eq!(release(&store).await, Released::StillAlive);
    assert_eq!((store.queued().await.len(), store.live().await), (0, vec!["a".to_owned()]));
    // Its lease has ended.
    let () = store.conn.zadd(store.keys.workers(), "own", 1000).await.unwrap();
    assert_eq!(release(&store).await, Released::Back(1));
    assert_eq!(release(&store).await, Released::StillAlive);
    assert_eq!(store.queued().await, [envelope("a")]);
    let reply = store.poll(&own, 0, &[outcome("a", Settlement::Done)]).await;
    assert_eq!(reply.settled, [Settled::LeaseLost]);
    assert_eq!(store.queued().await, [envelope("a")]);
}

#[tokio::test]
async fn release_over_several_calls_returns_all_requests() {
    let mut store = Store::new().await;
    let own = store.worker("own");
    let text = "x".repeat(1 << 20);
    let large = |n: usize| format!(r#"{{"id":"large{n}","name":"add","data":"{text}"}}"#);
    for n in 0..12 {
        store.push(&[large(n)]).await;
        assert_eq!(store.lease(&own, 1).await.len(), 1);
    }
    let inbox: Vec<String> = (12..24).map(large).collect();
    let () = store.conn.rpush(store.keys.inbox("own"), inbox).await.unwrap();
    let () = store.conn.zadd(store.keys.workers(), "own", 1).await.unwrap();
    let before = carried_out(&mut store.conn, "evalsha").await;
    let released = store.link.release(&store.keys, "own", false, TIMEOUT).await.unwrap();
    assert_eq!(released, Released::Back(24));
    // 24 MiB, of which a call moves four and the element that goes beyond.
    assert_eq!(carried_out(&mut store.conn, "evalsha").await - before, 6);
    assert_eq!((store.queued().await.len(), store.live().await.len()), (24, 0));
    let workers: i64 = store.conn.zcard(store.keys.workers()).await.unwrap();
    assert_eq!(workers, 0);
}

#[tokio::test]
async fn queue_names_are_noted_also_where_redis_is_full() {
    let mut store = Store::new().await;
    let all = redcall_common::keys::Keys::new("redcall");
    store.link.note_queues(&all, &["known"], TIMEOUT).await.unwrap();
    let full = redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg("1").to_owned();
    let () = full.query_async(&mut store.conn).await.unwrap();
    store.link.note_queues(&all, &["known", "fresh"], TIMEOUT).await.unwrap();
    let mut names: Vec<String> = store.conn.zrange(all.queues(), 0, -1).await.unwrap();
    names.sort_unstable();
    assert_eq!(names, ["fresh", "known"]);
    let ttl: i64 = store.conn.pttl(all.queues()).await.unwrap();
    assert!(ttl > 29 * 86_400_000, "{ttl}");
}
