//! The attacks of a run and their times, drawn from the seed.

use std::time::Duration;

use fastrand::Rng;

use crate::history::{Affected, Step};
use crate::options::Options;

/// One attack.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Attack {
    /// SIGKILL to a worker that is held at `step`.
    Kill {
        step: Step,
    },
    /// SIGSTOP to a worker that is held at `step`, for this time.
    Stop {
        step: Step,
        lasts: Duration,
    },
    /// SIGKILL to Redis, which restarts after this time.
    Restart {
        away: Duration,
    },
    Cut {
        whose: Affected,
    },
    /// One reply in ten comes up to `max` late, one in three in pieces.
    Delay {
        whose: Affected,
        max: Duration,
        lasts: Duration,
    },
    /// One reply in this many is lost after its effect, with its connection.
    Lose {
        whose: Affected,
        one_in: u32,
        lasts: Duration,
    },
    /// The workers' logs are not read for this time, while they log much.
    Log {
        lasts: Duration,
    },
    /// Redis cannot save to its disk, and refuses writes.
    Disk {
        lasts: Duration,
    },
    /// Callers and workers lack this right.
    Right {
        right: Right,
        lasts: Duration,
    },
    /// Redis's clock differs from the machine's by this time.
    Clock {
        ms: i64,
        lasts: Duration,
    },
}

/// A right that is taken away and given back, as ACL SETUSER has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Right {
    pub(crate) taken: &'static str,
    pub(crate) given: &'static str,
}

const fn right(taken: &'static str, given: &'static str) -> Right {
    Right { taken, given }
}

/// Rights that Redcall needs: commands by themselves and inside scripts, channels, keys.
const RIGHTS: [Right; 24] = [
    right("-evalsha", "+evalsha"),
    right("-blmove", "+blmove"),
    right("-lmove", "+lmove"),
    right("-lpop", "+lpop"),
    right("-lpush", "+lpush"),
    right("-rpush", "+rpush"),
    right("-hset", "+hset"),
    right("-hsetnx", "+hsetnx"),
    right("-hdel", "+hdel"),
    right("-hget", "+hget"),
    right("-hgetall", "+hgetall"),
    right("-zadd", "+zadd"),
    right("-zrem", "+zrem"),
    right("-zscore", "+zscore"),
    right("-set", "+set"),
    right("-del", "+del"),
    right("-exists", "+exists"),
    right("-pexpire", "+pexpire"),
    right("-xadd", "+xadd"),
    right("-time", "+time"),
    right("-spublish", "+spublish"),
    right("-ssubscribe", "+ssubscribe"),
    right("resetchannels", "allchannels"),
    right("resetkeys", "allkeys"),
];

/// An attack and when it is made, from the beginning of the run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Planned {
    pub(crate) at: Duration,
    pub(crate) attack: Attack,
}

