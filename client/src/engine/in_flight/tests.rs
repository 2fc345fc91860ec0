//! Waiters registered, answered and dropped in every order.

use redcall_common::error::Code;
use redcall_common::keys::Keys;

use super::*;
use crate::engine::deliveries::Deliveries;
use crate::engine::replies::{Wanted, on_announcement};

fn origin() -> Origin {
    Origin { keys: Arc::new(Keys::new("redcall").of("q")), record: None, deadline: None }
}

fn frame(seq: u64, kind: &str) -> Frame {
    let json = format!(r#"{{"id":"a","type":"{kind}","seq":{seq},"attempt":1}}"#);
    serde_json::from_str(&json).unwrap()
}

#[test]
fn stream_passes_frames_once_in_order_and_rereads_missed() {
    let in_flight = InFlight::new().0;
    let (_guard, mut frames) = in_flight.follow("a", "key", origin());
    assert!(in_flight.deliver([frame(1, "progress"), frame(1, "progress")].into_iter()).is_empty());
    assert_eq!(in_flight.deliver([frame(3, "progress")].into_iter()), ["a"]);
    let reread = [frame(1, "progress"), frame(2, "progress"), frame(3, "result")];
    assert!(in_flight.deliver(reread.into_iter()).is_empty());
    let mut seen = Vec::new();
    while let Some(Ok(frame)) = frames.try_next() {
        seen.push(frame.seq);
    }
    assert_eq!(seen, [1, 2, 3]);
}

#[test]
fn stream_ends_when_wanted_frame_is_trimmed() {
    let in_flight = InFlight::new().0;
    let (_guard, mut frames) = in_flight.join("a", "key", (1, 5));
    in_flight.deliver([frame(4, "chunk"), frame(5, "chunk")].into_iter());
    in_flight.begins_with("a", Some(&frame(6, "chunk")));
    assert_eq!(frames.try_next().unwrap().unwrap().seq, 5);
    assert!(in_flight.is_waiting("a") && frames.try_next().is_none());
    in_flight.begins_with("a", Some(&frame(7, "chunk")));
    assert_eq!(frames.try_next().unwrap().unwrap_err().code(), Code::NotFound);
    assert!(!in_flight.is_waiting("a"));
}

#[test]
fn frames_of_earlier_attempt_do_not_end_stream() {
    let in_flight = InFlight::new().0;
    let (_guard, mut frames) = in_flight.join("a", "key", (2, 1));
    assert!(in_flight.deliver([frame(40, "chunk")].into_iter()).is_empty());
    in_flight.begins_with("a", Some(&frame(40, "chunk")));
    assert!(in_flight.is_waiting("a") && frames.try_next().is_none());
}

#[test]
fn empty_key_ends_followed_stream_at_second_read() {
    let in_flight = InFlight::new().0;
    let (_follows, mut followed) = in_flight.join("a", "key", (1, 1));
    let (_own, mut own) = in_flight.follow("a", "key", origin());
    in_flight.begins_with("a", None);
    in_flight.deliver([frame(1, "chunk")].into_iter());
    in_flight.begins_with("a", None);
    assert_eq!(followed.try_next().unwrap().unwrap().seq, 1);
    assert!(followed.try_next().is_none());
    in_flight.begins_with("a", None);
    assert_eq!(followed.try_next().unwrap().unwrap_err().code(), Code::NotFound);
    // The first frame of its own request may still arrive.
    assert_eq!(own.try_next().unwrap().unwrap().seq, 1);
    assert!(own.try_next().is_none() && in_flight.is_waiting("a"));
}

#[test]
fn dropped_wait_removes_its_waiter() {
    let in_flight = InFlight::new().0;
    let (guard, _receiver) = in_flight.wait_for("a", "key", Stage::HandedIn, None);
    assert!(in_flight.mark_sent("a"));
    drop(guard);
    assert!(!in_flight.mark_sent("a") && in_flight.lock().by_id.is_empty());
}

#[test]
fn request_abandoned_before_sending_is_not_sent() {
    let in_flight = InFlight::new().0;
    let (mut guard, _receiver) = in_flight.wait_for("a", "key", Stage::HandedIn, None);
    assert_eq!(guard.give_up(), Stage::HandedIn);
    assert!(!in_flight.mark_sent("a"));
    let (mut guard, _receiver) = in_flight.wait_for("b", "key", Stage::HandedIn, None);
    assert!(in_flight.mark_sent("b"));
    assert_eq!(guard.give_up(), Stage::Sent);
}

#[test]
fn only_sent_unanswered_requests_are_cancelled_once() {
    let (in_flight, mut withdrawn) = InFlight::new();
    let wait = |id| in_flight.wait_for(id, "key", Stage::HandedIn, Some(origin()));
    drop(wait("not-sent"));
    let (guard, _receiver) = wait("unserved");
    in_flight.mark_sent("unserved");
    in_flight.mark_unserved("unserved");
    drop(guard);
    let (guard, _receiver) = wait("a");
    in_flight.mark_sent("a");
    in_flight.deliver([frame(1, "result")].into_iter());
    drop(guard);
    let (guard, _receiver) = wait("failed");
    in_flight.mark_sent("failed");
    in_flight.fail("failed", CallError::not_sent());
    drop(guard);
    let (mut guard, _receiver) = wait("found");
    in_flight.mark_sent("found");
    guard.give_up();
    guard.answered();
    drop(guard);
    let (guard, _receiver) = in_flight.wait_for("fetched", "key", Stage::Sent, None);
    drop(guard);
    assert!(withdrawn.try_recv().is_err());
    let (mut guard, _receiver) = wait("late");
    in_flight.mark_sent("late");
    guard.give_up();
    guard.withdraw();
    drop(guard);
    let (guard, _receiver) = wait("dropped");
    in_flight.mark_sent("dropped");
    drop(guard);
    assert_eq!(withdrawn.try_recv().unwrap().id, "late");
    assert_eq!(withdrawn.try_recv().unwrap().id, "dropped");
    assert!(withdrawn.try_recv().is_err());
}

#[test]
fn thousand_dropped_waits_are_removed_and_cancelled() {
    let (in_flight, mut withdrawn) = InFlight::new();
    let ids: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
    let wait = |id: &String| in_flight.wait_for(id, "key", Stage::HandedIn, Some(origin()));
    let waits: Vec<_> = ids.iter().map(wait).collect();
    assert!(ids.iter().all(|id| in_flight.mark_sent(id)));
    drop(waits);
    assert!(in_flight.lock().by_id.is_empty());
    let given_up = std::iter::from_fn(|| withdrawn.try_recv().ok());
    assert!(given_up.map(|withdrawal| withdrawal.id).eq(ids));
}

#[tokio::test]
async fn dropped_waiter_does_not_affect_others() {
    let in_flight = InFlight::new().0;
    let (first, _gone) = in_flight.wait_for("a", "key", Stage::Sent, None);
    let (_second, second) = in_flight.wait_for("a", "key", Stage::Sent, None);
    let (_third, third) = in_flight.wait_for("a", "key", Stage::Sent, None);
    drop(first);
    assert!(in_flight.deliver([frame(1, "result")].into_iter()).is_empty());
    assert_eq!(second.await.unwrap().unwrap().id, "a");
    assert_eq!(third.await.unwrap().unwrap().id, "a");
    assert!(in_flight.lock().by_id.is_empty());
}

#[test]
fn stream_is_read_from_its_position() {
    let in_flight = InFlight::new().0;
    let (_guard, _frames) = in_flight.follow("a", "key", origin());
    let from = || in_flight.of([&"a".to_owned()])[0].from;
    assert_eq!(from(), Some(0));
    in_flight.deliver([frame(1, "progress"), frame(2, "progress")].into_iter());
    assert_eq!(from(), Some(2));
    in_flight.set_head("a", Some((1, 2)));
    assert_eq!(from(), Some(1));
    in_flight.set_head("a", None);
    assert_eq!(from(), Some(0));
}

#[test]
fn key_named_by_many_messages_is_read_once() {
    let in_flight = InFlight::new().0;
    let (_guard, _end) = in_flight.wait_for("a", "key", Stage::Sent, None);
    let (reread, mut wanted) = mpsc::unbounded_channel();
    let (deliveries, _later) = Deliveries::new(in_flight.clone(), None, |_| ());
    let flood = || {
        for _ in 0..1000 {
            on_announcement(br#"["a","b"]"#, &in_flight, &reread, &deliveries);
        }
    };
    for _ in 0..2 {
        flood();
        assert!(matches!(wanted.try_recv(), Ok(Wanted::Key(id)) if id == "a"));
        assert!(wanted.try_recv().is_err());
        assert_eq!(in_flight.of([&"a".to_owned()]).len(), 1);
    }
}
