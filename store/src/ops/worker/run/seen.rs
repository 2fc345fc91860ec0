//! `seen.lua`: was a signed request started before?

use std::time::Duration;

use redis::Value;

use crate::connection::Connection;
use crate::error::StoreError;
use crate::ops::reply::read;
use crate::script::{Reading, script};
use redcall_common::keys::QueueKeys;

script! {
    /// Remember that a signed request was started.
    SEEN = "worker/seen", Runs, of Worker;
    read |value, _| remembered(value).map(Reading::of)
}

/// The result of an attempt to remember a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remembered {
    /// The start is remembered.
    Yes,
    /// Another record is stored, or none.
    No(Option<String>),
}

impl Connection {
    pub(crate) async fn remember(
        &self,
        keys: &QueueKeys,
        id: &str,
        (record, before): (&str, Option<&str>),
        until_ms: u64,
        timeout: Duration,
    ) -> Result<Remembered, StoreError> {
        let mut call = SEEN.call(&[keys.seen(id)]);
        call.arg(record).arg(until_ms).arg(before.unwrap_or_default());
        remembered(self.run(&SEEN, &call, timeout).await?)
    }

    pub(crate) async fn recall(
        &self,
        keys: &QueueKeys,
        id: &str,
        timeout: Duration,
    ) -> Result<Option<String>, StoreError> {
        let get = redis::cmd("GET").arg(keys.seen(id)).to_owned();
        self.with(timeout, async |conn| get.query_async(conn).await).await
    }
}

/// Reads the script's reply.
pub(crate) fn remembered(value: Value) -> Result<Remembered, StoreError> {
    let (code, text): (i64, String) = read("seen", value)?;
    match code {
        1 => Ok(Remembered::Yes),
        0 => Ok(Remembered::No(Some(text).filter(|text| !text.is_empty()))),
        _ => Err(StoreError::Unexpected("seen")),
    }
}
