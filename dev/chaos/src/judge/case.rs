//! One job, from the history of its caller, handlers and attackers.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::history::{CallLine, CallResult, EffectLine, Kind, RunEvent};
use crate::report::Calls;

/// How much later than its time an operation may end, µs.
const GRACE_US: u64 = 1_000_000;

/// Everything about one job.
#[derive(Debug, Default)]
pub(crate) struct Case {
    ops: BTreeMap<u64, Op>,
    pub(super) runs: HashMap<String, Run>,
}

/// An operation of a caller.
#[derive(Debug, Default)]
struct Op {
    kind: Option<Kind>,
    began: u64,
    /// When it has to end.
    by: u64,
    ended: Option<(u64, CallResult)>,
    found_later: Vec<String>,
    disorder: Option<String>,
    last: Option<(u32, u32)>,
}

/// A run of its handler.
#[derive(Debug, Clone, Default)]
pub(super) struct Run {
    pub(super) pid: u32,
    pub(super) attempt: u32,
    pub(super) started: u64,
    effect: bool,
    pub(super) failed: bool,
    settled: bool,
}

impl Case {
    pub(super) fn add_call(&mut self, line: CallLine) {
        let op = self.ops.entry(line.op).or_default();
        match line.what {
            CallResult::Begins { kind, timeout_ms } => {
                op.kind = Some(kind);
                op.began = line.at;
                op.by = line.at + timeout_ms.saturating_mul(1000);
            }
            CallResult::Received { attempt, percent } => {
                if op.last.is_some_and(|last| last >= (attempt, percent)) {
                    let last = op.last.unwrap_or_default();
                    op.disorder = Some(format!("{last:?} before {:?}", (attempt, percent)));
                }
                op.last = Some((attempt, percent));
            }
            CallResult::FoundLater { run } => op.found_later.push(run),
            end => op.ended = Some((line.at, end)),
        }
    }

    pub(super) fn see(&mut self, done: EffectLine) {
        let run = self.runs.entry(done.run).or_default();
        (run.pid, run.attempt) = (done.pid, done.attempt);
        match done.event {
            RunEvent::Started => run.started = done.at,
            RunEvent::Effect => run.effect = true,
            RunEvent::Fails => run.failed = true,
            RunEvent::Settled => run.settled = true,
            RunEvent::Refused => {}
        }
    }

    pub(super) fn began(&self) -> u64 {
        self.ops.values().map(|op| op.began).min().unwrap_or_default()
    }

    /// Returns `true` if an operation has not ended.
    pub(super) fn is_open(&self) -> bool {
        self.ops.values().any(|op| op.ended.is_none())
    }

    pub(super) fn effects(&self) -> usize {
        self.runs.values().filter(|run| run.effect).count()
    }

    fn ends(&self) -> impl Iterator<Item = &CallResult> {
        self.ops.values().filter_map(|op| op.ended.as_ref().map(|(_, end)| end))
    }

    /// Returns `true` if it is queued for certain, and has neither had its effect nor been ended
    /// otherwise.
    pub(super) fn is_lost(&self) -> bool {
        let queued = self.ends().any(|end| *end == CallResult::Queued);
        let is_reported = self.ends().any(|end| matches!(end, CallResult::Failed { .. }));
        queued && !is_reported && self.effects() == 0
    }

    fn is_answered(&self) -> bool {
        self.ends().any(|end| matches!(end, CallResult::Answered { .. }))
    }

    pub(super) fn lost(&self) -> Option<String> {
        if self.is_lost() {
            return Some("queued, and never done".to_owned());
        }
        let missing = self.ends().any(|end| *end == CallResult::Missing);
        (missing && !self.is_answered()).then(|| "queued, and its answer was not there".to_owned())
    }

