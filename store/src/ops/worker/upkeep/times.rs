//! `times.lua`: times at Redis that are further ahead than Redcall writes them.

use std::time::Duration;

use redis::{Cmd, Value};

use crate::connection::Connection;
use crate::error::StoreError;
use crate::ops::reply::{Whole, read};
use crate::script::{Reading, Script, script};
use redcall_common::keys::QueueKeys;
use redcall_common::limits::{MAX_DEFERRAL, MAX_RETRY_DELAY};
use redcall_common::time::millis;

script! {
    /// Correct times that are too far ahead.
    TIMES = "shared/times", Runs, of Worker;
    read |value, _| ahead(value).map(Reading::list)
}

script! {
    /// Report times that are too far ahead.
    TIMES_SEEN = "shared/times", Reads, of Admin;
    read |value, _| ahead(value).map(Reading::list)
}

/// The upper limit of `worker.lease`.
pub(crate) const LONGEST_LEASE: Duration = Duration::from_secs(3600);
/// The longest TTL of a cancelled id: deadlines are at most a year ahead.
const LONGEST_TOMBSTONE: Duration = Duration::from_secs(366 * 24 * 3600);

/// A time at Redis that was further ahead than Redcall writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeAhead {
    /// The key, by the last part of its name.
    pub key: String,
    /// Its member or field.
    pub member: String,
    /// How far it was ahead of Redis's current time.
    pub ahead: Duration,
}

impl Connection {
    pub(crate) async fn bound_times(
        &self,
        keys: &QueueKeys,
        lease: Duration,
        timeout: Duration,
    ) -> Result<Vec<TimeAhead>, StoreError> {
        let call = call(&TIMES, keys, lease, true);
        ahead(self.run(&TIMES, &call, timeout).await?)
    }
}

/// Builds the call of `script`, one of both that check times.
pub(crate) fn call(script: &Script, keys: &QueueKeys, lease: Duration, repairs: bool) -> Cmd {
    let mut call = script.call(&[
        keys.workers(),
        keys.names(),
        keys.ticks(),
        keys.deferred_ids(),
        keys.schedule(),
        keys.attempts(),
        keys.cancelled(),
    ]);
    call.arg(i32::from(repairs)).arg(keys.base()).arg(millis(lease));
    for longest in [LONGEST_LEASE, LONGEST_TOMBSTONE, MAX_DEFERRAL, MAX_RETRY_DELAY] {
        call.arg(millis(longest));
    }
    call
}

/// Reads the script's reply.
pub(crate) fn ahead(value: Value) -> Result<Vec<TimeAhead>, StoreError> {
    let found: Vec<(String, String, Whole)> = read("times", value)?;
    let ahead = found.into_iter().map(|(key, member, ahead)| TimeAhead {
        key,
        member,
        ahead: Duration::from_millis(ahead.0),
    });
    Ok(ahead.collect())
}
