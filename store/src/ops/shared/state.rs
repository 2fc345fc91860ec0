//! Reads the state of a service instance. `poll.lua` writes it, see `outcome.rs`.

use std::time::Duration;

use redis::{Cmd, Value};

use crate::connection::Connection;
use crate::error::StoreError;
use crate::ops::reply::read;
use redcall_common::auth::{Forged, Keyring, StateClaims};
use redcall_common::keys::QueueKeys;

/// The state of an instance after its last task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceState {
    /// JSON.
    pub state: String,
    /// The number of changes since its creation, including this one.
    pub version: u64,
    /// Its signature; `None` if the request that wrote it was not signed.
    pub seal: Option<String>,
}

impl InstanceState {
    /// Verifies that a worker with one of these keys has written this state of `instance` on
    /// `queue`.
    ///
    /// # Errors
    ///
    /// As [`Keyring::verify_state`].
    pub fn judge(&self, keyring: &Keyring, queue: &str, instance: &str) -> Result<(), Forged> {
        let claims = StateClaims { queue, instance, version: self.version, state: &self.state };
        keyring.verify_state(&claims, self.seal.as_deref())
    }
}

impl Connection {
    pub(crate) async fn instance_state(
        &self,
        keys: &QueueKeys,
        instance: &str,
        timeout: Duration,
    ) -> Result<Option<InstanceState>, StoreError> {
        let call = call(keys, instance);
        let value = self.with(timeout, async |conn| call.query_async(conn).await).await?;
        found(value)
    }
}

pub(crate) fn call(keys: &QueueKeys, instance: &str) -> Cmd {
    let mut call = redis::cmd("HMGET");
    call.arg(keys.state(instance)).arg(&["state", "version", "seal"]);
    call
}

/// Reads the fields of the hash.
pub(crate) fn found(value: Value) -> Result<Option<InstanceState>, StoreError> {
    match read::<(Option<String>, Option<String>, Option<String>)>("state", value)? {
        (None, None, _) => Ok(None),
        (Some(state), Some(version), seal) => {
            let version = version.parse().map_err(|_| StoreError::Unexpected("state"))?;
            Ok(Some(InstanceState { state, version, seal }))
        }
        _ => Err(StoreError::Unexpected("state")),
    }
}
