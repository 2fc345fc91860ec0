//! `cancel.lua`: withdraw requests that are not wanted any more.

use std::time::Duration;

use redis::Value;

use super::reply::read;
use super::settle::{EndedDeferred, ended_deferred};
use crate::error::StoreError;
use crate::link::Link;
use crate::script::CANCEL;
use redcall_common::keys::QueueKeys;

/// One request to withdraw.
#[derive(Debug, Clone)]
pub struct Withdrawn {
    /// Its id.
    pub id: String,
    /// How long it is remembered that it was withdrawn, ms: as long as it may come to a worker.
    pub ttl_ms: u64,
    /// The record of the idempotency key under which it was placed: [`QueueKeys::idem`].
    pub record: Option<String>,
}

/// What a withdrawal has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancellation {
    /// A worker runs the request, and has been told.
    Running,
    /// The request was not due yet. A worker ends it without starting it.
    Delayed,
    /// It was to be answered later, and is answered `cancelled` now.
    Deferred,
    /// Neither: it waits in its queue, and is then not started any more; or it has ended, or there
    /// is no such request.
    Unseen,
    /// Nothing was done: others want the answer under the same idempotency key, or it is there.
    Kept,
}

impl Link {
    /// Withdraws requests of one queue; one result each, in order, and of what was to be notified.
    ///
    /// # Errors
    ///
    /// After [`StoreError::Lost`] they may have been withdrawn; calling again is harmless.
    pub async fn cancel(
        &self,
        keys: &QueueKeys,
        requests: &[Withdrawn],
        within: Duration,
    ) -> Result<(Vec<Cancellation>, Vec<EndedDeferred>), StoreError> {
        let own = [
            keys.queue(),
            keys.live(),
            keys.schedule(),
            keys.scheduled(),
            keys.cancelled(),
            keys.control(),
        ];
        let mut all: Vec<&str> = own.iter().map(String::as_str).collect();
        all.extend(requests.iter().filter_map(|one| one.record.as_deref()));
        let mut call = CANCEL.call(&all);
        let mut next = own.len();
        for Withdrawn { id, ttl_ms, record } in requests {
            next += usize::from(record.is_some());
            call.arg(id).arg(ttl_ms).arg(if record.is_some() { next } else { 0 });
        }
        found(self.run(&CANCEL, &call, within).await?, requests.len())
    }
}

/// Reads the script's answer to `count` withdrawals.
pub(super) fn found(
    value: Value,
    count: usize,
) -> Result<(Vec<Cancellation>, Vec<EndedDeferred>), StoreError> {
    let (found, ended): (String, Vec<String>) = read("cancel", value)?;
    let cancelled = found.bytes().map(|found| match found {
        b'L' => Ok(Cancellation::Running),
        b'S' => Ok(Cancellation::Delayed),
        b'D' => Ok(Cancellation::Deferred),
        b'Q' => Ok(Cancellation::Unseen),
        b'K' => Ok(Cancellation::Kept),
        _ => Err(StoreError::Unexpected("cancel")),
    });
    let cancelled: Vec<Cancellation> = cancelled.collect::<Result<_, _>>()?;
    if cancelled.len() != count {
        return Err(StoreError::Unexpected("cancel"));
    }
    Ok((cancelled, ended_deferred("cancel", ended)?))
}
