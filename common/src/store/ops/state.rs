//! Reading the state of a service's instance. It is written by `cycle.lua`, see `outcome.rs`.

use std::time::Duration;

use redis::Value;

use super::read;
use crate::store::error::StoreError;
use crate::store::keys::QueueKeys;
use crate::store::link::Link;

/// The state of an instance, as the last task has left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceState {
    /// JSON.
    pub state: String,
    /// How many changes there were since its beginning, that included.
    pub version: u64,
}

impl Link {
    /// The state of an instance; `None` if it was never initialised, has ended, or was evicted.
    ///
    /// # Errors
    ///
    /// When Redis cannot be reached within `within` or refuses; [`StoreError::Unexpected`] if
    /// something else than a state lies there.
    pub async fn instance_state(
        &self,
        keys: &QueueKeys,
        instance: &str,
        within: Duration,
    ) -> Result<Option<InstanceState>, StoreError> {
        let call =
            redis::cmd("HMGET").arg(keys.state(instance)).arg("state").arg("version").to_owned();
        let value = self.with(within, async |conn| call.query_async(conn).await).await?;
        found(value)
    }
}

/// Reads what the hash has.
pub(super) fn found(value: Value) -> Result<Option<InstanceState>, StoreError> {
    match read::<(Option<String>, Option<String>)>("state", value)? {
        (None, None) => Ok(None),
        (Some(state), Some(version)) => {
            let version = version.parse().map_err(|_| StoreError::Unexpected("state"))?;
            Ok(Some(InstanceState { state, version }))
        }
        _ => Err(StoreError::Unexpected("state")),
    }
}
