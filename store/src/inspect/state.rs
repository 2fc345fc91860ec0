//! The state of a service's instance.

use super::inspector::Inspector;
use crate::error::StoreError;
use crate::ops::worker::run::state::{InstanceState, call, found};

impl Inspector {
    /// Returns the state of an instance of the service of `queue`, as
    /// [`Connection::instance_state`].
    ///
    /// # Errors
    ///
    /// As [`Connection::instance_state`].
    pub async fn instance_state(
        &self,
        queue: &str,
        instance: &str,
    ) -> Result<Option<InstanceState>, StoreError> {
        let mut conn = self.connection().await?;
        found(call(&self.keys.of(queue), instance).query_async(&mut conn).await?)
    }
}
