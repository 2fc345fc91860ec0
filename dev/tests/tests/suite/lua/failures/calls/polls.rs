//! Turns of a worker.

use std::time::Duration;

use redcall_client::Code;
use redcall_common::settings::{Limit, Rate};
use redcall_common::status::StatusEnd;
use redcall_store::{
    DeferredRecord, DeferredRun, EndedCall, LimitRule, Outcome, PollOps as _, QueuePoll,
    Settlement, SideEffect, StateChange, StoreError, WorkerKeys,
};
use redis::AsyncCommands;

use super::super::super::TIMEOUT;
use super::super::fill::State::{Full, Plain};
use super::super::fill::{LEASED, frame, reply};
use super::super::world::{Party, World};
use super::{Case, MINUTE, case};

/// The work of a poll besides settling.
#[derive(Clone, Copy)]
struct How {
    take: usize,
    more: bool,
    rules: bool,
    parked: bool,
}

/// By `poll_fast.lua`, if that will do.
const FAST: How = How { take: 10, more: false, rules: false, parked: false };
/// Nothing but settling.
const SETTLE: How = How { take: 0, more: true, rules: false, parked: false };
const TAKE: How = How { take: 10, ..SETTLE };
const ALL: How = How { take: 20, more: true, rules: true, parked: true };

async fn poll(
    world: &World,
    party: &Party,
    again: bool,
    outcomes: Vec<Outcome>,
    how: How,
) -> Result<(), StoreError> {
    let own = WorkerKeys::new(world.keys.clone(), "own", 1000, Duration::from_secs(3600));
    let rate = Some(Rate { count: 1000, per: Duration::from_secs(1) });
    let limit = Limit { key: Some("k".to_owned()), concurrency: Some(1), rate };
    let rules = [LimitRule { name: "lim".to_owned(), limit, room: None }];
    let parked = ["away".to_owned()];
    let poll = QueuePoll {
        outcomes: &outcomes,
        serial: 7,
        again,
        more: how.more,
        rules: if how.rules { &rules } else { &[] },
        parked: if how.parked { &parked } else { &[] },
        ..QueuePoll::take(&own, how.take)
    };
    party.link.poll(&[poll], TIMEOUT).await?.remove(0).map(drop)
}

/// Ends the lease of `own` before its poll.
async fn late_poll(world: &World, party: &Party, again: bool) -> Result<(), StoreError> {
    let mut conn = world.conn.clone();
    // Something else may lie there by intention.
    let _: redis::RedisResult<()> = conn.zadd(world.keys.workers(), "own", 1).await;
    poll(world, party, again, Vec::new(), FAST).await
}

async fn paused_poll(world: &World, party: &Party, again: bool) -> Result<(), StoreError> {
    let mut conn = world.conn.clone();
    let _: redis::RedisResult<()> = conn.set(world.keys.paused(), "1").await;
    poll(world, party, again, vec![answer(world, "l1")], TAKE).await
}

fn answer(world: &World, id: &str) -> Outcome {
    let frame = frame(&world.keys, id, "own");
    Outcome::new(id, Settlement::Answer { reply: reply(&world.keys, id), frame })
}

fn done(id: &str) -> Outcome {
    Outcome::new(id, Settlement::Done)
}

fn run(outcome: Outcome) -> Outcome {
    let run = r#"{"attempt":2,"worker":"own","started_at":1,"ended_at":2,"code":"timeout"}"#;
    Outcome { run: run.to_owned(), ..outcome }
}

fn dead_letter(world: &World, id: &str, is_answered: bool) -> Outcome {
    let answer = is_answered.then(|| (reply(&world.keys, id), frame(&world.keys, id, "own")));
    let reason = "why".to_owned();
    run(Outcome::new(id, Settlement::DeadLetter { code: Code::Timeout, reason, answer }))
}

fn retry(world: &World, id: &str) -> Outcome {
    let notice = r#"{"type":"progress"}"#.to_owned();
    let notice = Some((reply(&world.keys, id), notice));
    run(Outcome::new(id, Settlement::Retry { delay: MINUTE, notice }))
}

fn unknown(world: &World, id: &str, name: &str, is_answered: bool) -> Outcome {
    let answer = is_answered.then(|| (reply(&world.keys, id), frame(&world.keys, id, "own")));
    run(Outcome::new(id, Settlement::Unknown { name: name.to_owned(), answer }))
}

