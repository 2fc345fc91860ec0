//! `poll.lua`: the order of partitioned and other requests.

use std::collections::BTreeSet;

use redcall_common::settings::Limit;
use redcall_store::{LimitRule, PollOps as _, PollReply, QueuePoll, WorkerKeys};
use redis::AsyncCommands as _;

use crate::lua::{Store, TIMEOUT};

fn request(name: &str, n: usize) -> String {
    format!(r#"{{"id":"{name}{n}","name":"{name}","data":null}}"#)
}

fn rule(name: &str) -> LimitRule {
    let limit = Limit { key: None, concurrency: Some(100), rate: None };
    LimitRule { name: name.to_owned(), limit, room: None }
}

/// Returns the requests that a worker with one free slot leases in this number of polls.
async fn taken(
    store: &Store,
    own: &WorkerKeys,
    rules: &[LimitRule],
    polls: u64,
) -> BTreeSet<String> {
    store.lives(own).await;
    let mut names = BTreeSet::new();
    for serial in 1..=polls {
        let poll = QueuePoll { rules, serial, ..QueuePoll::take(own, 1) };
        let reply = store.link.poll(&[poll], TIMEOUT).await.unwrap().remove(0).unwrap();
        assert_eq!(reply.leased.len(), 1);
        names.insert(reply.leased[0].id.trim_end_matches(char::is_numeric).to_owned());
    }
    names
}

#[tokio::test]
async fn no_limited_name_waits_for_all_of_another() {
    let mut store = Store::new().await;
    let (own, names) = (store.worker("own"), ["some", "more", "most"]);
    let all: Vec<String> = (0..30).map(|n| request(names[n % 3], n)).collect();
    store.push(&all).await;
    let rules = names.map(rule);
    let came = taken(&store, &own, &rules, 8).await;
    assert!(came.iter().eq(["more", "most", "some"]), "{came:?}");
}

#[tokio::test]
async fn sorted_request_does_not_wait_for_a_long_queue() {
    let mut store = Store::new().await;
    let own = store.worker("own");
    let mut all = vec![request("limited", 0), request("limited", 1)];
    all.extend((0..3000).map(|n| request("plain", n)));
    store.push(&all).await;
    let came = taken(&store, &own, &[rule("limited")], 6).await;
    assert!(came.iter().eq(["limited", "plain"]), "{came:?}");
}

#[tokio::test]
async fn no_more_is_sorted_at_once_than_a_command_may_carry() {
    let mut store = Store::new().await;
    let own = store.worker("own");
    store.lives(&own).await;
    let large = |n| format!(r#"{{"id":"l{n}","name":"large","data":"{}"}}"#, "x".repeat(1 << 20));
    for n in 0..40 {
        store.push(&[large(n)]).await;
    }
    let rules = [rule("large")];
    let mut lengths = Vec::new();
    for serial in 1..=40 {
        let poll = QueuePoll { rules: &rules, serial, ..QueuePoll::take(&own, 1) };
        let reply = store.link.poll(&[poll], TIMEOUT).await.unwrap().remove(0).unwrap();
        lengths.push(reply.length.unwrap());
    }
    assert!((32..=36).contains(&lengths[0]), "{lengths:?}");
    assert_eq!(lengths[39], 0, "{lengths:?}");
}

#[tokio::test]
async fn large_bound_of_a_request_slows_no_limited_name() {
    let mut store = Store::new().await;
    let own = store.worker("own").with_max_request(64 << 20);
    store.push(&(0..10).map(|n| request("small", n)).collect::<Vec<_>>()).await;
    store.lives(&own).await;
    let poll = QueuePoll { rules: &[rule("small")], ..QueuePoll::take(&own, 10) };
    let reply = store.link.poll(&[poll], TIMEOUT).await.unwrap().remove(0).unwrap();
    assert_eq!(reply.leased.len(), 10);
}

async fn poll_one(store: &Store, own: &WorkerKeys) -> PollReply {
    store.lives(own).await;
    let mut rule = rule("limited");
    rule.limit.concurrency = Some(1);
    let poll = QueuePoll { rules: &[rule], ..QueuePoll::take(own, 1) };
    store.link.poll(&[poll], TIMEOUT).await.unwrap().remove(0).unwrap()
}

/// A request that is alone gets its permit without being partitioned; the next one is over the
/// limit.
#[tokio::test]
async fn single_limited_request_is_leased_with_a_permit() {
    let mut store = Store::new().await;
    let own = store.worker("own");
    store.push(&[request("limited", 0)]).await;
    assert_eq!(poll_one(&store, &own).await.leased[0].id, "limited0");
    let permits = store.keys.permits();
    let permit: Option<String> = store.conn.hget(&permits, "limited0").await.unwrap();
    assert_eq!(permit.as_deref(), Some("limited "));
    let keys = store.all_keys().await;
    assert!(!keys.iter().any(|key| key.contains("rotation") || key.contains("limit_keys")));
    store.push(&[request("limited", 1)]).await;
    assert_eq!(poll_one(&store, &own).await.leased.len(), 0);
    let partitioned: String = store.conn.hget(store.keys.limited_names(), "limited").await.unwrap();
    assert_eq!((partitioned.as_str(), store.live().await), ("1", vec!["limited0".to_owned()]));
}

#[tokio::test]
async fn single_limited_request_without_its_permit_stays_in_the_queue() {
    let mut store = Store::new().await;
    let own = store.worker("own");
    store.push(&[request("limited", 0)]).await;
    let () = store.conn.set(store.keys.permits(), "x").await.unwrap();
    let reply = poll_one(&store, &own).await;
    assert_eq!((reply.leased.len(), reply.trouble.is_some()), (0, true));
    assert_eq!(store.queued().await, [request("limited", 0)]);
    assert_eq!(store.live().await, Vec::<String>::new());
    let leases: usize = store.conn.hlen(&own.leases).await.unwrap();
    assert_eq!(leases, 0);
    let () = store.conn.del(store.keys.permits()).await.unwrap();
    assert_eq!(poll_one(&store, &own).await.leased[0].id, "limited0");
}
