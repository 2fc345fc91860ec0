//! Reads the states of tracked jobs: plain commands, no writes.

use std::time::Duration;

use crate::connection::Connection;
use crate::error::StoreError;
use redcall_common::status::JobStatus;

/// The record of a job's states.
#[derive(Debug)]
pub struct States {
    /// The valid states, oldest first, each with its bytes.
    pub states: Vec<(Vec<u8>, JobStatus)>,
    /// `true` if the record exists.
    pub exists: bool,
}

impl Connection {
    pub(crate) async fn states(&self, key: &str, timeout: Duration) -> Result<States, StoreError> {
        let range = redis::cmd("LRANGE").arg(key).arg(0).arg(-1).to_owned();
        let states = self.with(timeout, async |conn| range.query_async(conn).await).await?;
        let states: Vec<Vec<u8>> = states;
        let exists = !states.is_empty();
        let read = |raw: Vec<u8>| JobStatus::read(&raw).map(|status| (raw, status));
        Ok(States { states: states.into_iter().filter_map(read).collect(), exists })
    }

    pub(crate) async fn first_that_exists(
        &self,
        keys: &[String],
        timeout: Duration,
    ) -> Result<Option<usize>, StoreError> {
        let mut pipe = redis::pipe();
        for key in keys {
            pipe.cmd("EXISTS").arg(key);
        }
        let found: Vec<bool> =
            self.with(timeout, async |conn| pipe.query_async(conn).await).await?;
        Ok(found.into_iter().position(|found| found))
    }
}
