//! Operations of workers besides their polls.

use std::time::Duration;

use redcall_common::settings::{Limit, Rate};
use redcall_store::{
    Claim, HeartbeatRequest, LimitRule, PollOps as _, RunOps as _, StoreError, Tick,
    UpkeepOps as _, WorkerKeys,
};
use redis::AsyncCommands;

use super::super::fill::State::{Full, Plain};
use super::super::fill::reply;
use super::super::world::{Party, World};
use super::{Case, MINUTE, case};
use crate::lua::{LONG, TIMEOUT, envelope};

fn own(world: &World) -> WorkerKeys {
    WorkerKeys::new(world.keys.clone(), "own", 1000, Duration::from_secs(3600))
}

async fn release(world: &World, party: &Party, worker: &str) -> Result<(), StoreError> {
    let by_itself = worker == "own";
    party.link.release(&world.keys, worker, by_itself, TIMEOUT).await.map(drop)
}

async fn beat(world: &World, party: &Party, is_lost: bool) -> Result<(), StoreError> {
    if is_lost {
        let mut conn = world.conn.clone();
        let _: redis::RedisResult<()> = conn.del(world.keys.workers()).await;
    }
    let names = ["add", "lim", "elsewhere"].map(str::to_owned);
    let beat = HeartbeatRequest { worker: "own", lease: LONG, info: "{}", names: &names };
    party.link.heartbeat(&world.keys, &beat, TIMEOUT).await.map(drop)
}

async fn claim(world: &World, party: &Party, id: &str, call: &str) -> Result<(), StoreError> {
    let reply = reply(&world.keys, id);
    let claim = Claim {
        id,
        call,
        data: "data",
        deadline_ms: None,
        reply: Some(&reply),
        status_ttl_ms: Some(60_000),
    };
    party.link.claim(&own(world), &claim, TIMEOUT).await.map(drop)
}

async fn tick(world: &World, party: &Party, cap: u64) -> Result<(), StoreError> {
    let ticks = [("tick1", 2000), ("tick2", 3000)]
        .map(|(id, at_ms)| Tick { at_ms, envelope: envelope(id) });
    party.link.tick(&world.keys, cap, "often", Some(1000), &ticks, TIMEOUT).await.map(drop)
}

async fn push_frame(world: &World, party: &Party) -> Result<(), StoreError> {
    let (reply, text) = (reply(&world.keys, "l1"), r#"{"id":"l1","type":"progress"}"#);
    let own = own(world);
    let pushing = party.link.push_frame(&own.leases, "l1", &reply, text, 10, TIMEOUT);
    pushing.await.map(drop)
}

async fn start(world: &World, party: &Party, again: bool) -> Result<(), StoreError> {
    party.link.note_start(&own(world), "monitored", 1, 60_000, again, TIMEOUT).await.map(drop)
}

async fn unique(world: &World, party: &Party) -> Result<(), StoreError> {
    party.link.is_first(&world.keys, "kind", "l1", None, MINUTE, TIMEOUT).await.map(drop)
}

async fn seen(world: &World, party: &Party) -> Result<(), StoreError> {
    party
        .link
        .remember(&world.keys, "l1", ("own", None), 9_000_000_000_000, TIMEOUT)
        .await
        .map(drop)
}

async fn tally(world: &World, party: &Party, max: u64) -> Result<(), StoreError> {
    let queues = [(world.keys.clone(), max)];
    party.link.tally(&queues, TIMEOUT).await?.remove(0).map(drop)
}

/// The possible remains of an earlier fault: keys without a place, in several places, and held in
/// vain.
async fn damage(world: &World) {
    let mut conn = world.conn.clone();
    let of = |what: &str| format!("{}:{what}", world.keys.base());
    // Something else may lie there by intention.
    let _: redis::RedisResult<()> = conn.lrem(of("rotation:lim"), 0, "b").await;
    let _: redis::RedisResult<()> = conn.rpush(of("rotation:lim"), &["a", "c"]).await;
}

async fn repair(world: &World, party: &Party, again: bool) -> Result<(), StoreError> {
    if !again {
        damage(world).await;
    }
    let rate = Some(Rate { count: 1000, per: Duration::from_secs(1) });
    let limit = Limit { key: Some("k".to_owned()), concurrency: Some(2), rate };
    let rules = [LimitRule { name: "lim".to_owned(), limit, room: None }];
    party.link.repair_limits(&world.keys, &rules, TIMEOUT).await.map(drop)
}

async fn bound_times(world: &World, party: &Party) -> Result<(), StoreError> {
    party.link.bound_times(&world.keys, MINUTE, TIMEOUT).await.map(drop)
}

async fn probe(world: &World, party: &Party) -> Result<(), StoreError> {
    let probe = WorkerKeys::probe(&world.keys, "own");
    party.link.put_probe(&probe, &envelope("probe"), TIMEOUT).await
}

pub(super) const CASES: &[Case] = &[
    case("release", "release, by itself", Full, |world, party, _| {
        Box::pin(release(world, party, "own"))
    }),
    case("release", "release, of a dead worker", Full, |world, party, _| {
        Box::pin(release(world, party, "gone"))
    }),
    case("release", "release, where nothing is special", Plain, |world, party, _| {
        Box::pin(release(world, party, "gone"))
    }),
    case("promote", "promote", Full, |world, party, _| {
        Box::pin(async { party.link.promote(&world.keys, TIMEOUT).await.map(drop) })
    }),
    case("expire", "expire", Full, |world, party, _| {
        Box::pin(async { party.link.expire(&world.keys, TIMEOUT).await.map(drop) })
    }),
    case("heartbeat", "heartbeat", Full, |world, party, _| Box::pin(beat(world, party, false))),
    case("heartbeat", "heartbeat, the registry is lost", Full, |world, party, _| {
        Box::pin(beat(world, party, true))
    }),
    case("claim", "claim, joins a call", Full, |world, party, _| {
        Box::pin(claim(world, party, "joins", "running"))
    }),
    case("claim", "claim, begins a call", Full, |world, party, _| {
        Box::pin(claim(world, party, "begins", "new"))
    }),
    case("claim", "claim, begins a cancelled call again", Full, |world, party, _| {
        Box::pin(claim(world, party, "begins", "begun"))
    }),
    case("tick", "tick", Full, |world, party, _| Box::pin(tick(world, party, 0)))
        .offers(&["tick1", "tick2"]),
    case("tick", "tick, with a longest length", Full, |world, party, _| {
        Box::pin(tick(world, party, 1000))
    })
    .offers(&["tick1", "tick2"]),
    case("frame", "frame", Full, |world, party, _| Box::pin(push_frame(world, party))),
    case("start", "start", Full, |world, party, again| Box::pin(start(world, party, again))),
    case("unique", "unique", Full, |world, party, _| Box::pin(unique(world, party))),
    case("seen", "seen", Full, |world, party, _| Box::pin(seen(world, party))),
    case("tally", "tally", Full, |world, party, _| Box::pin(tally(world, party, 0))),
    case("tally", "tally, at the bound", Full, |world, party, _| Box::pin(tally(world, party, 1))),
    case("rotation", "rotation", Full, |world, party, again| Box::pin(repair(world, party, again)))
        .repeated(),
    case("times", "times", Full, |world, party, _| Box::pin(bound_times(world, party))),
    case("probe", "probe", Full, |world, party, _| Box::pin(probe(world, party))),
];
