//! What a program says on stderr goes into the log, line by line.

use std::io;
use std::ops::ControlFlow;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};

/// Longest line that is logged, bytes; longer ones are cut into several.
const LINE: u64 = 8 << 10;

/// The lines of a program's stderr.
pub(super) struct Lines<R> {
    stderr: BufReader<R>,
    line: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(super) fn of(stderr: R) -> Self {
        Self { stderr: BufReader::new(stderr), line: Vec::new() }
    }

    /// Hands the next line to `log`; breaks at the end. Cancel safe: what was read of a line stays.
    ///
    /// # Errors
    ///
    /// What reading fails with.
    pub(super) async fn next(&mut self, log: impl FnOnce(&str)) -> io::Result<ControlFlow<()>> {
        let left = LINE.saturating_sub(self.line.len() as u64);
        let read = (&mut self.stderr).take(left).read_until(b'\n', &mut self.line).await?;
        if read == 0 && self.line.is_empty() {
            return Ok(ControlFlow::Break(()));
        }
        log(String::from_utf8_lossy(&self.line).trim_end());
        self.line.clear();
        Ok(ControlFlow::Continue(()))
    }
}
