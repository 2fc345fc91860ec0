//! `poll.lua`, `release.lua`: the state of a service's instance, and the order of its requests.

use std::time::Duration;

use redcall_common::settings::Limit;
use redcall_store::{
    InstanceState, LimitRule, Outcome, PollOps as _, QueuePoll, Settled, Settlement,
    SharedOps as _, SideEffect, StateChange, UpkeepOps as _, WorkerKeys,
};
use redis::AsyncCommands;

use super::{Store, TIMEOUT};

fn order(id: &str) -> String {
    format!(r#"{{"id":"{id}","name":"counter","data":{{"task":"execute","instance":"a"}}}}"#)
}

/// One poll of a worker that lives.
async fn poll(
    store: &Store,
    own: &WorkerKeys,
    (serial, take): (u64, usize),
    outcomes: &[Outcome],
) -> (Vec<Settled>, Vec<String>) {
    store.lives(own).await;
    let limit = Limit { key: Some("instance".to_owned()), concurrency: Some(1), rate: None };
    let rules = [LimitRule { name: "counter".to_owned(), limit, room: None }];
    let poll = QueuePoll { rules: &rules, outcomes, serial, ..QueuePoll::take(own, take) };
    let reply = store.link.poll(&[poll], TIMEOUT).await.unwrap().remove(0).unwrap();
    (reply.settled, reply.leased.into_iter().map(|leased| leased.id).collect())
}

/// An answer, and a state that was made from `version`.
fn change(store: &Store, id: &str, version: u64, state: Option<&str>) -> Outcome {
    let change = StateChange {
        instance: "a".to_owned(),
        version,
        state: state.map(str::to_owned),
        keep: Duration::from_secs(60),
        seal: None,
    };
    let settlement =
        Settlement::Answer { reply: store.reply(id), frame: format!("{{\"id\":\"{id}\"}}") };
    Outcome { side_effects: vec![SideEffect::State(change)], ..Outcome::new(id, settlement) }
}

async fn state(store: &Store) -> Option<InstanceState> {
    store.link.instance_state(&store.keys, "a", TIMEOUT).await.unwrap()
}

fn found(state: &str, version: u64) -> Option<InstanceState> {
    Some(InstanceState { state: state.to_owned(), version, seal: None })
}

#[tokio::test]
async fn a_state_changes_with_the_settlement_and_not_without() {
    let mut store = Store::new().await;
    let own = store.worker("own");
    store.push(&["x", "y", "z"].map(order)).await;
    assert_eq!(poll(&store, &own, (1, 9), &[]).await.1, ["x"]);
    let (settled, leased) =
        poll(&store, &own, (2, 9), &[change(&store, "x", 0, Some("[1,{}]"))]).await;
    assert_eq!((settled, leased), (vec![Settled::Yes], vec!["y".to_owned()]));
    assert_eq!(state(&store).await, found("[1,{}]", 1));
    let ttl: i64 = store.conn.pttl(store.keys.state("a")).await.unwrap();
    assert!((50_000..=60_000).contains(&ttl), "{ttl}");
    // Without the lease.
    let (settled, _) = poll(&store, &own, (3, 0), &[change(&store, "x", 1, Some("2"))]).await;
    assert_eq!(settled, [Settled::LeaseLost]);
    assert_eq!(state(&store).await, found("[1,{}]", 1));
    assert_eq!(store.frames("x").await.len(), 1);
    poll(&store, &own, (4, 9), &[change(&store, "y", 1, Some("2"))]).await;
    assert_eq!(state(&store).await, found("2", 2));
    poll(&store, &own, (5, 9), &[change(&store, "z", 2, None)]).await;
    assert_eq!(state(&store).await, None);
}

#[tokio::test]
async fn a_poll_that_is_sent_again_changes_no_state_again() {
    let mut store = Store::new().await;
    let own = store.worker("own");
    store.push(&[order("x")]).await;
    poll(&store, &own, (1, 9), &[]).await;
    let outcomes = [change(&store, "x", 0, Some("1"))];
    let again =
        QueuePoll { outcomes: &outcomes, serial: 2, again: true, ..QueuePoll::take(&own, 0) };
    for _ in 0..2 {
        let reply = store.link.poll(std::slice::from_ref(&again), TIMEOUT).await.unwrap();
        let reply = reply.into_iter().next().unwrap().unwrap();
        assert_eq!(reply.settled, [Settled::Yes]);
    }
    assert_eq!(state(&store).await, found("1", 1));
}

#[tokio::test]
async fn a_change_made_from_another_version_is_refused_and_made_again() {
    let mut store = Store::new().await;
    let own = store.worker("own");
    store.push(&["x", "y"].map(order)).await;
    poll(&store, &own, (1, 9), &[]).await;
    let _: i64 = store.conn.hset(store.keys.state("a"), "version", 7).await.unwrap();
    let _: i64 = store.conn.hset(store.keys.state("a"), "state", "7").await.unwrap();
    let (settled, leased) = poll(&store, &own, (2, 9), &[change(&store, "x", 0, Some("1"))]).await;
    // It precedes waiting requests and is not leased in addition.
    assert_eq!((settled, leased), (vec![Settled::LeaseLost], vec!["x".to_owned()]));
    assert_eq!(state(&store).await, found("7", 7));
    assert_eq!(store.frames("x").await, [""; 0]);
    // It has been run.
    let record: String = store.conn.hget(store.keys.attempts(), "x").await.unwrap();
    assert!(record.contains(r#""attempt":1"#), "{record}");
    poll(&store, &own, (3, 9), &[change(&store, "x", 7, Some("8"))]).await;
    assert_eq!(state(&store).await, found("8", 8));
}

#[tokio::test]
async fn returned_request_precedes_waiting_ones_of_its_key() {
    let mut store = Store::new().await;
    let (own, other) = (store.worker("own"), store.worker("other"));
    store.push(&["x", "y", "z"].map(order)).await;
    assert_eq!(poll(&store, &own, (1, 9), &[]).await.1, ["x"]);
    let back = || [Outcome::new("x", Settlement::Back)];
    assert_eq!(poll(&store, &own, (2, 9), &back()).await.1, ["x"]);
    let rerun = [Outcome::new("x", Settlement::Rerun { attempt: 1 })];
    assert_eq!(poll(&store, &own, (3, 9), &rerun).await.1, ["x"]);
    store.link.release(&store.keys, "own", true, TIMEOUT).await.unwrap();
    assert_eq!(poll(&store, &other, (1, 9), &[]).await.1, ["x"]);
    let own = store.worker("own");
    let past: i64 = 1;
    let () = store.conn.zadd(store.keys.workers(), "other", past).await.unwrap();
    store.link.release(&store.keys, "other", false, TIMEOUT).await.unwrap();
    assert_eq!(poll(&store, &own, (9, 9), &[]).await.1, ["x"]);
    let (_, leased) = poll(&store, &own, (10, 9), &[change(&store, "x", 0, Some("1"))]).await;
    assert_eq!(leased, ["y"]);
    assert_eq!(store.queued().await, [""; 0]);
}
