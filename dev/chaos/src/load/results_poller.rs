//! The late check: reads the response key long after the caller has taken its answer.
//!
//! A worker that lost its lease but settled would leave another answer there. The check uses plain
//! commands on the server's own socket, past the client and past every fault.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::time::Duration;

use redcall_testkit::RawReader;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::time::interval;

use super::call_log::CallLog;
use super::finished::Finished;
use crate::history::CallResult;

/// How long after the answer: longer than any worker is stopped, and shorter than a second answer
/// would be kept there, which is 30 s and the call's timeout.
const CHECK_AFTER: Duration = Duration::from_secs(20);
/// The number of keys per read.
const AT_ONCE: usize = 500;

/// Checks the response keys of finished calls.
pub(crate) struct ResultsPoller {
    reader: RawReader,
    finished: mpsc::UnboundedReceiver<Finished>,
    waiting: VecDeque<Finished>,
}

impl ResultsPoller {
    pub(crate) fn new(
        socket: &Path,
        finished: mpsc::UnboundedReceiver<Finished>,
    ) -> io::Result<Self> {
        Ok(Self { reader: RawReader::new(socket)?, finished, waiting: VecDeque::new() })
    }

    /// Checks every second; checks the rest when `last` fires, and returns.
    pub(crate) async fn run(
        mut self,
        log: CallLog,
        mut last: oneshot::Receiver<()>,
    ) -> io::Result<()> {
        let mut tick = interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                _ = tick.tick() => {
                    // Redis may be away just now: then the next time.
                    let _ = self.check(&log, CHECK_AFTER).await;
                }
                _ = &mut last => return self.check(&log, Duration::ZERO).await,
            }
        }
    }

    /// Checks the calls that finished at least `ago` before.
    async fn check(&mut self, log: &CallLog, ago: Duration) -> io::Result<()> {
        while let Ok(finished) = self.finished.try_recv() {
            self.waiting.push_back(finished);
        }
        loop {
            let due = self.waiting.iter().take(AT_ONCE).take_while(|it| it.at.elapsed() >= ago);
            let keys: Vec<&str> = due.map(|finished| finished.key.as_str()).collect();
            if keys.is_empty() {
                return Ok(());
            }
            let found = self.reader.lists(&keys).await?;
            for (finished, frames) in self.waiting.drain(..found.len()).zip(found) {
                for run in frames.iter().filter_map(|frame| ended_by(frame)) {
                    log.log_result(&finished.job, finished.op, CallResult::FoundLater { run });
                }
            }
        }
    }
}

/// Which run a final frame is of; `None` of any other.
fn ended_by(frame: &str) -> Option<String> {
    let frame: Value = serde_json::from_str(frame).ok()?;
    match frame["type"].as_str()? {
        "result" => Some(frame["data"]["run"].as_str().unwrap_or("?").to_owned()),
        "error" => Some(format!("error {}", frame["error"]["code"])),
        _ => None,
    }
}
