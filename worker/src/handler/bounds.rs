//! The limits of programs and endpoints that run jobs, and the depth of every answer.

use std::time::Duration;

use redcall_common::depth::{data_fits, error_data_fits};
use redcall_common::error::Code;

use super::error::HandlerError;

/// The limits of a run of a command or of a request to an endpoint, and of a request to a process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Largest answer, bytes.
    pub(crate) max_answer: usize,
    /// Deepest JSON nesting of a frame, levels.
    pub(crate) depth: usize,
    /// Time between SIGTERM and SIGKILL.
    pub(crate) cancel_grace: Duration,
}

impl Bounds {
    /// [`check_depth`] with these limits.
    ///
    /// # Errors
    ///
    /// `too_large`.
    pub(super) fn check_depth(&self, data: &[u8]) -> Result<(), HandlerError> {
        check_depth(data, self.depth)
    }

    /// Returns `true` if the data of an error fit into its frame.
    pub(super) fn is_shallow_detail(&self, data: &str) -> bool {
        error_data_fits(data.as_bytes(), self.depth)
    }
}

/// Refuses an answer that nests too deep: readers of many languages fail on such.
///
/// # Errors
///
/// `too_large`.
pub(crate) fn check_depth(data: &[u8], depth: usize) -> Result<(), HandlerError> {
    if data_fits(data, depth) {
        return Ok(());
    }
    let message =
        format!("the frame of the answer would nest deeper than {depth} levels (limits.depth)");
    Err(HandlerError::with_code(Code::TooLarge, message))
}