fn later(world: &World, id: &str) -> Outcome {
    let tail = |code: &str| {
        let error = format!(r#""error":{{"code":"{code}","message":"why"}}"#);
        format!(r#","type":"error","seq":1,"attempt":1,{error}}}"#)
    };
    let record = DeferredRecord {
        digest: format!("token-{id}"),
        run: DeferredRun { name: "add".to_owned(), attempt: 1, seq: 1, ..DeferredRun::default() },
        reply: Some(reply(&world.keys, id)),
        late: tail("deadline_exceeded"),
        gone: tail("cancelled"),
        dead_letter: true,
        status_ttl_ms: Some(60_000),
        seal: None,
    };
    let notice = Some((reply(&world.keys, id), r#"{"type":"deferred"}"#.to_owned()));
    let record = Box::new(record);
    Outcome::new(id, Settlement::Deferred { timeout: MINUTE, record, notice })
}

fn refuse(world: &World, id: &str) -> Outcome {
    let (code, reason) = (Code::Unauthorized, "why".to_owned());
    let answer = Some((reply(&world.keys, id), frame(&world.keys, id, "own")));
    Outcome::new(id, Settlement::Refuse { code, reason, answer, dead_letter: true })
}

/// Of a signed request that was started.
fn signed(outcome: Outcome) -> Outcome {
    Outcome { spent: Some(9_000_000_000_000), ..outcome }
}

fn status(outcome: Outcome) -> Outcome {
    let end = StatusEnd { ttl_ms: 60_000, attempt: 1, error: None };
    Outcome { side_effects: vec![SideEffect::Status(end)], ..outcome }
}

fn change(outcome: Outcome, version: u64, state: Option<&str>) -> Outcome {
    let (instance, state) = ("one".to_owned(), state.map(str::to_owned));
    let change = StateChange { instance, version, state, keep: MINUTE, seal: None };
    Outcome { side_effects: vec![SideEffect::State(change)], ..outcome }
}

fn call(world: &World, outcome: Outcome) -> Outcome {
    let frame = frame(&world.keys, &outcome.id, "own");
    let call = EndedCall { digest: "running".to_owned(), keep: Some(MINUTE), frame };
    Outcome { call: Some(call), ..outcome }
}

fn some(world: &World) -> Vec<Outcome> {
    LEASED.iter().map(|id| answer(world, id)).collect()
}

/// One of each kind.
fn each(world: &World) -> Vec<Outcome> {
    vec![
        answer(world, "l1"),
        dead_letter(world, "l2", true),
        retry(world, "l3"),
        unknown(world, "l4", "elsewhere", false),
        later(world, "joins"),
        Outcome::new("r1", Settlement::Back),
        run(Outcome::new("again", Settlement::Rerun { attempt: 2 })),
        change(answer(world, "service"), 3, Some("{}")),
        status(call(world, answer(world, "runs"))),
        done("begins"),
    ]
}

pub(super) const CASES: &[Case] = &[
    case("poll_fast", "poll_fast, settle and take", Plain, |world, party, again| {
        Box::pin(poll(world, party, again, some(world), FAST))
    }),
    case("poll_fast", "poll_fast, settle", Plain, |world, party, again| {
        Box::pin(poll(world, party, again, some(world), How { take: 0, ..FAST }))
    }),
    case("poll_fast", "poll_fast, done", Plain, |world, party, again| {
        Box::pin(poll(world, party, again, LEASED.iter().copied().map(done).collect(), FAST))
    })
    .vanish(LEASED),
    case("poll_fast", "poll_fast, signed", Plain, |world, party, again| {
        let outcomes = some(world).into_iter().map(signed).collect();
        Box::pin(poll(world, party, again, outcomes, FAST))
    }),
    case("poll_fast", "poll_fast, a lease is gone", Plain, |world, party, again| {
        let outcomes = some(world).into_iter().chain([answer(world, "g1")]).collect();
        Box::pin(poll(world, party, again, outcomes, FAST))
    }),
    case("poll_fast", "poll_fast, own lease has ended", Plain, |world, party, again| {
        Box::pin(late_poll(world, party, again))
    }),
    case("poll", "poll, own lease has ended", Full, |world, party, again| {
        Box::pin(late_poll(world, party, again))
    }),
    case("poll", "poll, paused", Full, |world, party, again| {
        Box::pin(paused_poll(world, party, again))
    }),
    case("poll", "poll, take", Full, |world, party, again| {
        Box::pin(poll(world, party, again, Vec::new(), TAKE))
    }),
    case("poll", "poll, take by limits", Full, |world, party, again| {
        Box::pin(poll(world, party, again, Vec::new(), ALL))
    }),
    case("poll", "poll, take by limits where nothing is special", Plain, |world, party, again| {
        Box::pin(poll(world, party, again, Vec::new(), ALL))
    }),
    case("poll", "poll, settle one of each and take", Full, |world, party, again| {
        Box::pin(poll(world, party, again, each(world), ALL))
    })
    .vanish(&["begins"]),
    case("poll", "poll, answer", Full, |world, party, again| {
        Box::pin(poll(world, party, again, vec![answer(world, "l1"), answer(world, "l2")], SETTLE))
    }),
    case("poll", "poll, done", Full, |world, party, again| {
        Box::pin(poll(world, party, again, vec![done("l1"), done("again")], SETTLE))
    })
    .vanish(&["l1", "again"]),
    case("poll", "poll, answer of a limited name", Full, |world, party, again| {
        Box::pin(poll(world, party, again, vec![answer(world, "r1")], SETTLE))
    }),
    case("poll", "poll, dead_letter", Full, |world, party, again| {
        let outcomes = vec![dead_letter(world, "l1", false), dead_letter(world, "again", true)];
        Box::pin(poll(world, party, again, outcomes, SETTLE))
    }),
    case("poll", "poll, refuse", Full, |world, party, again| {
        let outcomes = vec![refuse(world, "l1"), signed(refuse(world, "again"))];
        Box::pin(poll(world, party, again, outcomes, SETTLE))
    }),
    case("poll", "poll, back", Full, |world, party, again| {
        let back = ["l1", "r1"].map(|id| Outcome::new(id, Settlement::Back)).into();
        Box::pin(poll(world, party, again, back, SETTLE))
    }),
    case("poll", "poll, rerun", Full, |world, party, again| {
        let rerun = |id| Outcome::new(id, Settlement::Rerun { attempt: 2 });
        Box::pin(poll(world, party, again, vec![rerun("l1"), run(rerun("r1"))], SETTLE))
    }),
    case("poll", "poll, retry", Full, |world, party, again| {
        Box::pin(poll(world, party, again, vec![retry(world, "l1")], SETTLE))
    }),
    case("poll", "poll, retry of a limited name", Full, |world, party, again| {
        Box::pin(poll(world, party, again, vec![retry(world, "r1")], SETTLE))
    }),
    case("poll", "poll, retry where nothing is special", Plain, |world, party, again| {
        Box::pin(poll(world, party, again, vec![retry(world, "l1")], SETTLE))
    }),
    case("poll", "poll, retry of a cancelled request", Full, |world, party, again| {
        Box::pin(poll(world, party, again, vec![retry(world, "cancelled")], SETTLE))
    }),
    case("poll", "poll, park", Full, |world, party, again| {
        let outcomes = vec![unknown(world, "l1", "elsewhere", true)];
        Box::pin(poll(world, party, again, outcomes, SETTLE))
    }),
    case("poll", "poll, unknown", Full, |world, party, again| {
        let outcomes = [("l1", true), ("again", false)];
        let outcomes = outcomes.map(|(id, answers)| unknown(world, id, "nowhere", answers)).into();
        Box::pin(poll(world, party, again, outcomes, SETTLE))
    }),
    case("poll", "poll, defer", Full, |world, party, again| {
        Box::pin(poll(world, party, again, vec![later(world, "l1")], SETTLE))
    }),
    case("poll", "poll, defer a cancelled request", Full, |world, party, again| {
        Box::pin(poll(world, party, again, vec![later(world, "cancelled")], SETTLE))
    }),
    case("poll", "poll, state", Full, |world, party, again| {
        let outcomes = vec![change(answer(world, "service"), 3, Some("{}"))];
        Box::pin(poll(world, party, again, outcomes, SETTLE))
    }),
    case("poll", "poll, end of a state", Full, |world, party, again| {
        Box::pin(poll(world, party, again, vec![change(answer(world, "service"), 3, None)], SETTLE))
    }),
    case("poll", "poll, state of another version", Full, |world, party, again| {
        let outcomes = vec![change(answer(world, "service"), 2, Some("{}"))];
        Box::pin(poll(world, party, again, outcomes, SETTLE))
    }),
    case("poll", "poll, end of a monitored job", Full, |world, party, again| {
        Box::pin(poll(world, party, again, vec![status(answer(world, "monitored"))], SETTLE))
    }),
    case("poll", "poll, end of a call", Full, |world, party, again| {
        Box::pin(poll(world, party, again, vec![call(world, answer(world, "runs"))], SETTLE))
    }),
];
