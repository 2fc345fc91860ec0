//! Logs the stderr of a program, line by line, within the budget of its job. Long lines are split.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::unix::pipe::Receiver;
use tokio::process::ChildStderr;

use super::budget::{Budget, LINE};
use crate::handler::paced::{MESSAGES, Paced};

/// The target of the lines: bounded by their budget only. Users name it in filters.
pub(crate) const TARGET: &str = "redcall_worker::handler::stderr";

/// Buffer size of reads.
const PIPE: usize = 16 << 10;

/// The lines of a program's stderr.
pub(crate) struct Lines {
    stderr: BufReader<Paced<Receiver>>,
    line: Vec<u8>,
    budget: Arc<Budget>,
}

impl Lines {
    /// # Errors
    ///
    /// If the system refuses.
    pub(crate) fn of(stderr: ChildStderr, budget: &Arc<Budget>) -> io::Result<Self> {
        // A program that floods it is slowed down beyond 16 MB a second.
        let stderr = Paced::pipe(stderr.into_owned_fd(), MESSAGES, |_| false)?;
        let stderr = BufReader::with_capacity(PIPE, stderr);
        Ok(Self { stderr, line: Vec::new(), budget: budget.clone() })
    }

    /// Passes the next line to `log`, or drops it; breaks at the end. Cancel safe: a partly read
    /// line is kept.
    ///
    /// # Errors
    ///
    /// The error of the read.
    pub(crate) async fn next(&mut self, log: impl FnOnce(&str)) -> io::Result<ControlFlow<()>> {
        if self.line.is_empty() && self.budget.is_spent() {
            return self.discard().await;
        }
        let left = LINE.saturating_sub(self.line.len() as u64);
        let read = (&mut self.stderr).take(left).read_until(b'\n', &mut self.line).await?;
        if read == 0 && self.line.is_empty() {
            return Ok(ControlFlow::Break(()));
        }
        if self.budget.admit(self.line.len() as u64) {
            log(String::from_utf8_lossy(&self.line).trim_end());
        }
        self.line.clear();
        Ok(ControlFlow::Continue(()))
    }

    /// Drops the buffered bytes.
    async fn discard(&mut self) -> io::Result<ControlFlow<()>> {
        let bytes = self.stderr.fill_buf().await?;
        if bytes.is_empty() {
            return Ok(ControlFlow::Break(()));
        }
        let (length, lines) = (bytes.len(), bytes.iter().filter(|byte| **byte == b'\n').count());
        self.stderr.consume(length);
        // Of a long line without an end, each piece would be a line.
        let pieces = (length as u64).div_ceil(LINE);
        self.budget.drop_lines((lines as u64).max(pieces), length as u64);
        Ok(ControlFlow::Continue(()))
    }
}
