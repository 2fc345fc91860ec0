//! Operations of administrators, and of readers of answers and events.

use std::time::Duration;

use redcall_common::event::{Kind, NewEvent};
use redcall_common::keys::Keys;
use redcall_store::dead::{DeadLetters, DeadSelection};
use redcall_store::inspect::Inspector;
use redcall_store::rights::Role;
use redcall_store::{
    AnswerOps as _, CheckOps as _, EventOps as _, LeaseChange, LeaseOps as _, Member,
    PauseOps as _, SharedOps as _, StoreError, TopicRetention,
};

use super::super::super::TIMEOUT;
use super::super::fill::EVENTS;
use super::super::fill::State::Full;
use super::super::world::Party;
use super::{Case, MINUTE, case};

fn letters(party: &Party, max_length: u64) -> DeadLetters {
    Inspector::new(&party.connector, Keys::new("redcall")).dead("q", max_length)
}

async fn revive(party: &Party, max_length: u64) -> Result<(), StoreError> {
    letters(party, max_length).retry(&DeadSelection::default(), false).await.map(drop)
}

fn member(group: &str) -> Member {
    Member {
        key: EVENTS.to_owned(),
        group: group.to_owned(),
        id: "me".to_owned(),
        from: None,
        claim_after: Duration::from_secs(60),
    }
}

/// Publishes an event on a topic whose bound is so small that it is measured each time.
async fn publish(party: &Party) -> Result<(), StoreError> {
    let kept = TopicRetention { max: 1000, max_bytes: 64, age: Duration::from_secs(60) };
    party.link.publish(&[(EVENTS, NewEvent::now(Kind(1), "1"))], kept, TIMEOUT).await.map(drop)
}

pub(super) const CASES: &[Case] = &[
    case("revive", "revive", Full, |_, party, _| Box::pin(revive(party, 0))),
    case("revive", "revive, with a longest length", Full, |_, party, _| {
        Box::pin(revive(party, 1000))
    }),
    case("letters", "letters", Full, |_, party, _| {
        Box::pin(async { letters(party, 0).list(&DeadSelection::default()).await.map(drop) })
    }),
    case("pause", "pause", Full, |world, party, _| {
        Box::pin(async { party.link.set_paused(&world.keys, true, TIMEOUT).await.map(drop) })
    }),
    case("pause", "pause, resume", Full, |world, party, _| {
        Box::pin(async { party.link.set_paused(&world.keys, false, TIMEOUT).await.map(drop) })
    }),
    case("rights", "rights", Full, |_, party, _| {
        Box::pin(async {
            let keys = Keys::new("redcall");
            party.link.missing_rights(Role::Worker, &keys, &["q"], TIMEOUT).await.map(drop)
        })
    }),
    case("trim", "trim", Full, |world, party, _| {
        let key = world.keys.response("l1");
        Box::pin(async move { party.link.trim(&key, (1, 1), 0, TIMEOUT).await.map(drop) })
    }),
    case("lease", "lease", Full, |_, party, _| {
        Box::pin(async {
            let (key, take) = (Keys::new("redcall").lease("a"), (LeaseChange::Take, MINUTE));
            party.link.change_lease(&key, "own", take, TIMEOUT).await.map(drop)
        })
    }),
    case("events", "events", Full, |_, party, _| {
        Box::pin(async {
            party.link.read_topic(EVENTS, Some("1-0".parse().unwrap()), 9, TIMEOUT).await.map(drop)
        })
    }),
    case("cut", "cut", Full, |_, party, _| Box::pin(publish(party))),
    case("note", "note", Full, |_, party, _| {
        Box::pin(async { party.link.note_queues(&Keys::new("redcall"), &["q"], TIMEOUT).await })
    }),
    case("group", "group, next", Full, |_, party, _| {
        Box::pin(async { party.link.read_group(&member("members"), TIMEOUT).await.map(drop) })
    }),
    case("group", "group, join", Full, |_, party, _| {
        Box::pin(async { party.link.join(&member("others"), TIMEOUT).await.map(drop) })
    }),
];
