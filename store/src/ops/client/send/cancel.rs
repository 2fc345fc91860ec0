//! `cancel.lua`: withdraw cancelled requests.

use std::time::Duration;

use redis::Value;

use crate::connection::Connection;
use crate::error::StoreError;
use crate::ops::deferred::{EndedDeferred, ended_deferred};
use crate::ops::reply::read;
use crate::script::{Reading, script};
use redcall_common::keys::QueueKeys;

script! {
    /// Withdraw requests.
    CANCEL = "client/cancel", Runs, of Client;
    with UNDO, LIVE, BYTES, KEPT, ANSWERS, RECORD, STATUS, SCAN, JOINED, CALLS, DEFERRED;
    read |value, count| found(value, count).map(|all| Reading::counted(all.0.len(), all))
}

/// One request to withdraw.
#[derive(Debug, Clone)]
pub struct CancelRequest {
    /// Its id.
    pub id: String,
    /// How long the withdrawal is remembered, ms: as long as the request may reach a worker.
    pub ttl_ms: u64,
    /// The record of the idempotency key of its call: [`QueueKeys::idem`].
    pub record: Option<String>,
}

/// The state in which a withdrawal found the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancellation {
    /// A worker runs the request, and has been notified.
    Running,
    /// The request was not due yet. A worker ends it without starting it.
    Delayed,
    /// The request was deferred, and has now ended as `cancelled`.
    Deferred,
    /// None of these: the request waits in its queue and will not start, or has ended, or does not
    /// exist.
    Unseen,
    /// Nothing changed: other callers wait under the same idempotency key, or the call has ended.
    Kept,
}

impl Connection {
    pub(crate) async fn cancel(
        &self,
        keys: &QueueKeys,
        requests: &[CancelRequest],
        timeout: Duration,
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
        for CancelRequest { id, ttl_ms, record } in requests {
            next += usize::from(record.is_some());
            call.arg(id).arg(ttl_ms).arg(if record.is_some() { next } else { 0 });
        }
        found(self.run(&CANCEL, &call, timeout).await?, requests.len())
    }
}

/// Reads the script's reply to `count` withdrawals.
pub(crate) fn found(
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
