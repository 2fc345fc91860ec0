//! Derives the findings from a history. It uses no counter, key or metric of Redcall.
//!
//! | word | means |
//! |---|---|
//! | lost | it was confirmed as queued, but never had its effect or its answer was missing |
//! | settled twice | two different outcomes of one job were received, or found at its key |
//! | hung | an operation ended more than a second after its timeout, or not at all |
//! | run twice | its effect occurred more than once: permitted, and reported |
//! | out of order | frames of a followed job arrived in another order than they were sent |
//! | unexplained | an error, an answer or a run without a cause in the history |

mod case;
mod judgement;
mod recovery;

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use case::Case;
pub(crate) use judgement::Judgement;
use recovery::Recoveries;

use crate::history::{
    AttackEvent, AttackLine, CallLine, EffectLine, Files, Lines, Place, ReplyFault, Step,
};

/// Reads a history as it is written.
pub(crate) struct Judge {
    calls: Lines,
    effects: Lines,
    blows: Lines,
    cases: HashMap<String, Case>,
    struck: Vec<AttackLine>,
    lease: Duration,
}

/// The number of findings of a kind that are described in words.
const EXAMPLES: u64 = 5;

impl Judge {
    pub(crate) fn new(files: &Files, lease: Duration) -> Self {
        Self {
            calls: Lines::of(&files.calls),
            effects: Lines::of(&files.effects),
            blows: Lines::of(&files.blows),
            cases: HashMap::new(),
            struck: Vec::new(),
            lease,
        }
    }

    /// Reads the lines that were added since the last call.
    pub(crate) fn read(&mut self) -> io::Result<()> {
        // Calls are read before effects: the effect of each answer that is read has then been
        // written.
        let calls = self.calls.more::<CallLine>()?;
        for done in self.effects.more::<EffectLine>()? {
            self.cases.entry(done.job.clone()).or_default().see(done);
        }
        for line in calls {
            self.cases.entry(line.job.clone()).or_default().add_call(line);
        }
        self.struck.extend(self.blows.more::<AttackLine>()?);
        Ok(())
    }

    /// How many jobs are queued for certain and have not had their effect, and how many
    /// operations have not ended.
    pub(crate) fn open(&self) -> usize {
        self.cases.values().filter(|case| case.is_lost() || case.is_open()).count()
    }

    /// Judges the history read so far.
    pub(crate) fn judge(&self) -> Judgement {
        let mut judgement = Judgement::default();
        let recoveries = Recoveries::of(&self.struck, self.lease);
        let mut jobs: Vec<(&String, &Case)> = self.cases.iter().collect();
        jobs.sort_by_key(|(_, case)| case.began());
        for (job, case) in jobs {
            case.count(&mut judgement.calls);
            judgement.run_twice += u64::from(case.effects() > 1);
            let examples = &mut judgement.examples;
            let found = &mut judgement.found;
            let mut note = |count: &mut u64, what: Option<String>| {
                let Some(what) = what else { return };
                *count += 1;
                if *count <= EXAMPLES {
                    examples.push(format!("{job}: {what}"));
                }
            };
            note(&mut found.lost, case.lost());
            note(&mut found.settled_twice, case.settled_twice());
            for hung in case.hung() {
                note(&mut found.hung, Some(hung));
            }
            note(&mut found.out_of_order, case.out_of_order());
            for odd in case.unexplained().into_iter().chain(recoveries.unexplained_reruns(case)) {
                note(&mut found.unexplained, Some(odd));
            }
            judgement.calls.latest(case.latest());
        }
        recoveries.judge(&self.cases, &mut judgement);
        for AttackLine { what, .. } in &self.struck {
            let names = name(what).map(|name| (name, 1)).into_iter().chain(hits(what));
            for (name, count) in names.filter(|(_, count)| *count > 0) {
                *judgement.struck.entry(name).or_default() += count;
            }
        }
        judgement
    }
}

/// Under which name a blow is counted.
fn name(blow: &AttackEvent) -> Option<&'static str> {
    match blow {
        AttackEvent::Kill { step: Step::Young, .. } => Some("kills_in_blocked_handler"),
        AttackEvent::Kill { step: Step::In, .. } => Some("kills_in_handler"),
        AttackEvent::Kill { step: Step::After, .. } => Some("kills_before_settlement"),
        AttackEvent::Stop { .. } => Some("stops"),
        AttackEvent::RedisBack => Some("redis_restarts"),
        AttackEvent::Cut { .. } => Some("cuts"),
        AttackEvent::Spell { what: ReplyFault::Late, .. } => Some("spells_of_late_replies"),
        AttackEvent::Spell { what: ReplyFault::Lost, .. } => Some("spells_of_lost_replies"),
        AttackEvent::FullLog { .. } => Some("workers_with_a_full_log"),
        AttackEvent::LogsUnread => Some("spells_of_unread_logs"),
        AttackEvent::DiskFull => Some("spells_of_a_full_disk"),
        AttackEvent::RightTaken { .. } => Some("rights_taken"),
        AttackEvent::ClockStepped { .. } => Some("clock_steps"),
        AttackEvent::Missed => Some("missed"),
        AttackEvent::Continue { .. } | AttackEvent::RedisGone | AttackEvent::SpellOver { .. } => {
            None
        }
        AttackEvent::LogsRead
        | AttackEvent::DiskFree
        | AttackEvent::RightGiven
        | AttackEvent::ClockBack => None,
    }
}

/// Returns the place of the requests that an attack hit, and their number.
fn hits(attack: &AttackEvent) -> Option<(&'static str, u64)> {
    let (hit, count) = match attack {
        AttackEvent::Kill { place, .. } | AttackEvent::Stop { place, .. } => match place {
            Place::Young => ("hits_of_young_requests", 1),
            Place::Batch => ("hits_of_batches_in_lanes", 1),
            Place::Leased => ("hits_of_leased_requests", 1),
            Place::Elsewhere => return None,
        },
        AttackEvent::Cut { young, .. } => ("young_requests_in_cuts", *young),
        AttackEvent::SpellOver { what: ReplyFault::Late, of_lanes } => {
            ("late_replies_to_lanes", *of_lanes)
        }
        AttackEvent::SpellOver { what: ReplyFault::Lost, of_lanes } => {
            ("lost_replies_to_lanes", *of_lanes)
        }
        _ => return None,
    };
    Some((hit, count))
}

#[cfg(test)]
mod tests;
