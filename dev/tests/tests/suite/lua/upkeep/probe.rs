//! `probe.lua`: a request of the worker's own.

use std::time::Duration;

use redcall_store::{PauseOps as _, PollOps as _, Settled, Settlement, UpkeepOps as _, WorkerKeys};
use redis::AsyncCommands;

use crate::lua::{LONG, Store, TIMEOUT, envelope, outcome};

/// The keys of probes, each of which expires.
async fn probes(store: &mut Store) -> Vec<String> {
    let mut keys = crate::support::keys(&mut store.conn).await;
    keys.retain(|key| key.contains(":probe:"));
    for key in &keys {
        let ttl: i64 = store.conn.pttl(key).await.unwrap();
        assert!((1..=60_000).contains(&ttl), "{key} goes in {ttl} ms");
    }
    keys
}

async fn poll(store: &Store, own: &WorkerKeys, take: usize, end: Option<&str>) -> Vec<String> {
    use redcall_store::QueuePoll;
    let outcomes: Vec<_> = end.map(|id| outcome(id, Settlement::Done)).into_iter().collect();
    let poll = QueuePoll { outcomes: &outcomes, ..QueuePoll::take(own, take) };
    let reply = store.link.poll(&[poll], TIMEOUT).await.unwrap().remove(0).unwrap();
    assert_eq!(reply.settled, vec![Settled::Yes; outcomes.len()]);
    assert!(!reply.paused);
    reply.leased.into_iter().map(|leased| leased.id).collect()
}

#[tokio::test]
async fn a_probe_is_leased_and_settled_and_all_of_it_goes_by_itself() {
    let mut store = Store::new().await;
    let own = WorkerKeys::probe(&store.keys, "w");
    store.link.put_probe(&own, &envelope("p"), TIMEOUT).await.unwrap();
    probes(&mut store).await;
    assert_eq!(poll(&store, &own, 1, None).await, [""; 0], "its worker does not live");
    store.beat("w", LONG, &[]).await;
    store.link.set_paused(&store.keys, true, TIMEOUT).await.unwrap();
    assert_eq!(poll(&store, &own, 1, None).await, ["p"], "whether the queue is paused or not");
    assert!(probes(&mut store).await.iter().any(|key| key.ends_with(":leases:w")));
    assert_eq!(poll(&store, &own, 1, Some("p")).await, [""; 0]);
    probes(&mut store).await;
    assert_eq!((store.live().await.len(), store.queued().await.len()), (0, 0));
}

#[tokio::test]
async fn probe_replaces_the_previous_probe() {
    let mut store = Store::new().await;
    let own = WorkerKeys::probe(&store.keys, "w");
    store.beat("w", LONG, &[]).await;
    for id in ["a", "b", "c", "c"] {
        store.link.put_probe(&own, &envelope(id), TIMEOUT).await.unwrap();
        // The second is never leased; the others are never settled.
        if id != "b" {
            assert_eq!(poll(&store, &own, 10, None).await, [id]);
        }
    }
    probes(&mut store).await;
}

#[tokio::test]
async fn probe_is_not_taken_over() {
    let mut store = Store::new().await;
    let own = WorkerKeys::probe(&store.keys, "dead");
    store.beat("dead", Duration::from_millis(100), &[]).await;
    store.link.put_probe(&own, &envelope("p"), TIMEOUT).await.unwrap();
    assert_eq!(poll(&store, &own, 1, None).await, ["p"]);
    store.link.release(&store.keys, "dead", true, TIMEOUT).await.unwrap();
    assert_eq!((store.queued().await, store.dead().await.len()), (vec![], 0));
    probes(&mut store).await;
}
