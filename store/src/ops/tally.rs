//! `tally.lua`: how many bytes of answers a queue keeps, and the mark at their bound.

use std::time::Duration;

use redis::{Cmd, Value};

use super::reply::{Whole, read};
use crate::error::StoreError;
use crate::link::Link;
use crate::script::TALLY;
use redcall_common::keys::QueueKeys;
use redcall_common::time::millis;

/// How long the mark holds without another tally: without a worker no answers are added.
const MARK: Duration = Duration::from_secs(10);
/// For how long the sum of another worker is good enough.
const FRESH: Duration = Duration::from_millis(500);

/// The answers that a queue keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Bytes, as a sample of one key per 64 KiB tells.
    pub bytes: u64,
    /// Whether that is as much as it may keep: new requests that want an answer are refused.
    pub full: bool,
}

impl Link {
    /// Adds up the answers that each of these queues keeps, and marks the queue if they reach its
    /// bound (bytes; 0 for none). One result each; `None` where another worker has just done so.
    ///
    /// # Errors
    ///
    /// When Redis cannot be reached within `within`. Within the results: Redis has refused one.
    pub async fn tally(
        &self,
        queues: &[(QueueKeys, u64)],
        within: Duration,
    ) -> Result<Vec<Result<Option<Tally>, StoreError>>, StoreError> {
        let calls = queues.iter().map(|(keys, most)| (&*TALLY, call(keys, *most)));
        let values = self.run_all(&calls.collect::<Vec<_>>(), within).await?;
        Ok(values.into_iter().map(|value| tally(value?)).collect())
    }
}

fn call(keys: &QueueKeys, most: u64) -> Cmd {
    let mut call = TALLY.call(&[keys.answers(), keys.answers_full()]);
    call.arg(most).arg(millis(MARK)).arg(millis(FRESH));
    call
}

/// Reads the script's answer.
pub(super) fn tally(value: Value) -> Result<Option<Tally>, StoreError> {
    let (fresh, bytes, full): (i64, Whole, i64) = read("tally", value)?;
    Ok((fresh == 1).then_some(Tally { bytes: bytes.0, full: full == 1 }))
}
