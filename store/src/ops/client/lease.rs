//! `lease.lua`: leases on names, each with one owner at a time.

use std::time::Duration;

use redcall_common::time::millis;
use redis::Value;

use crate::connection::Connection;
use crate::error::StoreError;
use crate::ops::delegate::delegate;
use crate::ops::reply::{Whole, read};
use crate::script::{Reading, Script, script};

script! {
    /// Take, renew or release a lease.
    LEASE = "client/lease", Runs, of Client;
    read |value, _| done(value).map(Reading::of)
}

/// Returns the scripts of this file.
pub(crate) fn scripts() -> Vec<&'static Script> {
    vec![&LEASE]
}

/// A change of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseChange {
    /// Take it, if no other owner has it.
    Take,
    /// Renew one's own.
    Renew,
    /// Release one's own.
    Release,
}

/// Leases on names.
pub trait LeaseOps {
    /// Makes a change of the lease at `key` for `owner`, whose name no other owner ever has. A
    /// lease that is taken or renewed ends after `time_limit`. Returns `false` if another owner has
    /// it or, unless it is taken, if it has ended.
    ///
    /// # Errors
    ///
    /// After [`StoreError::Lost`] the change may have been made; a retry is harmless.
    fn change_lease(
        &self,
        key: &str,
        owner: &str,
        change: (LeaseChange, Duration),
        timeout: Duration,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;
}

impl LeaseOps for Connection {
    delegate! {
        fn change_lease(
            &self, key: &str, owner: &str, change: (LeaseChange, Duration), timeout: Duration
        ) -> Result<bool, StoreError>;
    }
}

impl Connection {
    pub(crate) async fn change_lease(
        &self,
        key: &str,
        owner: &str,
        (change, time_limit): (LeaseChange, Duration),
        timeout: Duration,
    ) -> Result<bool, StoreError> {
        let verb = match change {
            LeaseChange::Take => "take",
            LeaseChange::Renew => "renew",
            LeaseChange::Release => "release",
        };
        let mut call = LEASE.call(&[key]);
        call.arg(verb).arg(owner).arg(millis(time_limit));
        done(self.run(&LEASE, &call, timeout).await?)
    }
}

/// Reads the script's reply.
fn done(value: Value) -> Result<bool, StoreError> {
    match read::<Whole>("lease", value)?.0 {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(StoreError::Unexpected("lease")),
    }
}
