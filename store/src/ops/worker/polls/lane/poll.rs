//! `lane_poll.lua`: settle a lane inbox, and fill it again.

use std::time::Duration;

use redis::{Cmd, Value};

use crate::connection::Connection;
use crate::error::StoreError;
use crate::ops::reply::{Whole, read};
use crate::ops::worker::polls::lane::keys::{Gate, LanePoll, results};
use crate::ops::worker::polls::lane::settle::{self, LANE_SETTLE};
use crate::ops::worker::polls::poll::{Settled, notes};
use crate::ops::worker::polls::poll_fast::FrameRun;
use crate::script::{Reading, Script, script};
use redcall_common::limits::COMMAND_BYTES;

script! {
    /// Settle a lane inbox, and fill it again.
    LANE_POLL = "worker/lane_poll", Runs, of Worker;
    with KEPT, POLL_COMMON, BOUNDS;
    and sizes NODES, SIZES;
    and unusual UNDO, BYTES, ANSWERS, SCAN, REFUSAL, LANE_UNUSUAL;
    read |value, count| {
        reply(value, None, count).map(|all| Reading::counted(all.settled.len(), all))
    }
}

/// The result of a lane's poll.
#[derive(Debug, Default)]
pub struct LaneReply {
    /// One per outcome, in order. After [`Settled::Failed`] nothing has changed, and the inbox has
    /// to be adopted.
    pub settled: Vec<Settled>,
    /// The requests that are in the inbox now, as their callers wrote them. None of them has been
    /// checked.
    pub taken: Vec<Vec<u8>>,
    /// Length of the queue afterwards, if requests could be taken.
    pub length: Option<usize>,
    /// The state of the queue; `None` if the poll took nothing because it was not to take, or the
    /// inbox was not empty.
    pub gate: Option<Gate>,
    /// The error of Redis that ended taking.
    pub trouble: Option<String>,
    /// The error of Redis for [`Settled::Failed`].
    pub unsettled: Option<String>,
    /// The error codes of elements that were dead-lettered: they are over the limit.
    pub refused: Vec<String>,
    /// The size of the elements that were read, bytes.
    pub read: u64,
}

impl LanePoll<'_> {
    /// Returns the script to call, with its call.
    ///
    /// # Errors
    ///
    /// If an outcome needs a real lease.
    pub(crate) fn call(&self) -> Result<(&'static Script, Cmd), StoreError> {
        if let Some(call) = self.settle_call() {
            return Ok((&LANE_SETTLE, call));
        }
        let own = &self.keys.own;
        let mut runs: Vec<FrameRun<'_>> = Vec::new();
        for outcome in self.outcomes {
            FrameRun::add(&mut runs, outcome).ok_or(StoreError::Unexpected("lane_poll"))?;
        }
        let queue = &own.queue;
        let (list, inbox, record) = (&own.list, &self.keys.inbox, &self.keys.record);
        let mut keys = vec![list.as_str(), inbox, record];
        let others = [
            queue.live(),
            queue.dead(),
            queue.workers(),
            queue.paused(),
            queue.attempts(),
            queue.cancelled(),
            queue.permits(),
            queue.limited_names(),
            queue.parked_names(),
        ];
        keys.extend(others.iter().map(String::as_str));
        let mut call = LANE_POLL.call(&keys);
        call.arg(&own.worker).arg(self.take).arg(COMMAND_BYTES);
        call.arg(&own.dead_max).arg(own.dead_age_ms).arg(queue.base());
        call.arg(self.keys.answers(self.serial)).arg(0).arg(own.max_request);
        call.arg(self.outcomes.len());
        for outcome in self.outcomes {
            call.arg(&outcome.id);
        }
        runs.into_iter().for_each(|run| run.add_to(&mut call));
        Ok((&LANE_POLL, call))
    }

    /// Reads the reply of the script that [`LanePoll::call`] has named.
    pub(crate) fn read(&self, script: &Script, value: Value) -> Result<LaneReply, StoreError> {
        let (expected, count) = (self.keys.answers(self.serial), self.outcomes.len());
        match std::ptr::eq(script, &*LANE_SETTLE) {
            true => {
                let settled = settle::reply(value, Some(&expected), count)?;
                Ok(LaneReply { settled, ..LaneReply::default() })
            }
            false => reply(value, Some(&expected), count),
        }
    }
}

/// Reads the script's reply.
pub(crate) fn reply(
    value: Value,
    expected: Option<&str>,
    outcomes: usize,
) -> Result<LaneReply, StoreError> {
    type Raw = (String, i64, Vec<Vec<u8>>, Option<Vec<String>>, Whole);
    let (results_text, length, taken, raw_notes, bytes): Raw = read("lane_poll", value)?;
    let (trouble, unsettled, refused) = notes(raw_notes);
    let gate = match length {
        0.. => Some(Gate::Open),
        -1 => Some(Gate::Closed),
        -2 => Some(Gate::Expired),
        _ => None,
    };
    Ok(LaneReply {
        settled: results("lane_poll", &results_text, expected, outcomes)?,
        taken,
        length: usize::try_from(length).ok(),
        gate,
        trouble,
        unsettled,
        refused,
        read: bytes.0,
    })
}

impl Connection {
    pub(crate) async fn lane_poll(
        &self,
        poll: &LanePoll<'_>,
        timeout: Duration,
    ) -> Result<LaneReply, StoreError> {
        let (script, call) = poll.call()?;
        poll.read(script, self.run(script, &call, timeout).await?)
    }
}
