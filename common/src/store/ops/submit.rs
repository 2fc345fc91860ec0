//! `submit.lua`: push one request that is fetched later.

use std::time::Duration;

use super::read;
use crate::store::error::StoreError;
use crate::store::keys::QueueKeys;
use crate::store::link::Link;
use crate::store::script::SUBMIT;

/// A request and the mark that it leaves at its response key.
#[derive(Debug)]
pub struct Submission {
    /// The response key.
    pub response_key: String,
    /// The envelope.
    pub envelope: String,
    /// A `pending` frame.
    pub pending: String,
    /// How long that frame is kept, ms.
    pub ttl_ms: u64,
}

impl Link {
    /// Pushes one request. `false`: the queue is full.
    ///
    /// # Errors
    ///
    /// After [`StoreError::Lost`] the request may have been queued.
    pub async fn submit(
        &self,
        keys: &QueueKeys,
        max_length: u64,
        submission: &Submission,
        within: Duration,
    ) -> Result<bool, StoreError> {
        let mut call = SUBMIT.call(&[&keys.queue(), &submission.response_key]);
        call.arg(max_length).arg(&submission.envelope).arg(&submission.pending);
        call.arg(submission.ttl_ms);
        let queued: i64 = read("submit", self.run(&SUBMIT, &call, within).await?)?;
        Ok(queued == 1)
    }
}
