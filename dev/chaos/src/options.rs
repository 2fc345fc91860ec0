//! The options of a run.

use std::path::PathBuf;
use std::time::Duration;

/// How often each thing is done in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// A worker is killed while it holds a lease; every fourth between its handler's effect and
    /// its settlement.
    pub kills: u32,
    /// Stops of a worker for longer than its lease.
    pub stops: u32,
    /// Redis is killed and started again.
    pub restarts: u32,
    /// All connections of the callers, of the workers or of both break.
    pub cuts: u32,
    /// Spells in which replies come late and in pieces.
    pub delays: u32,
    /// Spells in which replies are lost after their effect, their connections with them.
    pub losses: u32,
    /// Spells in which the workers' logs are not read while they log much. If there are any, every
    /// fourth worker that is started logs to a full device.
    pub logs: u32,
    /// Spells in which Redis refuses writes, since it cannot save to its disk.
    pub disks: u32,
    /// Spells in which callers and workers lack a right that they need.
    pub rights: u32,
    /// Spells in which Redis's clock is ahead or behind.
    pub clocks: u32,
}

impl Counts {
    /// Returns the usual counts for a run of this length: in five minutes 60 kills, 15 stops, 10
    /// restarts, 20 cuts, 10 spells of each kind and 5 of a full disk.
    #[must_use]
    pub fn usual(duration: Duration) -> Self {
        let every = |seconds: u64| {
            let times = duration.as_secs().div_ceil(seconds).max(1);
            u32::try_from(times).unwrap_or(u32::MAX)
        };
        Self {
            kills: every(5),
            stops: every(20),
            restarts: every(30),
            cuts: every(15),
            delays: every(30),
            losses: every(30),
            logs: every(30),
            disks: every(60),
            rights: every(30),
            clocks: every(30),
        }
    }
}

/// The options of a run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The time during which calls are made and attacks carried out. Operations that have begun are
    /// then waited for, in bounded time.
    pub duration: Duration,
    /// Worker processes, at least two: a killed worker needs another one to take over.
    pub workers: usize,
    /// Callers, each with its own client.
    pub callers: usize,
    /// The workers' lease, 300 ms to 5 s.
    pub lease: Duration,
    /// How long each caller waits at most.
    pub timeout: Duration,
    /// How often each attack is made.
    pub counts: Counts,
    /// From which the plan and each caller's choices are drawn.
    pub seed: u64,
    /// The program that becomes a worker process, with its first arguments; the arguments of
    /// [`crate::Post`] follow.
    pub worker: (PathBuf, Vec<String>),
    /// `true` if the folder with all logs stays; it also stays if there is a finding.
    pub keep: bool,
}
