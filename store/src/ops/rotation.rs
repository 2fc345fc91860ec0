//! `rotation.lua`: keys of limited names that are in no place, or in several.

use std::fmt;
use std::time::Duration;

use redis::{Cmd, Value};

use super::poll::Rule;
use super::reply::read;
use crate::error::StoreError;
use crate::link::Link;
use crate::script::{ROTATION, Script};
use redcall_common::keys::QueueKeys;
use redcall_common::time::millis;

/// How many keys one call looks at.
const MOST: usize = 1000;

/// What is wrong with a key of a limited name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// It has sorted requests and is in no place: they would never run.
    Lost,
    /// It is in several places.
    Twice,
    /// It is held although one more of its requests may run.
    Held,
    /// It is throttled for longer than its rate can.
    Ahead,
    /// A request counts as running that does not run.
    Running,
    /// A request runs and does not count, or has a slot and does not run.
    Permits,
    /// The count of the name's sorted requests is wrong.
    Count,
    /// Something of another type lies at one of the keys.
    Type,
}

/// A key of a limited name that is not where it has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitFault {
    /// The job's name; empty where that cannot be told.
    pub name: String,
    /// The key that its limit counts by; of [`Fault::Type`] the key at Redis.
    pub key: String,
    /// What is wrong.
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
            Self::Lost => "has sorted requests and gets no turn",
            Self::Twice => "is in several places",
            Self::Held => "is held although one more may run",
            Self::Ahead => "is throttled for longer than its rate can",
            Self::Running => "counts a request that does not run",
            Self::Permits => "runs a request that does not count, or the reverse",
            Self::Count => "counts its sorted requests wrongly",
            Self::Type => "has a value of another type",
        })
    }
}

impl Link {
    /// Looks at keys of limited names, as `rules` sort them, and repairs what is wrong with them:
    /// a key that was in no place gets its poll again. Returns what it has repaired, and what it
    /// cannot. Looks at a bounded number of keys, another one at each call where there are more.
    ///
    /// # Errors
    ///
    /// When Redis cannot be reached within `within` or refuses.
    pub async fn repair_limits(
        &self,
        keys: &QueueKeys,
        rules: &[Rule],
        within: Duration,
    ) -> Result<Vec<LimitFault>, StoreError> {
        let call = call(&ROTATION, keys, rules, &[], true);
        faults(self.run(&ROTATION, &call, within).await?)
    }
}

/// The call of `script`, which is one of both that look at limits; `others`: names whose rules are
/// not known.
pub(crate) fn call(
    script: &Script,
    keys: &QueueKeys,
    rules: &[Rule],
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
    call.arg(i32::from(repairs)).arg(keys.base()).arg(MOST);
    for rule in rules {
        let window = rule.limit.rate.map_or(0, |rate| millis(rate.per));
        call.arg(&rule.name).arg(rule.limit.concurrency.unwrap_or(0)).arg(window);
    }
    for name in others {
        call.arg(name).arg(-1).arg(0);
    }
    call
}

/// Reads the script's answer.
pub(crate) fn faults(value: Value) -> Result<Vec<LimitFault>, StoreError> {
    let found: Vec<(String, String, String)> = read("rotation", value)?;
    let fault = |(name, key, what): (String, String, String)| {
        let known = Fault::ALL.iter().find(|(text, _)| *text == what);
        let (_, fault) = *known.ok_or(StoreError::Unexpected("rotation"))?;
        Ok(LimitFault { name, key, fault })
    };
    found.into_iter().map(fault).collect()
}