/// The attacks of a run in the order of their times.
pub(crate) fn draw(options: &Options) -> Vec<Planned> {
    let mut rng = Rng::with_seed(options.seed);
    let counts = options.counts;
    let mut plan = Vec::new();
    let mut spread = |count: u32, rng: &mut Rng, attack: &dyn Fn(u32, &mut Rng) -> Attack| {
        // Each in its own part of the time, anywhere in it.
        let part = options.duration / count.max(1);
        for at in 0..count {
            let when = part * at + part.mul_f64(rng.f64());
            plan.push(Planned { at: when, attack: attack(at, rng) });
        }
    };
    // By turns, so that a quarter of any number of them strikes before the settlement, and a
    // quarter in a lane.
    let step = |at: u32| match at % 4 {
        1 => Step::Young,
        3 => Step::After,
        _ => Step::In,
    };
    spread(counts.kills, &mut rng, &|at, _| Attack::Kill { step: step(at) });
    spread(counts.stops, &mut rng, &|at, rng| Attack::Stop {
        // Reversed: a job that had its effect may be settled twice.
        step: match step(at) {
            Step::Young => Step::Young,
            Step::In => Step::After,
            Step::After => Step::In,
        },
        lasts: options.lease.mul_f64(1.5 + rng.f64()),
    });
    spread(counts.restarts, &mut rng, &|_, rng| Attack::Restart {
        away: Duration::from_millis(rng.u64(0..1000)),
    });
    spread(counts.cuts, &mut rng, &|_, rng| Attack::Cut { whose: whose(rng) });
    spread(counts.delays, &mut rng, &|_, rng| Attack::Delay {
        whose: whose(rng),
        max: options.lease.mul_f64(0.3 * rng.f64()),
        lasts: Duration::from_millis(rng.u64(1000..4000)),
    });
    spread(counts.losses, &mut rng, &|_, rng| Attack::Lose {
        whose: whose(rng),
        one_in: rng.u32(100..1000),
        lasts: Duration::from_millis(rng.u64(1000..4000)),
    });
    let spell = |rng: &mut Rng| Duration::from_millis(rng.u64(1000..4000));
    // Longer than a lease: a worker that is stuck in a write loses its own.
    spread(counts.logs, &mut rng, &|_, rng| Attack::Log { lasts: options.lease + spell(rng) });
    spread(counts.disks, &mut rng, &|_, rng| Attack::Disk { lasts: spell(rng) });
    spread(counts.rights, &mut rng, &|_, rng| Attack::Right {
        right: RIGHTS[rng.usize(..RIGHTS.len())],
        lasts: spell(rng),
    });
    // Ahead and back in turns. No farther than answers are kept beyond their time.
    spread(counts.clocks, &mut rng, &|at, rng| Attack::Clock {
        ms: rng.i64(1000..20_000) * if at % 2 == 0 { 1 } else { -1 },
        lasts: spell(rng),
    });
    plan.sort_by_key(|planned| planned.at);
    plan
}

fn whose(rng: &mut Rng) -> Affected {
    [Affected::Callers, Affected::Workers, Affected::All][rng.usize(..3)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Counts;

    fn options(seed: u64) -> Options {
        let duration = Duration::from_secs(300);
        Options {
            duration,
            workers: 4,
            callers: 20,
            lease: Duration::from_secs(1),
            timeout: Duration::from_secs(15),
            counts: Counts::usual(duration),
            seed,
            worker: Default::default(),
            keep: false,
        }
    }

    #[test]
    fn same_seed_draws_same_plan_with_requested_counts() {
        let plan = draw(&options(7));
        assert_eq!(plan, draw(&options(7)));
        assert_ne!(plan, draw(&options(8)));
        let count = |is: fn(&Attack) -> bool| plan.iter().filter(|it| is(&it.attack)).count();
        assert_eq!(count(|attack| matches!(attack, Attack::Kill { .. })), 60);
        assert_eq!(count(|attack| matches!(attack, Attack::Kill { step: Step::After })), 15);
        assert_eq!(count(|attack| matches!(attack, Attack::Kill { step: Step::Young })), 15);
        assert_eq!(count(|attack| matches!(attack, Attack::Stop { .. })), 15);
        assert_eq!(count(|attack| matches!(attack, Attack::Restart { .. })), 10);
        assert_eq!(count(|attack| matches!(attack, Attack::Cut { .. })), 20);
        assert_eq!(count(|attack| matches!(attack, Attack::Log { .. })), 10);
        assert_eq!(count(|attack| matches!(attack, Attack::Disk { .. })), 5);
        assert_eq!(count(|attack| matches!(attack, Attack::Right { .. })), 10);
        assert_eq!(count(|attack| matches!(attack, Attack::Clock { .. })), 10);
        assert_eq!(plan.len(), 160);
        assert!(plan.iter().all(|planned| planned.at < Duration::from_secs(300)));
        assert!(plan.is_sorted_by_key(|planned| planned.at));
    }
}
