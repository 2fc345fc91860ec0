//! The figures of a run, and the verdict.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::path::PathBuf;

use serde::Serialize;

use crate::history::Kind;

/// How far a run is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Progress {
    /// The current activity.
    pub stage: Stage,
    /// Operations that callers have begun.
    pub calls: u64,
    /// Those that have ended.
    pub ended: u64,
    /// Workers killed.
    pub kills: u64,
    /// Workers stopped, and gone on.
    pub stops: u64,
    /// Restarts of Redis.
    pub restarts: u64,
    /// Cuts.
    pub cuts: u64,
    /// Spells: of late or lost replies, unread logs, a full disk, a lost right, a wrong clock.
    pub spells: u64,
}

/// The activity of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stage {
    /// Servers, workers and callers come up.
    #[default]
    Begins,
    /// Calls and attacks.
    Attacks,
    /// Waits for the operations that have begun.
    Waits,
    /// The history is judged.
    Judges,
}

/// The callers' operations and their results.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Calls {
    /// Operations in all: calls, and fetches of answers.
    pub made: u64,
    /// By kind.
    pub(crate) by_kind: BTreeMap<Kind, u64>,
    /// Operations confirmed as queued.
    pub queued: u64,
    /// Operations with an answer.
    pub answered: u64,
    /// Operations refused: not queued.
    pub refused: u64,
    /// Operations that may be queued.
    pub unknown: u64,
    /// Operations whose job ended with an error.
    pub failed: u64,
    /// Operations without a result in time.
    pub timed_out: u64,
    /// How long after its time the latest operation ended, ms.
    pub latest_after_its_time_ms: u64,
}

impl Calls {
    pub(crate) fn latest(&mut self, late_us: u64) {
        self.latest_after_its_time_ms = self.latest_after_its_time_ms.max(late_us / 1000);
    }
}

/// The findings that fail a run: all have to be 0.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Found {
    /// Queued for certain, and never done; or its answer was gone.
    pub lost: u64,
    /// Ended more than once.
    pub settled_twice: u64,
    /// Operations that ended more than a second after their time, or never.
    pub hung: u64,
    /// Streamed jobs whose frames arrived in another order than they were sent.
    pub out_of_order: u64,
    /// Errors, answers and runs that nothing accounts for.
    pub unexplained: u64,
    /// Kills after which the job was not started again within two leases of the last trouble.
    pub recovered_late: u64,
    /// Workers that ended by themselves.
    pub fallen_workers: u64,
}

impl Found {
    /// Returns `true` if there are no findings.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        let Self { lost, settled_twice, hung, out_of_order, .. } = self;
        let Self { unexplained, recovered_late, fallen_workers, .. } = self;
        let all = [lost, settled_twice, hung, out_of_order];
        let rest = [unexplained, recovered_late, fallen_workers];
        all.into_iter().chain(rest).all(|count| *count == 0)
    }
}

/// How soon killed workers' jobs were started again.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Recovery {
    /// Kills with nothing else wrong from a lease before to two leases after.
    pub kills_alone: u64,
    /// The slowest after these, ms.
    pub slowest_ms: u64,
    /// The other kills.
    pub kills_amid_other_trouble: u64,
    /// The slowest after those, ms from the kill.
    pub slowest_amid_other_trouble_ms: u64,
}

/// The options of a run and its findings.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// `true` if every guarantee held.
    pub ok: bool,
    /// The seed, to draw the same plan again.
    pub seed: u64,
    /// How long calls were made, ms.
    pub duration_ms: u64,
    /// `true` if it was ended early.
    pub interrupted: bool,
    /// Worker processes.
    pub workers: usize,
    /// Callers.
    pub callers: usize,
    /// The lease, ms.
    pub lease_ms: u64,
    /// Calls.
    pub calls: Calls,
    /// Attacks, by name.
    pub attacks: BTreeMap<&'static str, u64>,
    /// Requested attacks that this machine does not permit, each with the reason.
    pub not_attacked: Vec<String>,
    /// The findings that fail the run.
    pub found: Found,
    /// Jobs that had their effect more than once, which is permitted when their worker dies.
    pub run_twice: u64,
    /// Take-over after kills.
    pub recovery: Recovery,
    /// Some of the findings, in words.
    pub examples: Vec<String>,
    /// The folder of the whole history, if it was kept.
    pub history: Option<PathBuf>,
}

impl Display for Report {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let Self { calls, found, recovery, .. } = self;
        let seconds = self.duration_ms as f64 / 1000.0;
        let (workers, callers, seed) = (self.workers, self.callers, self.seed);
        writeln!(out, "{seconds:.0} s, {workers} workers, {callers} callers, seed {seed}")?;
        let mut row = |name: &str, text: String| writeln!(out, "{name:<16} {text}");
        let attacks = self.attacks.iter();
        let attacks: Vec<String> =
            attacks.map(|(name, count)| format!("{count} {}", name.replace('_', " "))).collect();
        row("attacks", attacks.join(", "))?;
        for missing in &self.not_attacked {
            row("not attacked", missing.clone())?;
        }
        row("calls", format!("{} ({} per s)", calls.made, (calls.made as f64 / seconds) as u64))?;
        row("queued", calls.queued.to_string())?;
        row("answered", calls.answered.to_string())?;
        let (refused, unknown) = (calls.refused, calls.unknown);
        let errors = format!("{refused} not queued, {unknown} unknown, {} failed", calls.failed);
        row("errors", format!("{errors}, {} timed out", calls.timed_out))?;
        row("lost", found.lost.to_string())?;
        row("run twice", format!("{} (allowed)", self.run_twice))?;
        row("settled twice", found.settled_twice.to_string())?;
        row("hung", found.hung.to_string())?;
        row("out of order", found.out_of_order.to_string())?;
        row("unexplained", found.unexplained.to_string())?;
        row("recovered late", found.recovered_late.to_string())?;
        if found.fallen_workers > 0 {
            row("crashed workers", found.fallen_workers.to_string())?;
        }
        let (alone, lease) = (recovery.kills_alone, self.lease_ms);
        let slowest = recovery.slowest_ms;
        row("slowest recovery", format!("{slowest} ms ({alone} kills, lease {lease} ms)"))?;
        let (amid, slowest) =
            (recovery.kills_amid_other_trouble, recovery.slowest_amid_other_trouble_ms);
        row("  other faults", format!("{slowest} ms ({amid} kills during another fault)"))?;
        row("latest end", format!("{} ms after its timeout", calls.latest_after_its_time_ms))?;
        for example in &self.examples {
            writeln!(out, "  {example}")?;
        }
        if let Some(history) = &self.history {
            writeln!(out, "the history is in {}", history.display())?;
        }
        writeln!(
            out,
            "{}",
            if self.ok { "all guarantees held" } else { "SOME GUARANTEES WERE BROKEN" }
        )
    }
}
