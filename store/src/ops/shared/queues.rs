//! `note.lua`: the set of queue names, the one key without a queue tag. The script takes no other.

use std::time::Duration;

use redis::Value;

use crate::connection::Connection;
use crate::error::StoreError;
use crate::script::{Reading, script};
use redcall_common::keys::Keys;

script! {
    /// Note that queues are in use.
    NOTE = "shared/note", Runs, of Client, Worker;
    read |value, _| noted(value).map(Reading::of)
}

const KEPT: i64 = 10_000;
const KEPT_FOR_SECONDS: i64 = 30 * 24 * 3600;

impl Connection {
    pub(crate) async fn note_queues(
        &self,
        keys: &Keys,
        queues: &[&str],
        timeout: Duration,
    ) -> Result<(), StoreError> {
        let mut call = NOTE.call(&[keys.queues()]);
        call.arg(self.now_ms()).arg(KEPT).arg(KEPT_FOR_SECONDS).arg(queues);
        noted(self.run(&NOTE, &call, timeout).await?)
    }
}

/// Accepts any reply.
pub(crate) fn noted(_: Value) -> Result<(), StoreError> {
    Ok(())
}
