//! Faults by chance, the same ones for the same seed and the same order of replies.

use std::num::NonZeroUsize;
use std::time::Duration;

use fastrand::Rng;

/// How often replies meet with which fault; 0 is never.
#[derive(Debug, Clone, Copy, Default)]
pub struct Odds {
    /// One in this many is lost after its effect, and its connection cut.
    pub lose_one_in: u32,
    /// One in this many is late.
    pub delay_one_in: u32,
    /// By how much at most.
    pub delay_up_to: Duration,
    /// One in this many arrives in pieces.
    pub split_one_in: u32,
}

pub(super) struct Dice {
    odds: Odds,
    rng: Rng,
}

/// The random fate of one reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Roll {
    pub(super) is_lost: bool,
    pub(super) delay: Duration,
    pub(super) piece: Option<NonZeroUsize>,
}

impl Dice {
    pub(super) fn new(seed: u64, odds: Odds) -> Self {
        Self { odds, rng: Rng::with_seed(seed) }
    }

    pub(super) fn roll(&mut self) -> Roll {
        // Drawn whether it counts or not: a changed odd leaves the other faults where they were.
        let [lost, late, split] = [(); 3].map(|()| self.rng.u32(..));
        let (share, size) = (self.rng.f64(), self.rng.usize(1..16));
        let hits = |drawn: u32, one_in: u32| one_in > 0 && drawn.is_multiple_of(one_in);
        let is_late = hits(late, self.odds.delay_one_in);
        Roll {
            is_lost: hits(lost, self.odds.lose_one_in),
            delay: if is_late { self.odds.delay_up_to.mul_f64(share) } else { Duration::ZERO },
            piece: NonZeroUsize::new(size).filter(|_| hits(split, self.odds.split_one_in)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_brings_the_same_faults_and_every_kind_comes() {
        let odds = Odds {
            lose_one_in: 10,
            delay_one_in: 5,
            delay_up_to: Duration::from_millis(20),
            split_one_in: 3,
        };
        let rolls = |seed| {
            let mut dice = Dice::new(seed, odds);
            (0..1000).map(|_| dice.roll()).collect::<Vec<_>>()
        };
        assert_eq!(rolls(7), rolls(7));
        assert_ne!(rolls(7), rolls(8));
        let share = |is: fn(&Roll) -> bool| rolls(7).iter().filter(|roll| is(roll)).count();
        assert!((50..200).contains(&share(|roll| roll.is_lost)));
        assert!((100..300).contains(&share(|roll| roll.delay > Duration::ZERO)));
        assert!((200..450).contains(&share(|roll| roll.piece.is_some())));
        assert!(rolls(7).iter().all(|roll| roll.delay <= odds.delay_up_to));
    }
}
