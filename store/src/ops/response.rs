//! Reading response keys: plain commands, since only the reader's own keys are touched.

use std::time::Duration;

use crate::error::StoreError;
use crate::link::Link;

/// Most frames that one command returns: a frame may have 1 MiB.
const FRAMES: u64 = 64;

impl Link {
    /// The last frame at each of `keys`, read without removing it, in one round trip. `None`
    /// where nothing lies.
    ///
    /// # Errors
    ///
    /// When Redis cannot be reached within `within` or refuses.
    pub async fn last_frames(
        &self,
        keys: &[String],
        within: Duration,
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let mut pipe = redis::pipe();
        for key in keys {
            pipe.cmd("LINDEX").arg(key).arg(-1);
        }
        self.with(within, async |conn| pipe.query_async(conn).await).await
    }

    /// Up to 64 frames at `key`, the first of them at position `from`, read without removing
    /// them. Empty when none lies there.
    ///
    /// # Errors
    ///
    /// When Redis cannot be reached within `within` or refuses.
    pub async fn frames(
        &self,
        key: &str,
        from: u64,
        within: Duration,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        let last = from.saturating_add(FRAMES - 1);
        let call = redis::cmd("LRANGE").arg(key).arg(from).arg(last).to_owned();
        self.with(within, async |conn| call.query_async(conn).await).await
    }

    /// The first frame at `key`, read without removing it.
    ///
    /// # Errors
    ///
    /// When Redis cannot be reached within `within` or refuses.
    pub async fn first_frame(
        &self,
        key: &str,
        within: Duration,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let call = redis::cmd("LINDEX").arg(key).arg(0).to_owned();
        self.with(within, async |conn| call.query_async(conn).await).await
    }

    /// How many frames lie at `key`.
    ///
    /// # Errors
    ///
    /// When Redis cannot be reached within `within` or refuses.
    pub async fn frame_count(&self, key: &str, within: Duration) -> Result<u64, StoreError> {
        let call = redis::cmd("LLEN").arg(key).to_owned();
        self.with(within, async |conn| call.query_async(conn).await).await
    }

    /// Deletes response keys of one queue that nobody will read again.
    ///
    /// # Errors
    ///
    /// When Redis cannot be reached within `within` or refuses.
    pub async fn forget(&self, keys: &[String], within: Duration) -> Result<(), StoreError> {
        let call = redis::cmd("UNLINK").arg(keys).to_owned();
        self.with(within, async |conn| call.exec_async(conn).await).await
    }
}
