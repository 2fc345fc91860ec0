//! The state of a service's instance.

use super::inspector::Inspector;
use crate::driver::OrStore;
use crate::error::StoreError;
use crate::ops::shared::state::{InstanceState, call, found};

impl Inspector {
    /// Returns the state of an instance of the service of `queue`, as
    /// [`SharedOps::instance_state`](crate::SharedOps::instance_state).
    ///
    /// # Errors
    ///
    /// As [`SharedOps::instance_state`](crate::SharedOps::instance_state).
    pub async fn instance_state(
        &self,
        queue: &str,
        instance: &str,
    ) -> Result<Option<InstanceState>, StoreError> {
        let mut conn = self.connection().await?;
        found(call(&self.keys.of(queue), instance).query_async(&mut conn).await.or_store()?)
    }
}
