//! `tally.lua`: the bytes of answers that a queue keeps, and the mark that refuses more.

use std::time::Duration;

use redis::{Cmd, Value};

use crate::connection::Connection;
use crate::error::StoreError;
use crate::ops::reply::{Whole, read};
use crate::script::{Reading, script};
use redcall_common::keys::QueueKeys;
use redcall_common::time::millis;

script! {
    /// Measure the answers that a queue keeps.
    TALLY = "worker/tally", Runs, of Worker;
    read |value, _| tally(value).map(Reading::of)
}

/// The TTL of the mark without another tally: without a worker no answers are added.
const MARK: Duration = Duration::from_secs(10);
/// How long another worker's tally is used.
const FRESH: Duration = Duration::from_millis(500);

/// The answers that a queue keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptAnswers {
    /// Their size, bytes, estimated from a sample of one key per 64 KiB.
    pub bytes: u64,
    /// `true` if the limit is reached: new requests that want an answer are refused.
    pub full: bool,
}

impl Connection {
    pub(crate) async fn tally(
        &self,
        queues: &[(QueueKeys, u64)],
        timeout: Duration,
    ) -> Result<Vec<Result<Option<KeptAnswers>, StoreError>>, StoreError> {
        let calls = queues.iter().map(|(keys, max)| (&*TALLY, call(keys, *max)));
        let values = self.run_all(&calls.collect::<Vec<_>>(), timeout).await?;
        Ok(values.into_iter().map(|value| tally(value?)).collect())
    }
}

fn call(keys: &QueueKeys, max: u64) -> Cmd {
    let mut call = TALLY.call(&[keys.answers(), keys.answers_full()]);
    call.arg(max).arg(millis(MARK)).arg(millis(FRESH));
    call
}

/// Reads the script's reply.
pub(crate) fn tally(value: Value) -> Result<Option<KeptAnswers>, StoreError> {
    let (fresh, bytes, full): (i64, Whole, i64) = read("tally", value)?;
    Ok((fresh == 1).then_some(KeptAnswers { bytes: bytes.0, full: full == 1 }))
}
