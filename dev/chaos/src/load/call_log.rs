//! The callers' log: a line when an operation begins and a line when it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redcall_client::{CallError, Code, Response};
use tokio::sync::{mpsc, watch};

use super::finished::Finished;
use crate::history::{CallLine, CallResult, Kind, Log, now_us};
use crate::report::Progress;
use crate::work::Answer;

/// The callers' log, shared by all of them.
#[derive(Clone)]
pub(crate) struct CallLog {
    log: Arc<Log>,
    ops: Arc<AtomicU64>,
    finished: mpsc::UnboundedSender<Finished>,
    progress: watch::Sender<Progress>,
}

impl CallLog {
    pub(crate) fn new(
        log: Arc<Log>,
        finished: mpsc::UnboundedSender<Finished>,
        progress: watch::Sender<Progress>,
    ) -> Self {
        Self { log, ops: Arc::default(), finished, progress }
    }

    /// Logs the start of an operation on `job`, which has to end in time.
    pub(crate) fn begins(&self, job: &str, kind: Kind, timeout: Duration) -> Op {
        let number = self.ops.fetch_add(1, Ordering::Relaxed);
        let op = Op { log: self.clone(), job: job.to_owned(), number };
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        op.log_result(CallResult::Begins { kind, timeout_ms });
        self.progress.send_modify(|progress| progress.calls += 1);
        op
    }

    pub(crate) fn log_result(&self, job: &str, op: u64, result: CallResult) {
        self.log.write(&CallLine { at: now_us(), job: job.to_owned(), op, what: result });
    }
}

/// One operation of a caller.
pub(crate) struct Op {
    log: CallLog,
    job: String,
    number: u64,
}

impl Op {
    pub(crate) fn log_result(&self, result: CallResult) {
        self.log.log_result(&self.job, self.number, result);
    }

    /// It was to queue a request.
    pub(crate) fn sent<T>(self, result: Result<T, CallError>) -> Option<T> {
        match result {
            Ok(receipt) => {
                self.ends(CallResult::Queued);
                Some(receipt)
            }
            Err(error) => {
                self.ends(why(&error));
                None
            }
        }
    }

    /// Records the result of an operation that fetches an answer. Returns `true` if fetching again
    /// is useless.
    pub(crate) fn answered(self, result: Result<Response, CallError>) -> bool {
        let response = match result {
            Ok(response) => response,
            Err(error) => {
                let is_rejected = matches!(error, CallError::Rejected { .. });
                let ended = !is_rejected
                    && !error.is_read_or_admin()
                    && !matches!(error, CallError::Unknown { .. });
                self.ends(why(&error));
                return ended;
            }
        };
        match response.json::<Answer>() {
            Ok(answer) if answer.job == self.job => {
                let (job, op, key) = (self.job.clone(), self.number, response.response_key);
                let _ = self.log.finished.send(Finished::now(job, op, key));
                self.ends(CallResult::Answered { run: answer.run });
            }
            _ => self.ends(CallResult::Odd { what: format!("answered {}", response.data.get()) }),
        }
        true
    }

    fn ends(self, result: CallResult) {
        self.log_result(result);
        self.log.progress.send_modify(|progress| progress.ended += 1);
    }
}

/// Why an operation brought nothing.
fn why(error: &CallError) -> CallResult {
    let code = error.code().to_string();
    match error {
        CallError::Refused { error, .. } if error.code == Code::NotFound => CallResult::Missing,
        CallError::Rejected { .. } | CallError::Refused { .. } => CallResult::Refused { code },
        CallError::Unknown { .. } | CallError::Unanswered { .. } => CallResult::Unknown,
        CallError::Failed(_) => CallResult::Failed { code },
        CallError::TimedOut => CallResult::TimedOut,
        CallError::Cancelled | CallError::Encode(_) | CallError::Decode(_) => {
            CallResult::Odd { what: error.to_string() }
        }
    }
}
