//! Pausing a queue, and letting it go on.

use std::time::Duration;

use crate::store::control::Control;
use crate::store::error::StoreError;
use crate::store::keys::QueueKeys;
use crate::store::link::Link;

impl Link {
    /// Stops a queue's workers from starting anything there, or lets them go on. What runs goes
    /// on in any case.
    ///
    /// # Errors
    ///
    /// After [`StoreError::Lost`] it may have taken effect; doing it again is harmless.
    pub async fn set_paused(
        &self,
        keys: &QueueKeys,
        paused: bool,
        within: Duration,
    ) -> Result<(), StoreError> {
        let mut pipe = redis::pipe();
        if paused {
            pipe.cmd("SET").arg(keys.paused()).arg(self.now_ms());
        } else {
            pipe.cmd("DEL").arg(keys.paused());
        }
        let said = if paused { Control::Pause } else { Control::Resume };
        pipe.cmd("SPUBLISH").arg(keys.control()).arg(said.to_string());
        self.with(within, async |conn| pipe.exec_async(conn).await).await
    }
}
