//! The stderr of a process in the log: each line with the job that ran when it was written.
//!
//! A process writes to two pipes, which two tasks read. So the reader of stderr is notified when a
//! job begins and ends, and first reads the lines written before that.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::process::ChildStderr;
use tokio::sync::{mpsc, oneshot};

use crate::handler::program::budget::Budget;
use crate::handler::program::stderr::{Lines, TARGET};
use crate::run::request::Request;

/// Most buffered lines that are read before the reader handles a message.
const MAX_BUFFERED_LINES: usize = 10_000;

/// The fields of a line: the job that wrote it.
struct OfJob {
    id: String,
    name: String,
    attempt: u32,
}

/// A message to the reader.
enum JobChange {
    /// A job begins; the sender is used when all earlier lines are read.
    Begins(OfJob, oneshot::Sender<()>),
    /// The job has ended.
    Ended,
}

/// The reader of a process's stderr. When this is dropped, it reads on to the end.
pub(super) struct Stderr {
    changes: mpsc::UnboundedSender<JobChange>,
}

impl Stderr {
    /// Logs the stderr of process `pid`, within `budget`.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    pub(super) fn log(stderr: ChildStderr, budget: &Arc<Budget>, pid: u32) -> io::Result<Self> {
        let (changes, received) = mpsc::unbounded_channel();
        tokio::spawn(read(Lines::of(stderr, budget)?, pid, received));
        Ok(Self { changes })
    }

    /// Attributes further lines to `request`.
    pub(super) async fn begins(&self, request: &Request) {
        let (id, name) = (request.id().to_owned(), request.name().to_owned());
        let job = OfJob { id, name, attempt: request.attempt() };
        let (read, is_read) = oneshot::channel();
        // Both fail if the process has closed its stderr.
        if self.changes.send(JobChange::Begins(job, read)).is_ok() {
            let _ = is_read.await;
        }
    }

    /// Attributes further lines to no job.
    pub(super) fn ended(&self) {
        let _ = self.changes.send(JobChange::Ended);
    }
}

async fn read(mut lines: Lines, pid: u32, mut changes: mpsc::UnboundedReceiver<JobChange>) {
    let (mut job, mut is_open) = (None, true);
    loop {
        tokio::select! {
            more = lines.next(|line| log_line(job.as_ref(), pid, line)) => {
                if !goes_on(&more) {
                    return;
                }
            }
            change = changes.recv(), if is_open => {
                for _ in 0..MAX_BUFFERED_LINES {
                    match lines.next(|line| log_line(job.as_ref(), pid, line)).now_or_never() {
                        None => break,
                        Some(more) if goes_on(&more) => {}
                        Some(_) => return,
                    }
                }
                match change {
                    Some(JobChange::Begins(next, read)) => {
                        job = Some(next);
                        let _ = read.send(());
                    }
                    Some(JobChange::Ended) => job = None,
                    // The last lines belong to the process's last job.
                    None => is_open = false,
                }
            }
        }
    }
}

fn goes_on(more: &io::Result<ControlFlow<()>>) -> bool {
    matches!(more, Ok(more) if more.is_continue())
}

fn log_line(job: Option<&OfJob>, pid: u32, line: &str) {
    let id = job.map(|job| &*job.id);
    let (name, attempt) = (job.map(|job| &*job.name), job.map(|job| job.attempt));
    tracing::info!(target: TARGET, id, name, attempt, pid, "stderr: {line}");
}
