//! The stderr of a process in the log: each line under the job that ran when it was written.
//!
//! A process writes to two pipes, which two tasks read. So the reader of stderr is told when a job
//! begins and ends, and first reads what was written before that.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::process::ChildStderr;
use tokio::sync::{mpsc, oneshot};

use crate::handler::budget::Budget;
use crate::handler::stderr::{Lines, TARGET};
use crate::request::Request;

/// How many lines that lie in the pipe are read before the reader goes on.
const MOST: usize = 10_000;

/// The fields of a line: the job that wrote it.
struct OfJob {
    id: String,
    name: String,
    attempt: u32,
}

/// A message to the reader.
enum Mark {
    /// A job begins; the sender is used when all that was written before is read.
    Begins(OfJob, oneshot::Sender<()>),
    /// It has ended.
    Ended,
}

/// The reader of a process's stderr. It reads on to the end when this is dropped.
pub(super) struct Stderr {
    marks: mpsc::UnboundedSender<Mark>,
}

impl Stderr {
    /// Logs what the process `pid` writes, within `budget`.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    pub(super) fn log(stderr: ChildStderr, budget: &Arc<Budget>, pid: u32) -> io::Result<Self> {
        let (marks, heard) = mpsc::unbounded_channel();
        tokio::spawn(read(Lines::of(stderr, budget)?, pid, heard));
        Ok(Self { marks })
    }

    /// Lines from now on are those of `request`.
    pub(super) async fn begins(&self, request: &Request) {
        let (id, name) = (request.id().to_owned(), request.name().to_owned());
        let job = OfJob { id, name, attempt: request.attempt() };
        let (read, is_read) = oneshot::channel();
        // Both fail where the process has closed its stderr.
        if self.marks.send(Mark::Begins(job, read)).is_ok() {
            let _ = is_read.await;
        }
    }

    /// Lines from now on are those of no job.
    pub(super) fn ended(&self) {
        let _ = self.marks.send(Mark::Ended);
    }
}

async fn read(mut lines: Lines, pid: u32, mut marks: mpsc::UnboundedReceiver<Mark>) {
    let (mut job, mut is_open) = (None, true);
    loop {
        tokio::select! {
            more = lines.next(|line| say(job.as_ref(), pid, line)) => {
                if !goes_on(&more) {
                    return;
                }
            }
            mark = marks.recv(), if is_open => {
                for _ in 0..MOST {
                    match lines.next(|line| say(job.as_ref(), pid, line)).now_or_never() {
                        None => break,
                        Some(more) if goes_on(&more) => {}
                        Some(_) => return,
                    }
                }
                match mark {
                    Some(Mark::Begins(next, read)) => {
                        job = Some(next);
                        let _ = read.send(());
                    }
                    Some(Mark::Ended) => job = None,
                    // Its last words are those of the job that it had.
                    None => is_open = false,
                }
            }
        }
    }
}

fn goes_on(more: &io::Result<ControlFlow<()>>) -> bool {
    matches!(more, Ok(more) if more.is_continue())
}

fn say(job: Option<&OfJob>, pid: u32, line: &str) {
    let id = job.map(|job| &*job.id);
    let (name, attempt) = (job.map(|job| &*job.name), job.map(|job| job.attempt));
    tracing::info!(target: TARGET, id, name, attempt, pid, "stderr: {line}");
}
