//! The lines that callers, handlers and attackers write down, and reading them again.
//!
//! One JSON object per line, in three files of the run's folder, each line in one write: several
//! processes share a file, and one that is killed leaves whole lines.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use rustix::time::{ClockId, clock_gettime};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Where in its life a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Step {
    /// At the begin of its handler, which blocks its thread: a job of a lane has no lease yet.
    Young,
    /// Inside its handler, before its effect.
    In,
    /// After its handler's effect, before its settlement.
    After,
}

/// The place of a request at Redis when its worker is struck.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Place {
    /// Alone in a lane inbox.
    Young,
    /// In a lane inbox, with others.
    Batch,
    /// It has a lease.
    Leased,
    /// None of these, or Redis was away.
    Elsewhere,
}

/// The connections that an attack affects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Affected {
    Callers,
    Workers,
    All,
}

/// A fault of replies that lasts for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ReplyFault {
    Late,
    Lost,
}

/// The ways in which a job is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// Called and waited for.
    Waited,
    /// Called with others and waited for, by jobs that end at once: they run in lanes.
    Quick,
    /// Fire and forget.
    Forgotten,
    /// Followed, frame by frame.
    Streamed,
    /// Delayed; its answer is fetched later.
    Scheduled,
    /// Called twice under one idempotency key, and again until there is an answer.
    Idempotent,
    /// Its handler fails before it answers.
    Retried,
}

/// A line of a caller.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct CallLine {
    /// When, as [`now_us`].
    pub(crate) at: u64,
    /// The job that is called: a name of the caller's own, which goes with the data.
    pub(crate) job: String,
    /// Which of the caller's operations: a call, or the fetch of an answer.
    pub(crate) op: u64,
    #[serde(flatten)]
    pub(crate) what: CallResult,
}

/// The result of an operation, as its caller saw it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum CallResult {
    /// It begins, and has to end within this time.
    Begins { kind: Kind, timeout_ms: u64 },
    /// It ended: the request is queued.
    Queued,
    /// It ended with the answer that this run of the handler gave.
    Answered { run: String },
    /// It ended: nothing was queued.
    Refused { code: String },
    /// It ended: there is nothing to fetch.
    Missing,
    /// The operation ended without a result: the job may be queued or not, finished or not.
    Unknown,
    /// It ended: the job has ended with this error.
    Failed { code: String },
    /// It timed out.
    TimedOut,
    /// It ended with a result that must not occur, described by `what`.
    Odd { what: String },
    /// A frame of a followed job: how far it was, in which attempt.
    Received { attempt: u32, percent: u32 },
    /// Long after the end, the answer of this run was found at the response key.
    FoundLater { run: String },
}

/// A line of a handler.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct EffectLine {
    pub(crate) at: u64,
    pub(crate) job: String,
    /// The run, unlike any other: `<process>-<number>`.
    pub(crate) run: String,
    /// The worker's process.
    pub(crate) pid: u32,
    pub(crate) attempt: u32,
    pub(crate) event: RunEvent,
}

/// An event of a handler's run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RunEvent {
    Started,
    /// The effect for which it was called.
    Effect,
    /// It ends with an error, as its data demand.
    Fails,
    /// It answered its own request, and the answer was accepted.
    Settled,
    /// It answered its own request, and the answer was refused.
    Refused,
}

/// A line of an attacker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct AttackLine {
    pub(crate) at: u64,
    #[serde(flatten)]
    pub(crate) what: AttackEvent,
}

/// An attack.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum AttackEvent {
    /// The worker that runs `job` is dead.
    Kill { pid: u32, job: String, run: String, step: Step, place: Place },
    /// The worker that runs `job` is stopped.
    Stop { pid: u32, job: String, run: String, step: Step, place: Place },
    /// It continues.
    Continue { pid: u32 },
    /// Redis is dead.
    RedisGone,
    /// Redis is back.
    RedisBack,
    /// Connections break, while this many requests are in lane inboxes.
    Cut { whose: Affected, young: u64 },
    /// Replies come late, or get lost.
    Spell { what: ReplyFault, whose: Affected },
    /// They do not any more. Of the replies to lanes, this many were late or lost.
    SpellOver { what: ReplyFault, of_lanes: u64 },
    /// A worker was started whose log goes to a full device.
    FullLog { pid: u32 },
    /// The workers' logs are not read.
    LogsUnread,
    /// They are read again.
    LogsRead,
    /// Redis refuses writes, since it cannot save.
    DiskFull,
    /// It takes them again.
    DiskFree,
    /// Callers and workers lack this right.
    RightTaken { right: String },
    /// They have it again.
    RightGiven,
    /// Redis's clock differs from the machine's by this time.
    ClockStepped { ms: i64 },
    /// It is right again.
    ClockBack,
    /// No job was held in time, so no worker was attacked.
    Missed,
}

/// Returns the time in µs of the clock that all processes of the machine share and no process sets.
pub(crate) fn now_us() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    seconds * 1_000_000 + u64::try_from(time.tv_nsec).unwrap_or_default() / 1000
}

/// The files of a run, in its folder.
pub(crate) struct Files {
    pub(crate) calls: PathBuf,
    pub(crate) effects: PathBuf,
    pub(crate) blows: PathBuf,
}

impl Files {
    pub(crate) fn in_folder(folder: &Path) -> Self {
        let file = |name| folder.join(name);
        Self {
            calls: file("calls.jsonl"),
            effects: file("effects.jsonl"),
            blows: file("attacks.jsonl"),
        }
    }
}

/// A file that lines are written to, by any number of threads and processes.
#[derive(Debug)]
pub(crate) struct Log(File);

impl Log {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        OpenOptions::new().create(true).append(true).open(path).map(Self)
    }

    /// Writes `line` down, before anything that comes after it can happen.
    ///
    /// # Panics
    ///
    /// When it cannot be written: without a history there is nothing to judge.
    pub(crate) fn write(&self, line: &impl Serialize) {
        let written = serde_json::to_vec(line).map_err(io::Error::other).and_then(|mut line| {
            line.push(b'\n');
            (&self.0).write_all(&line)
        });
        if let Err(error) = written {
            panic!("the history cannot be written: {error}");
        }
    }
}

/// A file of lines that is read as it grows.
pub(crate) struct Lines {
    path: PathBuf,
    read: u64,
}

impl Lines {
    pub(crate) fn of(path: &Path) -> Self {
        Self { path: path.to_owned(), read: 0 }
    }

    /// The lines that have come since the last time. The order is that of the writing.
    pub(crate) fn more<T: DeserializeOwned>(&mut self) -> io::Result<Vec<T>> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        file.seek(SeekFrom::Start(self.read))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        // An incomplete line is read the next time.
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        self.read += whole as u64;
        let lines = text[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).map_err(io::Error::from)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_as_they_were_written_and_half_ones_later() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        let mut lines = Lines::of(&path);
        assert_eq!(lines.more::<AttackLine>().unwrap(), []);
        let log = Log::open(&path).unwrap();
        let struck = |at| AttackLine { at, what: AttackEvent::Continue { pid: 7 } };
        log.write(&struck(1));
        assert_eq!(lines.more::<AttackLine>().unwrap(), [struck(1)]);
        let whole = serde_json::to_string(&struck(2)).unwrap() + "\n";
        let (first, second) = whole.split_at(5);
        (&log.0).write_all(first.as_bytes()).unwrap();
        assert_eq!(lines.more::<AttackLine>().unwrap(), []);
        (&log.0).write_all(second.as_bytes()).unwrap();
        assert_eq!(lines.more::<AttackLine>().unwrap(), [struck(2)]);
    }
}
