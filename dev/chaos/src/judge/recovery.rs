//! The time until another worker runs a killed worker's job again, and whether each repeated run
//! had a cause.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::case::{Case, Run};
use super::judgement::Judgement;
use crate::history::{AttackEvent, AttackLine};

/// How long clients and workers may take to be back after Redis is, µs.
const BACK_US: u64 = 1_000_000;

/// The attacks of a run, by the effects that they excuse.
pub(super) struct Recoveries<'a> {
    struck: &'a [AttackLine],
    lease_us: u64,
    /// By process: when it first was killed or stopped.
    hit: HashMap<u32, u64>,
    /// Everything that may hold up a take-over, from when until when.
    troubles: Vec<(u64, u64)>,
    /// Those of them in which live workers may lose their leases, so that their jobs run again.
    leases_lost: Vec<(u64, u64)>,
}

impl<'a> Recoveries<'a> {
    pub(super) fn of(struck: &'a [AttackLine], lease: Duration) -> Self {
        let mut hit = HashMap::new();
        let mut troubles = Vec::new();
        let (mut stopped, mut gone, mut spell) = (BTreeMap::new(), 0, 0);
        let (mut lacking, mut leases_lost) = (0, Vec::new());
        for AttackLine { at, what } in struck {
            match what {
                AttackEvent::Kill { pid, .. } => {
                    hit.entry(*pid).or_insert(*at);
                    troubles.push((*at, *at));
                }
                AttackEvent::Stop { pid, .. } => {
                    hit.entry(*pid).or_insert(*at);
                    stopped.insert(*pid, *at);
                }
                AttackEvent::Continue { pid } => {
                    troubles.push((stopped.remove(pid).unwrap_or(*at), *at));
                }
                AttackEvent::RedisGone => gone = *at,
                AttackEvent::RedisBack => troubles.push((gone, at + BACK_US)),
                AttackEvent::Cut { .. } => troubles.push((*at, at + BACK_US)),
                AttackEvent::Spell { .. } => spell = *at,
                AttackEvent::SpellOver { .. } => troubles.push((spell, at + BACK_US)),
                // These exclude one another: no two of them overlap.
                AttackEvent::DiskFull
                | AttackEvent::RightTaken { .. }
                | AttackEvent::ClockStepped { .. } => {
                    lacking = *at;
                }
                AttackEvent::DiskFree | AttackEvent::RightGiven | AttackEvent::ClockBack => {
                    troubles.push((lacking, at + BACK_US));
                    leases_lost.push((lacking, at + BACK_US));
                }
                // A log that is not read, or cannot be written, excuses nothing.
                AttackEvent::FullLog { .. }
                | AttackEvent::LogsUnread
                | AttackEvent::LogsRead
                | AttackEvent::Missed => {}
            }
        }
        let lease_us = u64::try_from(lease.as_micros()).unwrap_or(u64::MAX);
        Self { struck, lease_us, hit, troubles, leases_lost }
    }

    /// Judges each kill by when its job was started again.
    pub(super) fn judge(&self, cases: &HashMap<String, Case>, judgement: &mut Judgement) {
        let Judgement { recovery, found, examples, .. } = judgement;
        for AttackLine { at, what } in self.struck {
            let AttackEvent::Kill { job, run, .. } = what else { continue };
            let Some(case) = cases.get(job) else { continue };
            let others = case.runs.iter().filter(|(name, _)| *name != run);
            let next = others.map(|(_, run)| run.started).filter(|started| started >= at).min();
            let (by, alone) = self.due(*at);
            let Some(next) = next else {
                // The worker was killed before it settled: no other process can have settled the
                // job.
                if !case.was_withdrawn() && case.unended() {
                    found.recovered_late += 1;
                    examples.push(format!("{job}: not started again after its worker was killed"));
                }
                continue;
            };
            let took_ms = (next - at) / 1000;
            let slowest = if alone {
                recovery.kills_alone += 1;
                &mut recovery.slowest_ms
            } else {
                recovery.kills_amid_other_trouble += 1;
                &mut recovery.slowest_amid_other_trouble_ms
            };
            *slowest = took_ms.max(*slowest);
            if next > by {
                found.recovered_late += 1;
                examples.push(format!("{job}: started again {took_ms} ms after the kill"));
            }
        }
    }

    /// Returns the time by which a job of a worker killed at `at` has to be started again: two
    /// leases from the end of every other fault in that time. The second value is `true` if there
    /// was none.
    fn due(&self, at: u64) -> (u64, bool) {
        let mut by = at + 2 * self.lease_us;
        let mut alone = true;
        loop {
            // A worker that was cut off within a lease before does not take over yet.
            let meets = |(from, until): &&(u64, u64)| {
                *from <= by && until + self.lease_us >= at && (*from, *until) != (at, at)
            };
            let last = self.troubles.iter().filter(meets).map(|(_, until)| *until).max();
            let Some(last) = last else { return (by, alone) };
            alone = false;
            if last + 2 * self.lease_us <= by {
                return (by, alone);
            }
            by = last + 2 * self.lease_us;
        }
    }

    /// Returns the repeated runs of a job without a fault in the run before. A stopped worker may
    /// start, as it continues, a job that was handed to it before and has ended elsewhere since.
    pub(super) fn unexplained_reruns(&self, case: &Case) -> Vec<String> {
        let mut runs: Vec<(&String, &Run)> = case.runs.iter().collect();
        runs.sort_by_key(|(_, run)| run.started);
        let was_hit = |run: &Run, by: u64| self.hit.get(&run.pid).is_some_and(|hit| *hit <= by);
        // A worker whose heartbeats were refused may be taken over for up to two leases more.
        let lost_lease = |run: &Run, next: &Run| {
            let meets = |(from, until): &(u64, u64)| {
                *from <= next.started && until + 2 * self.lease_us >= run.started
            };
            self.leases_lost.iter().any(meets)
        };
        let explained = |run: &Run, next: &Run| {
            lost_lease(run, next)
                || run.failed
                || was_hit(run, next.started)
                || was_hit(next, next.started)
        };
        let pairs = runs.windows(2).filter(|pair| !explained(pair[0].1, pair[1].1));
        let messages =
            pairs.map(|pair| format!("{} ran after {} for no reason", pair[1].0, pair[0].0));
        if case.was_withdrawn() { Vec::new() } else { messages.collect() }
    }
}
