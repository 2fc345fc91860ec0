//! `settle.lua`: settle a deferred request by its token.

use std::time::Duration;

use redis::Value;

use crate::connection::Connection;
use crate::error::StoreError;
use crate::ops::deferred::{COVERED, Covered, DeferredRun};
use crate::ops::reply::read;
use crate::script::{Reading, script};
use redcall_common::keys::QueueKeys;

script! {
    /// Settle a deferred request by its token.
    SETTLE = "client/settle", Runs, of Client;
    with UNDO, BYTES, KEPT, ANSWERS, RECORD, STATUS, SCAN, JOINED, CALLS, DEFERRED;
    read |value, _| settled(value).map(Reading::of)
}

/// The result of a settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeferredSettled {
    /// It took effect.
    Yes,
    /// The request was settled before.
    Before,
    /// The token is unknown or expired.
    Unknown,
    /// The settlement came too late: the request has just ended with a timeout.
    Late,
}

impl Connection {
    pub(crate) async fn deferred(
        &self,
        keys: &QueueKeys,
        id: &str,
        digest: &str,
        timeout: Duration,
    ) -> Result<Option<(DeferredRun, Covered)>, StoreError> {
        let mut get = redis::cmd("HMGET");
        get.arg(keys.deferred(id)).arg(&COVERED).arg("seal");
        type Raw = Vec<Option<String>>;
        let mut found: Raw = self.with(timeout, async |conn| get.query_async(conn).await).await?;
        if found.len() != COVERED.len() + 1 {
            return Err(StoreError::Unexpected("HMGET"));
        }
        let seal = found.pop().flatten();
        let [token, name, attempt, seq, key, call, nonce, event, ..] = &found[..] else {
            return Err(StoreError::Unexpected("HMGET"));
        };
        if token.as_deref() != Some(digest) {
            return Ok(None);
        }
        let number = |text: &Option<String>| text.as_deref().and_then(|text| text.parse().ok());
        let run = DeferredRun {
            name: name.clone().unwrap_or_default(),
            attempt: number(attempt).and_then(|it| u32::try_from(it).ok()).unwrap_or_default(),
            seq: number(seq).unwrap_or_default(),
            key: key.clone(),
            call: call.clone(),
            nonce: nonce.clone(),
            notify: event.as_deref() == Some("1"),
        };
        let mut parts = vec![Some(keys.name().to_owned()), Some(id.to_owned())];
        parts.append(&mut found);
        Ok(Some((run, Covered { parts, seal })))
    }

    pub(crate) async fn settle_deferred(
        &self,
        keys: &QueueKeys,
        (id, digest, by): (&str, &str, &str),
        (tail, error, keep): (&str, Option<(&str, &str)>, bool),
        timeout: Duration,
    ) -> Result<DeferredSettled, StoreError> {
        let (code, reason) = error.unwrap_or_default();
        let mut call = SETTLE.call(&[keys.deferred(id)]);
        call.arg(id).arg(digest).arg(by).arg(tail).arg(code).arg(reason).arg(i32::from(keep));
        settled(self.run(&SETTLE, &call, timeout).await?)
    }
}

/// Reads the script's reply.
pub(crate) fn settled(value: Value) -> Result<DeferredSettled, StoreError> {
    Ok(match read("settle", value)? {
        1 => DeferredSettled::Yes,
        0 => DeferredSettled::Before,
        -1 => DeferredSettled::Unknown,
        2 => DeferredSettled::Late,
        _ => return Err(StoreError::Unexpected("settle")),
    })
}
