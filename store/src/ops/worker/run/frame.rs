//! `frame.lua`: push a frame that does not end its request.

use std::time::Duration;

use redis::Value;

use crate::connection::Connection;
use crate::error::StoreError;
use crate::ops::reply::read;
use crate::script::{Reading, script};
use redcall_common::request::ReplyTo;

script! {
    /// Push a frame that does not end its request.
    FRAME = "worker/frame", Runs, of Worker;
    with UNDO;
    read |value, _| pushed(value).map(Reading::of)
}

/// The result of pushing a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// The frame is at the response key.
    Yes,
    /// The worker no longer holds the lease.
    LeaseLost,
    /// Too many frames are unread: retry later.
    Full,
}

impl Connection {
    pub(crate) async fn push_frame(
        &self,
        leases: &str,
        id: &str,
        reply: &ReplyTo,
        frame: &str,
        window: usize,
        timeout: Duration,
    ) -> Result<Pushed, StoreError> {
        let mut keys = vec![leases, &reply.response_key];
        keys.extend(reply.notify.as_deref());
        let mut call = FRAME.call(&keys);
        call.arg(id).arg(frame).arg(reply.ttl_ms).arg(window);
        pushed(self.run(&FRAME, &call, timeout).await?)
    }
}

/// Reads the script's reply.
pub(crate) fn pushed(value: Value) -> Result<Pushed, StoreError> {
    match read("frame", value)? {
        1 => Ok(Pushed::Yes),
        0 => Ok(Pushed::LeaseLost),
        -1 => Ok(Pushed::Full),
        _ => Err(StoreError::Unexpected("frame")),
    }
}
