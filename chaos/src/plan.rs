//! What is done when, drawn from the seed.

use std::time::Duration;

use fastrand::Rng;

use crate::history::{Step, Whose};
use crate::options::Options;

/// One attack.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Attack {
    /// SIGKILL to a worker that is held at `step`.
    Kill {
        step: Step,
    },
    /// SIGSTOP to a worker that is held at `step`, for so long.
    Stop {
        step: Step,
        lasts: Duration,
    },
    /// SIGKILL to Redis, which comes back after so long.
    Restart {
        away: Duration,
    },
    Cut {
        whose: Whose,
    },
    /// One reply in ten comes up to `most` late, one in three in pieces.
    Delay {
        whose: Whose,
        most: Duration,
        lasts: Duration,
    },
    /// One reply in so many is lost after its effect, and its connection with it.
    Lose {
        whose: Whose,
        one_in: u32,
        lasts: Duration,
    },
}

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
    // Every fourth, so that a quarter of any number of them strikes there.
    let step = |at: u32| if at % 4 == 3 { Step::After } else { Step::In };
    spread(counts.kills, &mut rng, &|at, _| Attack::Kill { step: step(at) });
    spread(counts.stops, &mut rng, &|at, rng| Attack::Stop {
        // The other way round: what may be settled twice is what had its effect.
        step: if at % 4 == 3 { Step::In } else { Step::After },
        lasts: options.lease.mul_f64(1.5 + rng.f64()),
    });
    spread(counts.restarts, &mut rng, &|_, rng| Attack::Restart {
        away: Duration::from_millis(rng.u64(0..1000)),
    });
    spread(counts.cuts, &mut rng, &|_, rng| Attack::Cut { whose: whose(rng) });
    spread(counts.delays, &mut rng, &|_, rng| Attack::Delay {
        whose: whose(rng),
        most: options.lease.mul_f64(0.3 * rng.f64()),
        lasts: Duration::from_millis(rng.u64(1000..4000)),
    });
    spread(counts.losses, &mut rng, &|_, rng| Attack::Lose {
        whose: whose(rng),
        one_in: rng.u32(100..1000),
        lasts: Duration::from_millis(rng.u64(1000..4000)),
    });
    plan.sort_by_key(|planned| planned.at);
    plan
}

fn whose(rng: &mut Rng) -> Whose {
    [Whose::Callers, Whose::Workers, Whose::All][rng.usize(..3)]
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
    fn the_same_seed_draws_the_same_plan_and_each_attack_as_often_as_asked() {
        let plan = draw(&options(7));
        assert_eq!(plan, draw(&options(7)));
        assert_ne!(plan, draw(&options(8)));
        let count = |is: fn(&Attack) -> bool| plan.iter().filter(|it| is(&it.attack)).count();
        assert_eq!(count(|attack| matches!(attack, Attack::Kill { .. })), 60);
        assert_eq!(count(|attack| matches!(attack, Attack::Kill { step: Step::After })), 15);
        assert_eq!(count(|attack| matches!(attack, Attack::Stop { .. })), 15);
        assert_eq!(count(|attack| matches!(attack, Attack::Restart { .. })), 10);
        assert_eq!(count(|attack| matches!(attack, Attack::Cut { .. })), 20);
        assert_eq!(plan.len(), 125);
        assert!(plan.iter().all(|planned| planned.at < Duration::from_secs(300)));
        assert!(plan.is_sorted_by_key(|planned| planned.at));
    }
}
