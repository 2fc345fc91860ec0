//! Reading response keys: plain commands, since only the reader's own keys are touched.

use std::time::Duration;

use crate::connection::Connection;
use crate::error::StoreError;

/// The maximum number of frames of one command: a frame may have 1 MiB.
const FRAMES: u64 = 64;

impl Connection {
    pub(crate) async fn last_frames(
        &self,
        keys: &[String],
        timeout: Duration,
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let mut pipe = redis::pipe();
        for key in keys {
            pipe.cmd("LINDEX").arg(key).arg(-1);
        }
        self.with(timeout, async |conn| pipe.query_async(conn).await).await
    }

    pub(crate) async fn frames(
        &self,
        key: &str,
        from: u64,
        timeout: Duration,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        let last = from.saturating_add(FRAMES - 1);
        let call = redis::cmd("LRANGE").arg(key).arg(from).arg(last).to_owned();
        self.with(timeout, async |conn| call.query_async(conn).await).await
    }

    pub(crate) async fn first_frame(
        &self,
        key: &str,
        timeout: Duration,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let call = redis::cmd("LINDEX").arg(key).arg(0).to_owned();
        self.with(timeout, async |conn| call.query_async(conn).await).await
    }

    pub(crate) async fn frame_count(
        &self,
        key: &str,
        timeout: Duration,
    ) -> Result<u64, StoreError> {
        let call = redis::cmd("LLEN").arg(key).to_owned();
        self.with(timeout, async |conn| call.query_async(conn).await).await
    }

    pub(crate) async fn forget(
        &self,
        keys: &[String],
        timeout: Duration,
    ) -> Result<(), StoreError> {
        let call = redis::cmd("UNLINK").arg(keys).to_owned();
        self.with(timeout, async |conn| call.exec_async(conn).await).await
    }
}
