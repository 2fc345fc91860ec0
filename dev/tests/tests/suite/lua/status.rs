//! The states of tracked jobs: `start.lua`, and the states that other scripts write.

use std::collections::HashMap;
use std::time::Duration;

use redcall_common::error::Code;
use redcall_common::status::{JobState, StatusEnd};
use redcall_store::{
    AnswerOps as _, EnqueueExt, EnqueueExtResult, Outcome, RunOps as _, SendOps as _, Session as _,
    Settlement, SideEffect, StatusTracking,
};
use redis::AsyncCommands;

use super::enqueue_ext::extended;
use super::{LONG, Store, TIMEOUT, outcome};

/// States and attempts in the record of `id`.
async fn states(store: &Store, id: &str) -> Vec<(JobState, u32)> {
    let found = store.link.states(&store.keys.status(id), TIMEOUT).await.unwrap();
    found.states.into_iter().map(|(_, status)| (status.state, status.attempt)).collect()
}

/// An outcome that ends the states as well, kept for a minute.
fn with_end(outcome: Outcome, code: Option<Code>) -> Outcome {
    let error = code.map(|code| (code, "why".to_owned()));
    let end = StatusEnd { ttl_ms: 60_000, attempt: 1, error };
    Outcome { side_effects: vec![SideEffect::Status(end)], ..outcome }
}

#[tokio::test]
async fn start_is_reported_once_and_only_with_the_lease() {
    let mut store = Store::new().await;
    let own = store.worker("own");
    let start = async |store: &Store, attempt, again| {
        store.link.note_start(&own, "a", attempt, 60_000, again, TIMEOUT).await.unwrap()
    };
    assert!(!start(&store, 1, false).await);
    assert_eq!(states(&store, "a").await, []);
    store.push_ids(&["a"]).await;
    store.lease(&own, 1).await;
    let key = store.keys.status("a");
    store.link.subscribe(&key, TIMEOUT).await.unwrap();
    // The reply to the first was lost; then to one that never arrived.
    assert!(start(&store, 1, false).await && start(&store, 1, true).await);
    assert!(start(&store, 2, true).await);
    let processing = JobState::Processing;
    assert_eq!(states(&store, "a").await, [(processing, 1), (processing, 2)]);
    assert_eq!(store.received().await, ["Processing", "Processing"]);
    let ttl: i64 = store.conn.pttl(&key).await.unwrap();
    assert!((1..=60_000).contains(&ttl), "{ttl}");
}

#[tokio::test]
async fn end_is_reported_by_the_settling_step_with_the_lease() {
    let mut store = Store::new().await;
    let own = store.worker("own");
    store.push_ids(&["a", "b"]).await;
    store.lease(&own, 2).await;
    let reply = Settlement::Done;
    let ends = [
        with_end(outcome("a", reply), None),
        with_end(outcome("lost", Settlement::Done), None),
        with_end(outcome("b", Settlement::Done), Some(Code::Timeout)),
    ];
    store.poll(&own, 0, &ends).await;
    assert_eq!(states(&store, "a").await, [(JobState::Success, 1)]);
    assert_eq!(states(&store, "b").await, [(JobState::Error, 1)]);
    assert_eq!(states(&store, "lost").await, []);
    assert!(!store.conn.exists::<_, bool>(store.keys.status("lost")).await.unwrap());
}

#[tokio::test]
async fn parked_request_has_not_ended() {
    let mut store = Store::new().await;
    let own = store.worker("own");
    store.beat("other", LONG, &["add"]).await;
    store.push_ids(&["a", "b"]).await;
    store.lease(&own, 2).await;
    let unknown = |id, name: &str| {
        let settlement = Settlement::Unknown { name: name.to_owned(), answer: None };
        with_end(outcome(id, settlement), Some(Code::UnknownJob))
    };
    store.poll(&own, 0, &[unknown("a", "add"), unknown("b", "absent")]).await;
    assert_eq!(states(&store, "a").await, []);
    assert_eq!(states(&store, "b").await, [(JobState::Error, 1)]);
}

#[tokio::test]
async fn first_state_is_reported_once_with_the_request() {
    let mut store = Store::new().await;
    let tracked = |id: &str| EnqueueExt {
        reply: Some(store.reply(id)),
        pending: Some("pending".to_owned()),
        tracking: Some(StatusTracking { pending_ms: 30_000, kept_ms: 60_000 }),
        ..extended(id)
    };
    let (first, refused) = (tracked("a"), tracked("b"));
    let enqueue_ext = async |store: &Store, cap, request: &EnqueueExt| {
        let requests = std::slice::from_ref(request);
        let results = store.link.enqueue_ext(&store.keys, cap, requests, TIMEOUT).await;
        results.unwrap().remove(0).unwrap()
    };
    for _ in 0..2 {
        assert_eq!(enqueue_ext(&store, 1, &first).await, EnqueueExtResult::Queued);
    }
    assert_eq!(enqueue_ext(&store, 1, &refused).await, EnqueueExtResult::Full);
    assert_eq!(states(&store, "a").await, [(JobState::Pending, 0)]);
    assert_eq!(states(&store, "b").await, []);
    let ttl: i64 = store.conn.pttl(store.keys.status("a")).await.unwrap();
    assert!((1..=30_000).contains(&ttl), "{ttl}");
}

#[tokio::test]
async fn a_long_message_of_a_joined_call_is_cut_between_characters() {
    let mut store = Store::new().await;
    let record = store.keys.idem("call");
    let waits =
        HashMap::from([("id", "a"), ("digest", "d"), ("deadline", "0"), ("w:b", "0 - 9000")]);
    let waits: Vec<_> = waits.into_iter().collect();
    let () = store.conn.hset_multiple(&record, &waits).await.unwrap();
    let own = store.worker("own");
    store.push_ids(&["a"]).await;
    store.lease(&own, 1).await;
    let message = "ä".repeat(600);
    let head = r#"{"id":"a","response_key":"redcall:{q}:response:a","type":"error","seq":1,"#;
    let error = format!(r#"{{"code":"timeout","message":"x{message}"}}"#);
    let frame = format!(r#"{head}"attempt":3,"error":{error}}}"#);
    let call = redcall_store::EndedCall {
        digest: "call".to_owned(),
        keep: Some(Duration::from_secs(1)),
        frame,
    };
    let ended = Outcome { call: Some(call), ..outcome("a", Settlement::Done) };
    store.poll(&own, 0, &[ended]).await;
    let found = store.link.states(&store.keys.status("b"), TIMEOUT).await.unwrap();
    let (_, status) = &found.states[0];
    let error = status.error.as_ref().unwrap();
    assert_eq!((status.state, status.attempt, error.code), (JobState::Error, 3, Code::Timeout));
    assert!(error.message.ends_with('ä') && (1020..=1024).contains(&error.message.len()));
    // Fire and forget: there is no answer.
    assert!(store.frames("b").await.is_empty());
}
