//! The error of a failed write to standard output, and the exit codes of programs that meet it.

use std::io;

/// The exit code of a program that cannot write to its standard output.
pub const UNWRITTEN: u8 = 5;
/// The exit code of a program after the reader of its output has closed the pipe, as in shells: 128
/// and SIGPIPE.
pub const CLOSED: u8 = 141;

/// An error of writing to standard output.
#[derive(Debug, thiserror::Error)]
#[error("standard output cannot be written")]
pub struct Unwritten {
    source: io::Error,
    done: Option<String>,
}

impl Unwritten {
    /// Adds the work that is done despite the error, as a sentence.
    #[must_use]
    pub fn after(mut self, done: impl Into<String>) -> Self {
        self.done = Some(done.into());
        self
    }

    /// Returns the work that is done despite the error.
    #[must_use]
    pub fn done(&self) -> Option<&str> {
        self.done.as_deref()
    }

    /// Returns `true` if the reader has closed the pipe, and wants no more output.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.source.kind() == io::ErrorKind::BrokenPipe
    }

    /// Returns the exit code of a program that ends with this error.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        if self.is_closed() { CLOSED } else { UNWRITTEN }
    }
}

impl From<io::Error> for Unwritten {
    fn from(source: io::Error) -> Self {
        Self { source, done: None }
    }
}
