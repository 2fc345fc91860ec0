//! `claim.lua` and `unique.lua`: may a leased request start, or does it duplicate another?

use std::time::Duration;

use redis::Value;

use crate::connection::Connection;
use crate::error::StoreError;
use crate::ops::reply::read;
use crate::ops::worker::polls::poll::WorkerKeys;
use crate::script::{Reading, script};
use redcall_common::keys::QueueKeys;
use redcall_common::request::ReplyTo;
use redcall_common::time::millis;

script! {
    /// Find out whether a request with an idempotency key is the call or a duplicate.
    CLAIM = "worker/claim", Runs, of Worker;
    with UNDO, STATUS, SCAN, JOINED, CANCELLED_CALL;
    read |value, _| claimed(value).map(Reading::of)
}

script! {
    /// Run one request of a kind per window.
    UNIQUE = "worker/unique", Runs, of Worker;
    read |value, _| first(value).map(Reading::of)
}

/// The TTL of the record of a running call: longer than any of its workers lives.
const RUNNING_TTL: Duration = Duration::from_secs(30 * 86_400);

/// A leased request with an idempotency key.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// The request's id.
    pub id: &'a str,
    /// The digest that identifies the call: [`redcall_common::digest::of_call`].
    pub call: &'a str,
    /// The digest of its data: [`redcall_common::digest::of_data`].
    pub data: &'a str,
    /// Its caller's deadline, Redis time in ms; `None`: no deadline.
    pub deadline_ms: Option<u64>,
    /// Where its caller waits; `None` if no caller waits.
    pub reply: Option<&'a ReplyTo>,
    /// How long its states are kept, ms; `None`: not at all.
    pub status_ttl_ms: Option<u64>,
}

impl Claim<'_> {
    /// Returns the request's entry among the waiters if it joins another call, see `joined.lua`.
    fn waiter(&self) -> Option<String> {
        let (ttl_ms, notify) = match self.reply {
            Some(reply) => (reply.ttl_ms, reply.notify.as_deref()),
            None if self.status_ttl_ms.is_some() => (0, None),
            None => return None,
        };
        let kept = self.status_ttl_ms.map(|ttl_ms| format!(" {ttl_ms}")).unwrap_or_default();
        Some(format!("{ttl_ms} {}{kept}", notify.unwrap_or("-")))
    }
}

/// The relation of a request to the call of its idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// It is the call: it may run until this deadline, Redis time in ms.
    Run(Option<u64>),
    /// It duplicates a running call: its caller gets that call's final frame.
    Joined,
    /// It duplicates a call that has ended: the final frame without its first two fields.
    Ended(String),
    /// The key was used with other data.
    Conflict,
    /// It duplicates a call that already has the maximum number of waiting callers.
    TooManyWaiters,
    /// This worker no longer holds its lease.
    LeaseLost,
}

impl Connection {
    pub(crate) async fn claim(
        &self,
        keys: &WorkerKeys,
        claim: &Claim<'_>,
        timeout: Duration,
    ) -> Result<Claimed, StoreError> {
        let queue = &keys.queue;
        let (record, cancelled, control) =
            (queue.idem(claim.call), queue.cancelled(), queue.control());
        let mut call = CLAIM.call(&[&keys.leases, &record, &cancelled, &control]);
        call.arg(claim.id).arg(claim.data).arg(claim.deadline_ms.unwrap_or(0));
        call.arg(RUNNING_TTL.as_millis() as u64).arg(claim.waiter().unwrap_or_default());
        claimed(self.run(&CLAIM, &call, timeout).await?)
    }

    pub(crate) async fn wanted_until(
        &self,
        keys: &QueueKeys,
        call: &str,
        id: &str,
        timeout: Duration,
    ) -> Result<Option<u64>, StoreError> {
        let mut get = redis::cmd("HMGET");
        get.arg(keys.idem(call)).arg("id").arg("deadline");
        type Known = (Option<String>, Option<u64>);
        let (runs, deadline): Known =
            self.with(timeout, async |conn| get.query_async(conn).await).await?;
        Ok(deadline.filter(|_| runs.as_deref() == Some(id)))
    }

    pub(crate) async fn is_first(
        &self,
        keys: &QueueKeys,
        kind: &str,
        id: &str,
        at_ms: Option<u64>,
        window: Duration,
        timeout: Duration,
    ) -> Result<bool, StoreError> {
        let mut call = UNIQUE.call(&[&keys.unique(kind)]);
        let window = millis(window);
        call.arg(id).arg(at_ms.unwrap_or(0)).arg(window);
        first(self.run(&UNIQUE, &call, timeout).await?)
    }
}

/// Reads the reply of `claim.lua`.
pub(crate) fn claimed(value: Value) -> Result<Claimed, StoreError> {
    let (code, text): (String, String) = read("claim", value)?;
    Ok(match code.as_str() {
        "run" => Claimed::Run(text.parse().ok().filter(|ms| *ms > 0)),
        "joined" => Claimed::Joined,
        "ended" => Claimed::Ended(text),
        "conflict" => Claimed::Conflict,
        "too_many_waiters" => Claimed::TooManyWaiters,
        "lost" => Claimed::LeaseLost,
        _ => return Err(StoreError::Unexpected("claim")),
    })
}

/// Reads the reply of `unique.lua`.
pub(crate) fn first(value: Value) -> Result<bool, StoreError> {
    let first: i64 = read("unique", value)?;
    Ok(first == 1)
}
