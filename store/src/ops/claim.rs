//! `claim.lua` and `unique.lua`: may a leased request start, or is it the same as another one?

use std::time::Duration;

use redis::Value;

use super::poll::WorkerKeys;
use super::reply::read;
use crate::error::StoreError;
use crate::link::Link;
use crate::script::{CLAIM, UNIQUE};
use redcall_common::keys::QueueKeys;
use redcall_common::request::ReplyTo;
use redcall_common::time::millis;

/// How long the record of a call is kept that does not end: longer than any of its workers lives.
const RUNNING_TTL: Duration = Duration::from_secs(30 * 86_400);

/// A leased request with an idempotency key.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// The request's id.
    pub id: &'a str,
    /// What names the call: [`redcall_common::digest::of_call`].
    pub call: &'a str,
    /// Of its data: [`redcall_common::digest::of_data`].
    pub data: &'a str,
    /// When its caller stops caring, Redis time in ms; `None`: never.
    pub deadline_ms: Option<u64>,
    /// Where its caller waits; `None` if nobody does.
    pub reply: Option<&'a ReplyTo>,
    /// How long its states are kept, ms; `None`: none are.
    pub status_ttl_ms: Option<u64>,
}

impl Claim<'_> {
    /// What its caller wants if it joins another call, see `joined.lua`.
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

/// What a request under an idempotency key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// The call itself: it may run until this deadline, Redis time in ms.
    Run(Option<u64>),
    /// The same as one that runs: its caller hears that one's end.
    Joined,
    /// The same as one that has ended: the ending frame without its first two fields.
    Ended(String),
    /// Not the same: the key stands for other data.
    Conflict,
    /// The same as one for which as many wait as may.
    TooManyWaiters,
    /// Not this worker's any more.
    LeaseLost,
}

impl Link {
    /// Finds out what a leased request under an idempotency key is; asking again is harmless.
    ///
    /// # Errors
    ///
    /// After [`StoreError::Lost`] it may be the call already.
    pub async fn claim(
        &self,
        keys: &WorkerKeys,
        claim: &Claim<'_>,
        within: Duration,
    ) -> Result<Claimed, StoreError> {
        let queue = &keys.queue;
        let (record, cancelled, control) =
            (queue.idem(claim.call), queue.cancelled(), queue.control());
        let mut call = CLAIM.call(&[&keys.leases, &record, &cancelled, &control]);
        call.arg(claim.id).arg(claim.data).arg(claim.deadline_ms.unwrap_or(0));
        call.arg(RUNNING_TTL.as_millis() as u64).arg(claim.waiter().unwrap_or_default());
        claimed(self.run(&CLAIM, &call, within).await?)
    }

    /// Until when the call named `call` is wanted, Redis time in ms (0: for ever), while `id` is
    /// the request that runs for it. Changes nothing.
    ///
    /// # Errors
    ///
    /// When Redis cannot be reached within `within` or refuses.
    pub async fn wanted_until(
        &self,
        keys: &QueueKeys,
        call: &str,
        id: &str,
        within: Duration,
    ) -> Result<Option<u64>, StoreError> {
        let mut get = redis::cmd("HMGET");
        get.arg(keys.idem(call)).arg("id").arg("deadline");
        type Known = (Option<String>, Option<u64>);
        let (runs, deadline): Known =
            self.with(within, async |conn| get.query_async(conn).await).await?;
        Ok(deadline.filter(|_| runs.as_deref() == Some(id)))
    }

    /// Whether request `id`, enqueued at `at_ms` (Redis time; `None`: now), is the first of its
    /// kind within `window`. The kind is [`redcall_common::digest::of_job`]. Asking again is harmless.
    ///
    /// # Errors
    ///
    /// After [`StoreError::Lost`] it may hold the window already.
    pub async fn is_first(
        &self,
        keys: &QueueKeys,
        kind: &str,
        id: &str,
        at_ms: Option<u64>,
        window: Duration,
        within: Duration,
    ) -> Result<bool, StoreError> {
        let mut call = UNIQUE.call(&[&keys.unique(kind)]);
        let window = millis(window);
        call.arg(id).arg(at_ms.unwrap_or(0)).arg(window);
        first(self.run(&UNIQUE, &call, within).await?)
    }
}

/// Reads the answer of `claim.lua`.
pub(super) fn claimed(value: Value) -> Result<Claimed, StoreError> {
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

/// Reads the answer of `unique.lua`.
pub(super) fn first(value: Value) -> Result<bool, StoreError> {
    let first: i64 = read("unique", value)?;
    Ok(first == 1)
}
