//! `pause.lua`: pause and resume a queue.

use std::time::Duration;

use redis::Value;

use crate::connection::Connection;
use crate::control::Control;
use crate::error::StoreError;
use crate::ops::reply::read;
use crate::script::{Reading, script};
use redcall_common::keys::QueueKeys;

script! {
    /// Pause or resume a queue.
    PAUSE = "admin/pause", Runs, of Admin;
    read |value, _| changed(value).map(Reading::of)
}

impl Connection {
    pub(crate) async fn set_paused(
        &self,
        keys: &QueueKeys,
        paused: bool,
        timeout: Duration,
    ) -> Result<bool, StoreError> {
        let mut call = PAUSE.call(&[keys.paused(), keys.control()]);
        let message = if paused { Control::Pause } else { Control::Resume };
        call.arg(if paused { "1" } else { "0" }).arg(message.to_string());
        changed(self.run(&PAUSE, &call, timeout).await?)
    }

    pub(crate) async fn is_paused(
        &self,
        keys: &QueueKeys,
        timeout: Duration,
    ) -> Result<bool, StoreError> {
        let call = redis::cmd("EXISTS").arg(keys.paused()).to_owned();
        self.with(timeout, async |conn| call.query_async(conn).await).await
    }
}

/// Reads the script's reply.
pub(crate) fn changed(value: Value) -> Result<bool, StoreError> {
    let changed: i64 = read("pause", value)?;
    Ok(changed == 1)
}
