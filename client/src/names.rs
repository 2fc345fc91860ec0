//! Checks of ids and queue names given by callers.

use redcall_common::error::Code;
use redcall_common::name::{is_id, is_queue};

use crate::error::CallError;

/// Returns an error unless `id` is a valid request id.
pub(crate) fn check_id(id: &str) -> Result<(), CallError> {
    if is_id(id) {
        return Ok(());
    }
    Err(CallError::refused(
        Code::InvalidRequest,
        format!("`{id}` is not a valid request id: expected 1 to 64 of [A-Za-z0-9_-]"),
    ))
}

/// Returns an error unless `queue` is a valid queue name.
pub(crate) fn check_queue(queue: &str) -> Result<(), CallError> {
    match queue_problem(queue) {
        None => Ok(()),
        Some(message) => Err(CallError::refused(Code::InvalidRequest, message)),
    }
}

/// Returns the message of the error unless `queue` is a valid queue name.
pub(crate) fn queue_problem(queue: &str) -> Option<String> {
    (!is_queue(queue))
        .then(|| format!("`{queue}` is not a valid queue name: expected 1 to 64 of [A-Za-z0-9_.-]"))
}
