//! The lane of a worker.

use std::time::Duration;

use redcall_store::{
    Adoption, LaneKeys, LaneOps as _, LanePoll, Outcome, Settlement, StoreError, WorkerKeys,
};

use super::super::super::TIMEOUT;
use super::super::fill::State::{Full, Plain};
use super::super::fill::{frame, reply};
use super::super::world::{Party, World};
use super::{Case, case};

fn lane(world: &World, number: u8) -> LaneKeys {
    let own = WorkerKeys::new(world.keys.clone(), "own", 1000, Duration::from_secs(3600));
    LaneKeys::new(own, number)
}

fn answer(world: &World, id: &str) -> Outcome {
    let frame = frame(&world.keys, id, "own");
    Outcome::new(id, Settlement::Answer { reply: reply(&world.keys, id), frame })
}

fn done(id: &str) -> Outcome {
    Outcome::new(id, Settlement::Done)
}

/// Polls; after an error adopts, as a worker does.
async fn poll(
    world: &World,
    party: &Party,
    again: bool,
    (number, outcomes): (u8, Vec<Outcome>),
    take: usize,
) -> Result<(), StoreError> {
    let keys = lane(world, number);
    if again {
        return adopt(world, party, again, (number, outcomes), &[]).await;
    }
    let poll = LanePoll { keys: &keys, outcomes: &outcomes, serial: 7, take };
    party.link.lane_poll(&poll, TIMEOUT).await.map(drop)
}

async fn adopt(
    world: &World,
    party: &Party,
    again: bool,
    (number, outcomes): (u8, Vec<Outcome>),
    started: &[&str],
) -> Result<(), StoreError> {
    let (keys, started) = (lane(world, number), started.iter().map(|id| (*id).to_owned()));
    let started: Vec<String> = started.collect();
    let adoption = Adoption {
        keys: &keys,
        outcomes: &outcomes,
        started: &started,
        serial: 7,
        again,
        large: false,
    };
    party.link.adopt(&adoption, TIMEOUT).await.map(drop)
}

pub(super) const CASES: &[Case] = &[
    case("lane_settle", "lane_settle", Plain, |world, party, again| {
        Box::pin(poll(world, party, again, (1, vec![answer(world, "y3")]), 0))
    }),
    case("lane_settle", "lane_settle, done", Plain, |world, party, again| {
        Box::pin(poll(world, party, again, (1, vec![done("y3")]), 0))
    })
    .vanish(&["y3"]),
    case("lane_settle", "lane_settle, other requests", Plain, |world, party, again| {
        Box::pin(poll(world, party, again, (0, vec![answer(world, "y1")]), 0))
    }),
    case("lane_poll", "lane_poll, settle and take", Plain, |world, party, again| {
        let outcomes = vec![answer(world, "y1"), answer(world, "y2")];
        Box::pin(poll(world, party, again, (0, outcomes), 3))
    }),
    case("lane_poll", "lane_poll, done and answered", Plain, |world, party, again| {
        let outcomes = vec![done("y1"), answer(world, "y2")];
        Box::pin(poll(world, party, again, (0, outcomes), 1))
    })
    .vanish(&["y1"]),
    case("lane_poll", "lane_poll, closed", Full, |world, party, again| {
        let outcomes = vec![answer(world, "y1"), answer(world, "y2")];
        Box::pin(poll(world, party, again, (0, outcomes), 3))
    }),
    case("adopt", "adopt, one of each", Full, |world, party, again| {
        Box::pin(adopt(world, party, again, (0, vec![answer(world, "y1")]), &["y2"]))
    }),
    case("adopt", "adopt, done", Plain, |world, party, again| {
        Box::pin(adopt(world, party, again, (0, vec![done("y2")]), &["y1"]))
    })
    .vanish(&["y2"]),
    case("adopt", "adopt, nothing was started", Plain, |world, party, again| {
        Box::pin(adopt(world, party, again, (0, Vec::new()), &[]))
    }),
];
