//! `adopt.lua`: empty a lane inbox, whatever is in it.

use std::time::Duration;

use redis::{Cmd, Value};

use crate::connection::Connection;
use crate::error::StoreError;
use crate::ops::reply::{Whole, read};
use crate::ops::worker::polls::lane::keys::{LaneKeys, results};
use crate::ops::worker::polls::outcome::Outcome;
use crate::ops::worker::polls::poll::{LeaseInfo, Leased, Settled, notes};
use crate::script::{Reading, script};

script! {
    /// Empty a lane inbox.
    ADOPT = "worker/adopt", Runs, of Worker;
    with UNDO, BYTES, KEPT, ANSWERS, SCAN, POLL_COMMON, REFUSAL;
    read |value, count| {
        reply(value, None, count).map(|(all, _)| Reading::counted(all.settled.len(), all))
    }
}

/// The number of calls after which the rest of an inbox is left: only other programs fill it that
/// far.
const MAX_CALLS: usize = 100;

/// The end of a lane inbox.
#[derive(Debug)]
pub struct Adoption<'a> {
    /// The worker, the queue and the inbox.
    pub keys: &'a LaneKeys,
    /// The outcomes to settle: as in [`LanePoll`](crate::LanePoll), but not of all requests.
    pub outcomes: &'a [Outcome],
    /// The ids of the requests that were started and have not ended, or whose outcome needs a real
    /// lease. All others return to the head of the queue.
    pub started: &'a [String],
    /// Number of this settlement among those of the inbox.
    pub serial: u64,
    /// `true` if the outcomes were sent before under this serial, by any operation of the lane, and
    /// the reply was lost or an error.
    pub again: bool,
    /// `true` if its last element may be over `limits.request`: it is read alone.
    pub large: bool,
}

/// The result of an adoption.
#[derive(Debug, Default)]
pub struct Adopted {
    /// One per outcome, in order. After [`Settled::Failed`] the request is leased, and its outcome
    /// has to be settled by a poll.
    pub settled: Vec<Settled>,
    /// The leased requests. One of `started` that is missing here was taken over, or became a dead
    /// letter, since its id was live; or an earlier adoption whose reply was lost has leased it.
    pub leased: Vec<Leased>,
    /// The number of requests that went to the head of the queue.
    pub back: usize,
    /// The error of Redis by which an element became no dead letter.
    pub trouble: Option<String>,
    /// The error of Redis for [`Settled::Failed`].
    pub unsettled: Option<String>,
    /// The error codes of elements that were dead-lettered.
    pub refused: Vec<String>,
}

impl Adoption<'_> {
    pub(crate) fn call(&self) -> Result<Cmd, StoreError> {
        let own = &self.keys.own;
        let queue = &own.queue;
        let mut call = ADOPT.call(&[
            own.list.clone(),
            self.keys.inbox.clone(),
            own.leases.clone(),
            queue.live(),
            queue.dead(),
            self.keys.record.clone(),
            queue.attempts(),
            queue.cancelled(),
            queue.workers(),
        ]);
        call.arg(&own.worker)
            .arg(i32::from(self.large))
            .arg(0)
            .arg(&own.dead_max)
            .arg(own.dead_age_ms);
        call.arg(queue.base()).arg(self.keys.answers(self.serial)).arg(i32::from(self.again));
        call.arg(own.max_request).arg(self.outcomes.len()).arg(self.started.len());
        for outcome in self.outcomes {
            let answer = outcome.plain_answer().ok_or(StoreError::Unexpected("adopt"))?;
            let (frame, ttl_ms, channel) = match answer {
                Some((reply, frame)) => {
                    (frame, reply.ttl_ms, reply.notify.as_deref().unwrap_or_default())
                }
                None => ("", 0, ""),
            };
            call.arg(&outcome.id).arg(frame).arg(ttl_ms).arg(channel);
        }
        call.arg(self.started);
        Ok(call)
    }
}

/// Reads the script's reply; `true` if another call has to follow.
pub(crate) fn reply(
    value: Value,
    expected: Option<&str>,
    outcomes: usize,
) -> Result<(Adopted, bool), StoreError> {
    type Taken = Vec<(String, Vec<u8>, Vec<u8>)>;
    let (results_text, leased, back, left, raw_notes): (
        String,
        Taken,
        Whole,
        Whole,
        Option<Vec<String>>,
    ) = read("adopt", value)?;
    let (trouble, unsettled, refused) = notes(raw_notes);
    let leased = leased.into_iter();
    let adopted = Adopted {
        settled: results("adopt", &results_text, expected, outcomes)?,
        leased: leased
            .map(|(id, raw, mark)| Leased { id, raw, mark: LeaseInfo::read(&mark) })
            .collect(),
        back: back.count(),
        trouble,
        unsettled,
        refused,
    };
    Ok((adopted, left.0 > 0))
}

impl Connection {
    pub(crate) async fn adopt(
        &self,
        adoption: &Adoption<'_>,
        timeout: Duration,
    ) -> Result<Adopted, StoreError> {
        let expected = adoption.keys.answers(adoption.serial);
        let read = |value, count| reply(value, Some(&expected), count);
        let value = self.run(&ADOPT, &adoption.call()?, timeout).await?;
        let (mut adopted, mut left) = read(value, adoption.outcomes.len())?;
        let rest = Adoption { outcomes: &[], again: false, large: false, ..*adoption };
        for _ in 0..MAX_CALLS {
            if !left {
                break;
            }
            let (more, others) = read(self.run(&ADOPT, &rest.call()?, timeout).await?, 0)?;
            adopted.leased.extend(more.leased);
            adopted.refused.extend(more.refused);
            (adopted.back, left) = (adopted.back + more.back, others);
        }
        Ok(adopted)
    }
}
