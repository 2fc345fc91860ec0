//! `rotation.lua`: keys of limited names that are in no list of the rotation, or in several.

use std::fmt;
use std::time::Duration;

use redis::{Cmd, Value};

use crate::connection::Connection;
use crate::error::StoreError;
use crate::ops::reply::read;
use crate::ops::worker::polls::poll::LimitRule;
use crate::script::{Reading, Script, script};
use redcall_common::keys::QueueKeys;
use redcall_common::time::millis;

script! {
    /// Return keys of limited names to the rotation.
    ROTATION = "shared/rotation", Runs, of Worker;
    with UNDO, LIVE, LIMITS;
    read |value, _| faults(value).map(Reading::list)
}

script! {
    /// Report keys of limited names that are not in exactly one place.
    ROTATION_SEEN = "shared/rotation", Reads, of Admin;
    with UNDO, LIVE, LIMITS;
    read |value, _| faults(value).map(Reading::list)
}

/// The maximum number of keys that one call checks.
const KEYS_AT_ONCE: usize = 1000;

/// A fault of a limited name's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// It has partitioned requests and is in no list: they would never run.
    Lost,
    /// It is in several lists.
    Twice,
    /// It is held although another of its requests may run.
    Held,
    /// It is throttled for longer than its rate allows.
    Ahead,
    /// A request counts as running but does not run.
    Running,
    /// A request runs and does not count, or has a permit and does not run.
    Permits,
    /// The count of the name's partitioned requests is wrong.
    Count,
    /// One of the keys has a value of another type.
    Type,
}

/// A faulty key of a limited name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitFault {
    /// The job's name; empty if unknown.
    pub name: String,
    /// The key by which its limit counts; for [`Fault::Type`] the key at Redis.
    pub key: String,
    /// The fault.
    pub fault: Fault,
}

impl Fault {
    const ALL: [(&str, Self); 8] = [
        ("lost", Self::Lost),
        ("twice", Self::Twice),
        ("held", Self::Held),
        ("ahead", Self::Ahead),
        ("running", Self::Running),
        ("permits", Self::Permits),
        ("count", Self::Count),
        ("type", Self::Type),
    ];
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lost => "has partitioned requests and gets no turn",
            Self::Twice => "is in several places",
            Self::Held => "is held although one more may run",
            Self::Ahead => "is throttled for longer than its rate can",
            Self::Running => "counts a request that does not run",
            Self::Permits => "runs a request that does not count, or the reverse",
            Self::Count => "counts its partitioned requests wrongly",
            Self::Type => "has a value of another type",
        })
    }
}

impl Connection {
    pub(crate) async fn repair_limits(
        &self,
        keys: &QueueKeys,
        rules: &[LimitRule],
        timeout: Duration,
    ) -> Result<Vec<LimitFault>, StoreError> {
        let call = call(&ROTATION, keys, rules, &[], true);
        faults(self.run(&ROTATION, &call, timeout).await?)
    }
}

/// Builds the call of `script`, one of both that check limits; `others` are names whose rules are
/// unknown.
pub(crate) fn call(
    script: &Script,
    keys: &QueueKeys,
    rules: &[LimitRule],
    others: &[String],
    repairs: bool,
) -> Cmd {
    let mut call = script.call(&[
        keys.limited_names(),
        keys.permits(),
        keys.throttled(),
        keys.live(),
        keys.control(),
    ]);
    call.arg(i32::from(repairs)).arg(keys.base()).arg(KEYS_AT_ONCE);
    for rule in rules {
        let window = rule.limit.rate.map_or(0, |rate| millis(rate.per));
        call.arg(&rule.name).arg(rule.limit.concurrency.unwrap_or(0)).arg(window);
    }
    for name in others {
        call.arg(name).arg(-1).arg(0);
    }
    call
}

/// Reads the script's reply.
pub(crate) fn faults(value: Value) -> Result<Vec<LimitFault>, StoreError> {
    let found: Vec<(String, String, String)> = read("rotation", value)?;
    let fault = |(name, key, what): (String, String, String)| {
        let known = Fault::ALL.iter().find(|(text, _)| *text == what);
        let (_, fault) = *known.ok_or(StoreError::Unexpected("rotation"))?;
        Ok(LimitFault { name, key, fault })
    };
    found.into_iter().map(fault).collect()
}
