//! `poll.lua`: the order of sorted and unsorted requests.

use std::collections::BTreeSet;

use redcall_common::settings::Limit;
use redcall_store::{LimitRule, PollOps as _, QueuePoll, WorkerKeys};

use crate::lua::{Store, WITHIN};

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
        let reply = store.link.poll(&[poll], WITHIN).await.unwrap().remove(0).unwrap();
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
        let reply = store.link.poll(&[poll], WITHIN).await.unwrap().remove(0).unwrap();
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
    let reply = store.link.poll(&[poll], WITHIN).await.unwrap().remove(0).unwrap();
    assert_eq!(reply.leased.len(), 10);
}
