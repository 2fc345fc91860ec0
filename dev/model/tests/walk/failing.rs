//! Scripts of the real Redis that fail: for one call a key has a wrong type, or a right is missing.

use fastrand::Rng;
use redcall_model::store::{Id, Op, Store};
use redcall_store::dead::DeadSelection;
use redcall_store::{CancelRequest, SendOps as _, Tick, UpkeepOps as _};
use redcall_testkit::redis::{AsyncCommands, cmd, pipe};

use super::moves::Move;
use super::real::{NAME, Real, START, TIMEOUT, element, envelope, id_of, number_of, worker_of};
use super::{REQUESTS, WORKERS};

/// The commands that our scripts write with.
const RIGHTS: &[&str] = &[
    "del", "hdel", "hset", "hsetnx", "lmove", "lpop", "lpush", "pexpire", "rpush", "sadd", "set",
    "srem", "xadd", "xdel", "zadd", "zrem",
];

/// The fault of one call.
#[derive(Debug, Clone)]
pub(crate) enum Broken {
    /// This key has another type.
    Key(String),
    /// The user may not use this command.
    Right(&'static str),
}

impl Broken {
    pub(crate) fn random(rng: &mut Rng, real: &Real) -> Self {
        let (keys, worker) = (&real.keys, worker_of(rng.u8(..WORKERS)));
        let all = [
            keys.queue(),
            keys.inbox(&worker),
            keys.leases(&worker),
            keys.poll(&worker),
            keys.lane_inbox(&worker, rng.u8(..2)),
            keys.lane_poll(&worker, rng.u8(..2)),
            keys.lanes(),
            keys.live(),
            keys.dead(),
            keys.names(),
            keys.parked_names(),
            keys.parked(NAME),
            keys.workers(),
            keys.paused(),
            keys.attempts(),
            keys.cancelled(),
            keys.permits(),
            keys.limited_names(),
            keys.schedule(),
            keys.scheduled(),
            keys.ticks(),
        ];
        if rng.bool() {
            Self::Right(RIGHTS[rng.usize(..RIGHTS.len())])
        } else {
            Self::Key(all[rng.usize(..all.len())].clone())
        }
    }

