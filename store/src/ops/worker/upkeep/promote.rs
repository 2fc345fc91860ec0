//! `promote.lua`: move due requests from the schedule to the queue.

use std::time::Duration;

use redis::Value;

use crate::connection::Connection;
use crate::error::StoreError;
use crate::ops::reply::{Whole, read};
use crate::script::{Reading, script};
use redcall_common::keys::QueueKeys;
use redcall_common::limits::COMMAND_BYTES;

script! {
    /// Move due requests to the queue.
    PROMOTE = "worker/promote", Runs, of Worker;
    with UNDO;
    read |value, _| promoted(value).map(Reading::of)
}

/// The maximum number of requests that one call moves.
const BATCH_MAX: usize = 1000;

/// The result of a promotion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promoted {
    /// How many requests were moved to the queue.
    pub moved: usize,
    /// When the next one is due, Redis time in ms; in the past if one call could not move all.
    /// `None`: nothing is scheduled.
    pub due_ms: Option<u64>,
}

impl Connection {
    pub(crate) async fn promote(
        &self,
        keys: &QueueKeys,
        timeout: Duration,
    ) -> Result<Promoted, StoreError> {
        let (schedule, scheduled) = (keys.schedule(), keys.scheduled());
        let mut call = PROMOTE.call(&[&schedule, &scheduled, &keys.queue(), &keys.attempts()]);
        call.arg(BATCH_MAX).arg(COMMAND_BYTES);
        promoted(self.run(&PROMOTE, &call, timeout).await?)
    }
}

/// Reads the script's reply.
pub(crate) fn promoted(value: Value) -> Result<Promoted, StoreError> {
    let (moved, due): (Whole, Whole) = read("promote", value)?;
    Ok(Promoted { moved: moved.count(), due_ms: (due.0 > 0).then_some(due.0) })
}
