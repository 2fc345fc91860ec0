//! `lane_settle.lua`: settle a lane inbox with one request.

use redis::{Cmd, Value};

use crate::error::StoreError;
use crate::ops::reply::read;
use crate::ops::worker::polls::lane::keys::{LanePoll, results};
use crate::ops::worker::polls::poll::Settled;
use crate::script::{Reading, script};

script! {
    /// Settle a lane inbox with one request.
    LANE_SETTLE = "worker/lane_settle", Runs, of Worker;
    with KEPT;
    read |value, count| reply(value, None, count).map(Reading::list)
}

impl LanePoll<'_> {
    /// Returns the call of `lane_settle.lua`, if the poll settles one plain outcome and takes
    /// nothing.
    pub(crate) fn settle_call(&self) -> Option<Cmd> {
        let [outcome] = self.outcomes else { return None };
        if self.take > 0 {
            return None;
        }
        let answers = self.keys.answers(self.serial);
        Some(match outcome.plain_answer()? {
            Some((reply, frame)) => {
                let keys = [&self.keys.inbox, &self.keys.record, &reply.response_key];
                let mut call = LANE_SETTLE.call(&keys);
                let channel = reply.notify.as_deref().unwrap_or_default();
                call.arg(answers).arg(frame).arg(reply.ttl_ms).arg(channel);
                call
            }
            None => {
                let mut call = LANE_SETTLE.call(&[&self.keys.inbox, &self.keys.record]);
                call.arg(answers);
                call
            }
        })
    }
}

/// Reads the script's reply.
pub(crate) fn reply(
    value: Value,
    expected: Option<&str>,
    outcomes: usize,
) -> Result<Vec<Settled>, StoreError> {
    results("lane_settle", &read::<String>("lane_settle", value)?, expected, outcomes)
}