    /// Returns the outcomes of the job if there are several different ones.
    pub(super) fn settled_twice(&self) -> Option<String> {
        let mut ends: BTreeSet<String> = BTreeSet::new();
        ends.extend(self.runs.iter().filter(|(_, run)| run.settled).map(|(name, _)| name.clone()));
        let mut at_one_key = None;
        // Of two requests for one idempotent call, the first may expire before its start, as at a
        // step of the clock; then the call may begin again.
        let answered = self.is_answered();
        for op in self.ops.values() {
            match &op.ended {
                Some((_, CallResult::Answered { run })) => _ = ends.insert(run.clone()),
                Some((_, CallResult::Failed { code }))
                    if !(answered && code == "deadline_exceeded") =>
                {
                    _ = ends.insert(format!("error {code}"));
                }
                _ => {}
            }
            // The first answer found may be the one that the caller took: a later write deletes it.
            ends.extend(op.found_later.iter().cloned());
            if op.found_later.len() > 1 {
                at_one_key = Some(op.found_later.join(" and "));
            }
        }
        let different = (ends.len() > 1).then(|| Vec::from_iter(ends).join(" and "));
        different.or(at_one_key).map(|ends| format!("ended by {ends}"))
    }

    pub(super) fn hung(&self) -> Vec<String> {
        let hung = |op: &Op| match &op.ended {
            None => Some("an operation has not ended".to_owned()),
            Some((at, end)) => {
                let late = at.saturating_sub(op.by);
                (late > GRACE_US).then(|| format!("ended {} ms late: {end:?}", late / 1000))
            }
        };
        self.ops.values().filter_map(hung).collect()
    }

    /// How long after its time the latest operation ended, µs.
    pub(super) fn latest(&self) -> u64 {
        let late = |op: &Op| op.ended.as_ref().map(|(at, _)| at.saturating_sub(op.by));
        self.ops.values().filter_map(late).max().unwrap_or_default()
    }

    pub(super) fn out_of_order(&self) -> Option<String> {
        self.ops.values().find_map(|op| op.disorder.clone())
    }

    /// Returns the results that no fault can explain.
    pub(super) fn unexplained(&self) -> Vec<String> {
        let mut found = Vec::new();
        for end in self.ends() {
            match end {
                CallResult::Odd { what } => found.push(what.clone()),
                // Its time may run out while it is queued, and nothing else.
                CallResult::Failed { code } if code != "deadline_exceeded" => {
                    found.push(format!("ended with `{code}`"));
                }
                CallResult::Answered { run }
                    if !self.runs.get(run).is_some_and(|run| run.effect) =>
                {
                    found.push(format!("answered by {run}, which had no effect"));
                }
                _ => {}
            }
        }
        let refused = |end: &CallResult| matches!(end, CallResult::Refused { .. });
        if !self.runs.is_empty() && !self.is_open() && self.ends().all(refused) {
            found.push("reported as not queued, and run".to_owned());
        }
        found
    }

    /// Returns `true` if the caller received no outcome.
    pub(super) fn unended(&self) -> bool {
        let is_reported = |end: &CallResult| {
            matches!(end, CallResult::Answered { .. } | CallResult::Failed { .. })
        };
        !self.ends().any(is_reported) && !self.runs.values().any(|run| run.settled)
    }

    /// Returns `true` if its caller may have withdrawn it, so that a later run belongs to another
    /// request.
    pub(super) fn was_withdrawn(&self) -> bool {
        self.ends().any(|end| matches!(end, CallResult::TimedOut | CallResult::Unknown))
    }

    pub(super) fn count(&self, calls: &mut Calls) {
        for op in self.ops.values() {
            let Some(kind) = op.kind else { continue };
            *calls.by_kind.entry(kind).or_default() += 1;
            calls.made += 1;
            match op.ended.as_ref().map(|(_, end)| end) {
                Some(CallResult::Queued) => calls.queued += 1,
                Some(CallResult::Answered { .. }) => calls.answered += 1,
                Some(CallResult::Refused { .. } | CallResult::Missing) => calls.refused += 1,
                Some(CallResult::Unknown) => calls.unknown += 1,
                Some(CallResult::Failed { .. } | CallResult::Odd { .. }) => calls.failed += 1,
                Some(CallResult::TimedOut) => calls.timed_out += 1,
                _ => {}
            }
        }
    }
}