    /// Breaks it, or repairs it.
    async fn set(&self, real: &mut Real, broken: bool) {
        match self {
            Self::Right(right) => {
                let sign = if broken { "-" } else { "+" };
                let mut acl = cmd("ACL");
                acl.arg("SETUSER").arg("default").arg(format!("{sign}{right}"));
                let () = acl.query_async(&mut real.conn).await.unwrap();
            }
            Self::Key(key) => {
                let aside = format!("{key}:aside");
                let (from, to) = if broken { (key, &aside) } else { (&aside, key) };
                if real.conn.exists(from).await.unwrap() {
                    let () = real.conn.rename(from, to).await.unwrap();
                } else if !broken {
                    let () = real.conn.del(to).await.unwrap();
                }
                if broken {
                    // These two are strings, the others are not.
                    let text = key.ends_with(":paused") || key.contains(":poll:");
                    let wrong = if text { "RPUSH" } else { "SET" };
                    let () =
                        cmd(wrong).arg(key).arg("x").query_async(&mut real.conn).await.unwrap();
                }
            }
        }
    }
}

/// Returns `true` if the move is one script of a kind that moves requests.
pub(crate) fn moves_requests(next: &Move) -> bool {
    use Move::{Adopt, Cancel, LanePoll, Promote, QueuePoll, Release, Revive, Tick};
    let lane = matches!(next, LanePoll(_) | Adopt(_));
    lane || matches!(next, QueuePoll(_) | Promote | Release(..) | Cancel(_) | Revive(_) | Tick(..))
}

/// How much there is of each request: places, dead letters and frames.
type Amounts = Vec<usize>;

fn amounts(model: &Store) -> Amounts {
    let of = |id: Id| {
        let dead = model.dead.iter().filter(|letter| letter.id == id).count();
        model.places(id) + dead + model.frames[usize::from(id)].len()
    };
    (0..REQUESTS).map(of).collect()
}

async fn amounts_at_redis(real: &mut Real) -> Amounts {
    let (keys, mut pipe) = (real.keys.clone(), pipe());
    pipe.lrange(keys.queue(), 0, -1).lrange(keys.parked(NAME), 0, -1).hvals(keys.scheduled());
    for worker in (0..WORKERS).map(worker_of) {
        pipe.lrange(keys.inbox(&worker), 0, -1).hvals(keys.leases(&worker));
        pipe.lrange(keys.lane_inbox(&worker, 0), 0, -1);
        pipe.lrange(keys.lane_inbox(&worker, 1), 0, -1);
    }
    let lists: Vec<Vec<Vec<u8>>> = pipe.query_async(&mut real.conn).await.unwrap();
    let mut amounts = vec![0; usize::from(REQUESTS)];
    let mut count = |id: Id| {
        if let Some(amount) = amounts.get_mut(usize::from(id)) {
            *amount += 1;
        }
    };
    lists.concat().iter().for_each(|raw| count(element(raw)));
    for (id, _) in real.letters().await {
        count(if id.is_empty() { Id::MAX } else { number_of(&id) });
    }
    for id in 0..REQUESTS {
        let key = real.keys.response(&id_of(id));
        let frames: usize = real.conn.llen(key).await.unwrap();
        (0..frames).for_each(|_| count(id));
    }
    amounts
}

/// Makes a move on Redis with a fault. Returns the loss it caused; empty if none.
pub(crate) async fn lost(real: &mut Real, model: &Store, next: &Move, broken: &Broken) -> String {
    let mut before = amounts(model);
    let outcomes = match next {
        Move::QueuePoll(poll) => &poll.outcomes[..],
        Move::LanePoll(poll) => &poll.outcomes,
        Move::Adopt(adopt) => &adopt.outcomes,
        _ => &[],
    };
    for outcome in outcomes.iter().filter(|outcome| outcome.op == Op::Done) {
        let amount = &mut before[usize::from(outcome.id)];
        *amount = amount.saturating_sub(1);
    }
    broken.set(real, true).await;
    let reply = send(real, next).await;
    broken.set(real, false).await;
    let after = amounts_at_redis(real).await;
    let lost = before.iter().zip(&after).any(|(before, after)| after < before);
    if lost {
        format!("{before:?} before, {after:?} now; the reply was {reply}")
    } else {
        String::new()
    }
}

/// Makes the move; its reply as text.
async fn send(real: &mut Real, next: &Move) -> String {
    let keys = real.keys.clone();
    match next {
        Move::QueuePoll(poll) => format!("{:?}", real.send_poll(poll).await),
        Move::LanePoll(poll) => format!("{:?}", real.send_lane(poll).await),
        Move::Adopt(adopt) => format!("{:?}", real.send_adoption(adopt).await),
        Move::Promote => format!("{:?}", real.link.promote(&keys, TIMEOUT).await),
        Move::Release(worker, by_itself) => {
            let worker = worker_of(*worker);
            format!("{:?}", real.link.release(&keys, &worker, *by_itself, TIMEOUT).await)
        }
        Move::Cancel(id) => {
            let withdrawn = CancelRequest { id: id_of(*id), ttl_ms: 3_600_000, record: None };
            format!("{:?}", real.link.cancel(&keys, &[withdrawn], TIMEOUT).await)
        }
        Move::Revive(cap) => {
            let letters = real.inspector.dead("q", *cap as u64);
            format!("{:?}", letters.retry(&DeadSelection::default(), false).await)
        }
        Move::Tick(cap, at, id) => {
            let tick = Tick { at_ms: START + u64::from(*at), envelope: envelope(*id) };
            let ticks = [tick];
            let ticking = real.link.tick(&keys, *cap as u64, "t", Some(START), &ticks, TIMEOUT);
            format!("{:?}", ticking.await)
        }
        other => panic!("{other:?} does not move requests"),
    }
}
