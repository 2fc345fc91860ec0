//! `promote.lua`: move what is due from the schedule to the queue.

use std::time::Duration;

use redis::Value;

use super::reply::{Whole, read};
use crate::error::StoreError;
use crate::link::Link;
use crate::script::PROMOTE;
use redcall_common::keys::QueueKeys;
use redcall_common::limits::COMMAND_BYTES;

/// How many requests one call moves at most.
const PORTION: usize = 1000;

/// What a promotion brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promoted {
    /// How many requests went to the queue.
    pub moved: usize,
    /// When the next one is due, Redis time in ms; in the past if there were too many for one
    /// call. `None`: nothing is scheduled.
    pub due_ms: Option<u64>,
}

impl Link {
    /// Moves what is due; whoever else does the same at the same time finds nothing.
    ///
    /// # Errors
    ///
    /// After [`StoreError::Lost`] it may have been done; doing it again is harmless.
    pub async fn promote(
        &self,
        keys: &QueueKeys,
        within: Duration,
    ) -> Result<Promoted, StoreError> {
        let (schedule, scheduled) = (keys.schedule(), keys.scheduled());
        let mut call = PROMOTE.call(&[&schedule, &scheduled, &keys.queue(), &keys.attempts()]);
        call.arg(PORTION).arg(COMMAND_BYTES);
        promoted(self.run(&PROMOTE, &call, within).await?)
    }
}

/// Reads the script's answer.
pub(super) fn promoted(value: Value) -> Result<Promoted, StoreError> {
    let (moved, due): (Whole, Whole) = read("promote", value)?;
    Ok(Promoted { moved: moved.count(), due_ms: (due.0 > 0).then_some(due.0) })
}
