//! `poll_fast.lua`: a poll on a queue that has only new, plain requests.

use redis::{Cmd, Value};

use crate::error::StoreError;
use crate::ops::reply::{Whole, read};
use crate::ops::worker::polls::outcome::Outcome;
use crate::ops::worker::polls::poll::{
    HEAD_BYTES, LeasedRows, PollReply, QueuePoll, WorkerKeys, notes, settled,
};
use crate::script::{Reading, script};
use redcall_common::limits::COMMAND_BYTES;

script! {
    /// Settle and lease where no request is paused, cancelled, limited, parked or retried.
    POLL_FAST = "worker/poll_fast", Runs, of Worker;
    with KEPT, POLL_COMMON, BOUNDS;
    and sizes NODES, SIZES;
    and unusual UNDO, BYTES, ANSWERS, SCAN, REFUSAL, UNUSUAL;
    read |value, count| reply(value, count).map(|reply| match reply {
        Some(all) => Reading::counted(all.settled.len(), all),
        None => Reading::of(reply),
    })
}

/// The maximum number of outcomes: the script passes all of their ids to one command.
const MAX_OUTCOMES: usize = 1000;

/// The approximate size of the numbers of a [`FrameRun`].
const RUN_BYTES: usize = 20;

/// Consecutive outcomes whose frames have the same arguments.
#[derive(Default)]
pub(crate) struct FrameRun<'a> {
    ttl_ms: u64,
    channel: &'a str,
    count: usize,
    frames: Vec<&'a str>,
}

impl<'a> FrameRun<'a> {
    /// Adds an outcome to the last of these runs, or begins another one. Returns the size of its
    /// own arguments, and roughly those of a run that it begins, bytes; `None` if it is not plain.
    #[inline]
    pub(crate) fn add(runs: &mut Vec<Self>, outcome: &'a Outcome) -> Option<usize> {
        let (ttl_ms, channel, frame) = match outcome.plain_answer()? {
            Some((reply, frame)) => {
                (reply.ttl_ms, reply.notify.as_deref().unwrap_or_default(), Some(frame))
            }
            None => (0, "", None),
        };
        let bytes = frame.map_or(0, str::len);
        match runs.last_mut() {
            Some(run) if run.ttl_ms == ttl_ms && run.channel == channel => {
                run.count += 1;
                run.frames.extend(frame);
                Some(bytes)
            }
            _ => {
                let frames = frame.into_iter().collect();
                runs.push(Self { ttl_ms, channel, count: 1, frames });
                Some(bytes + channel.len() + RUN_BYTES)
            }
        }
    }

    /// Adds its arguments.
    #[inline]
    pub(crate) fn add_to(self, call: &mut Cmd) {
        call.arg(self.ttl_ms).arg(self.channel).arg(self.count).arg(self.frames);
    }
}

/// Returns the outcomes of signed requests that will not run again: number, outcome, and the Redis
/// time, ms, until which the id is remembered.
fn spent(outcomes: &[Outcome]) -> impl Iterator<Item = (usize, &Outcome, u64)> {
    let numbered = (1..).zip(outcomes);
    numbered.filter_map(|(number, outcome)| Some((number, outcome, outcome.spent?)))
}

impl QueuePoll<'_> {
    /// Returns the call of `poll_fast.lua`, if the poll allows it. The script may still decline.
    pub(crate) fn fast_call(&self) -> Option<Cmd> {
        let special = self.more || !self.parked.is_empty() || !self.rules.is_empty();
        // A repeated poll goes to `poll.lua`, which returns its earlier reply.
        if special || self.again || self.outcomes.len() > MAX_OUTCOMES {
            return None;
        }
        let mut runs: Vec<FrameRun<'_>> = Vec::new();
        // Most polls have none.
        let mut is_any_spent = false;
        let mut bytes = HEAD_BYTES;
        for outcome in self.outcomes {
            is_any_spent |= outcome.spent.is_some();
            bytes += outcome.id.len() + FrameRun::add(&mut runs, outcome)?;
        }
        let own: &WorkerKeys = self.keys;
        let args = 10 + 2 * self.outcomes.len() + 3 * runs.len();
        let mut call = match is_any_spent {
            true => self.call_with_starts(),
            false => POLL_FAST.call_with_room(&own.fast, args, bytes),
        };
        call.arg(&own.worker);
        self.add_take(&mut call);
        call.arg(COMMAND_BYTES).arg(&own.dead_max).arg(own.dead_age_ms).arg(own.queue.base());
        call.arg(self.serial).arg(i32::from(self.again)).arg(own.max_request);
        call.arg(self.outcomes.len());
        for outcome in self.outcomes {
            call.arg(&outcome.id);
        }
        runs.into_iter().for_each(|run| run.add_to(&mut call));
        if is_any_spent {
            self.add_starts(&mut call);
        }
        Some(call)
    }

    /// Builds the call with the keys of starts after its own. Separate: most polls have none.
    #[cold]
    fn call_with_starts(&self) -> Cmd {
        let starts = spent(self.outcomes).map(|(_, outcome, _)| self.keys.queue.seen(&outcome.id));
        POLL_FAST.call(&self.keys.fast.iter().cloned().chain(starts).collect::<Vec<String>>())
    }

    #[cold]
    fn add_starts(&self, call: &mut Cmd) {
        for (number, _, until_ms) in spent(self.outcomes) {
            call.arg(number).arg(until_ms);
        }
    }
}

/// Reads the script's reply to a poll with this number of `outcomes`; `None`: it did nothing, and
/// the poll needs `poll.lua`.
pub(crate) fn reply(value: Value, outcomes: usize) -> Result<Option<PollReply>, StoreError> {
    type Raw = (String, i64, LeasedRows<2>, Option<Vec<String>>, Whole);
    if matches!(value, Value::Int(0)) {
        return Ok(None);
    }
    let (results, length, leased, raw_notes, bytes): Raw = read("poll_fast", value)?;
    let (trouble, unsettled, refused) = notes(raw_notes);
    Ok(Some(PollReply {
        settled: settled("poll_fast", &results, outcomes)?,
        length: usize::try_from(length).ok(),
        leased: leased.0,
        trouble,
        unsettled,
        refused,
        read: bytes.0,
        ..PollReply::default()
    }))
}
