//! `times.lua`: times at Redis that lie further ahead than Redcall writes them.

use std::time::Duration;

use redis::{Cmd, Value};

use super::reply::{Whole, read};
use crate::error::StoreError;
use crate::link::Link;
use crate::script::{Script, TIMES};
use redcall_common::keys::QueueKeys;
use redcall_common::time::millis;

/// The longest lease that `worker.lease` can be.
pub(crate) const LONGEST_LEASE: Duration = Duration::from_secs(3600);
/// The longest time for which a cancelled id is kept: a deadline is no further off than a year.
const LONGEST_TOMBSTONE: Duration = Duration::from_secs(366 * 24 * 3600);

/// A time at Redis that was ahead of what Redcall writes there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeAhead {
    /// The key, by the last part of its name.
    pub key: String,
    /// Which member or field of it.
    pub member: String,
    /// How far it was ahead of Redis's time of now.
    pub ahead: Duration,
}

impl Link {
    /// Brings times of a queue back within their bounds, for a worker with this lease: those that
    /// were written while Redis's clock was ahead. Returns what it has brought back. Looks at a
    /// bounded number of times, another one at each call where there are more.
    ///
    /// # Errors
    ///
    /// When Redis cannot be reached within `within` or refuses.
    pub async fn bound_times(
        &self,
        keys: &QueueKeys,
        lease: Duration,
        within: Duration,
    ) -> Result<Vec<TimeAhead>, StoreError> {
        let call = call(&TIMES, keys, lease, true);
        ahead(self.run(&TIMES, &call, within).await?)
    }
}

/// The call of `script`, which is one of both that look at times.
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
    call.arg(millis(LONGEST_LEASE)).arg(millis(LONGEST_TOMBSTONE));
    call
}

/// Reads the script's answer.
pub(crate) fn ahead(value: Value) -> Result<Vec<TimeAhead>, StoreError> {
    let found: Vec<(String, String, Whole)> = read("times", value)?;
    let ahead = found.into_iter().map(|(key, member, ahead)| TimeAhead {
        key,
        member,
        ahead: Duration::from_millis(ahead.0),
    });
    Ok(ahead.collect())
}
