//! `poll.lua`: settle ended requests, lease new ones. `poll_fast.lua` does the same for queues
//! without special requests, see `poll_fast.rs`.

use std::borrow::Cow;
use std::time::Duration;

use redis::{Cmd, Value};
use serde::Deserialize;

use crate::error::StoreError;
use crate::ops::reply::{Whole, read};
use crate::ops::worker::polls::outcome::{Outcome, OutcomeArgs};
use crate::script::{Reading, script};
use redcall_common::keys::QueueKeys;
use redcall_common::limits::{COMMAND_BYTES, Limits};
use redcall_common::settings::Limit;
use redcall_common::time::millis;

script! {
    /// Settle and lease, on any queue.
    POLL = "worker/poll", Runs, of Worker;
    then [SCANNED, POLL_COMMON, BOUNDS, STATE];
    then [
        STEPS, KEPT, PUSH,
        unusual {
            UNDO_STEPS, NEED, BYTES, DEAD, FIND, REFUSAL,
            create_settlements { LIVE, RECORD, STATUS, JOINED, CALLS, DEFERRED, SETTLEMENTS },
            EXCEPTIONS
        },
        special_outcomes { RECORD, returns { PERMITS, TO_LISTS, RETURNS }, SPECIAL },
        freeing { PERMITS, FREE }, OUTCOMES,
        sizes { NODES, SIZES }, LEASING,
        limited { places { FIND, PLACES }, PARTITIONS }
    ];
    read |value, count| reply(value, count).map(|all| Reading::counted(all.settled.len(), all))
}

/// A worker's key names on one queue, built once.
#[derive(Debug, Clone)]
pub struct WorkerKeys {
    /// The queue's keys.
    pub queue: QueueKeys,
    /// The worker's leases on it.
    pub leases: String,
    pub(crate) inbox: String,
    pub(crate) list: String,
    /// The constant arguments of each call of the script.
    fixed: [String; 18],
    /// The same for `poll_fast.lua`.
    pub(crate) fast: [String; 13],
    pub(crate) worker: String,
    /// The limits of dead letters in number and bytes, as the scripts take them.
    pub(crate) dead_max: String,
    pub(crate) dead_age_ms: u64,
    /// The largest request that may be leased, bytes.
    pub(crate) max_request: usize,
}

impl WorkerKeys {
    /// Builds the keys of `worker` on `queue`; dead letters are kept up to `dead_max` and
    /// `dead_age`.
    #[must_use]
    pub fn new(queue: QueueKeys, worker: &str, dead_max: u64, dead_age: Duration) -> Self {
        let (leases, inbox, list) = (queue.leases(worker), queue.inbox(worker), queue.queue());
        Self {
            fixed: [
                list.clone(),
                inbox.clone(),
                leases.clone(),
                queue.live(),
                queue.dead(),
                queue.names(),
                queue.parked_names(),
                queue.workers(),
                queue.poll(worker),
                queue.paused(),
                queue.attempts(),
                queue.cancelled(),
                queue.permits(),
                queue.limited_names(),
                queue.throttled(),
                queue.control(),
                queue.schedule(),
                queue.scheduled(),
            ],
            fast: [
                list.clone(),
                inbox.clone(),
                leases.clone(),
                queue.live(),
                queue.dead(),
                queue.workers(),
                queue.poll(worker),
                queue.paused(),
                queue.attempts(),
                queue.cancelled(),
                queue.permits(),
                queue.limited_names(),
                queue.parked_names(),
            ],
            leases,
            inbox,
            list,
            worker: worker.into(),
            dead_max: format!("{dead_max} 0"),
            dead_age_ms: millis(dead_age),
            max_request: Limits::default().request,
            queue,
        }
    }

    /// Sets the size limit of a request (bytes): a larger one is not leased, but dead-lettered as
    /// its first 64 KiB.
    #[must_use]
    pub fn with_max_request(mut self, bytes: usize) -> Self {
        self.max_request = bytes;
        self
    }

    /// Limits dead letters to `max` bytes as well; 0 for no limit.
    #[must_use]
    pub fn with_dead_bytes(mut self, max: u64) -> Self {
        let entries = self.dead_max.split(' ').next().unwrap_or_default();
        self.dead_max = format!("{entries} {max}");
        self
    }

    /// Uses the registry of another queue.
    pub(crate) fn registered_at(mut self, queue: &QueueKeys) -> Self {
        self.fixed[7] = queue.workers();
        self.fast[5] = queue.workers();
        self
    }
}

/// The script's result for one outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It took effect.
    Yes,
    /// The lease was lost: nothing was written or published.
    LeaseLost,
    /// The request is parked: another worker will run it.
    Parked,
    /// Redis could not store the outcome and changed nothing: the lease is kept, and the outcome
    /// has to be settled again. [`PollReply::unsettled`] has the reason.
    Failed,
}

/// A request that this worker has leased.
#[derive(Debug)]
pub struct Leased {
    /// The id under which it is leased.
    pub id: String,
    /// The element as the caller wrote it.
    pub raw: Vec<u8>,
    /// Its history before the lease.
    pub mark: LeaseInfo,
}

/// The history of a request before it was leased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LeaseInfo {
    /// `true` if the request was cancelled.
    pub cancelled: bool,
    /// Its earlier runs.
    pub record: Record,
}

/// The number of a request's runs, by result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub struct Record {
    /// Number of the last run that was started; 0 before the first.
    pub attempt: u32,
    /// Number of runs that failed.
    pub fails: u32,
    /// Number of runs that ended with a crash of their worker.
    pub crashes: u32,
}

impl LeaseInfo {
    pub(crate) fn read(text: &[u8]) -> Self {
        match text {
            b"" => Self::default(),
            b"C" => Self { cancelled: true, ..Self::default() },
            // Only our scripts write it; an unreadable record counts as empty.
            json => {
                let record = serde_json::from_slice(json).unwrap_or_default();
                Self { cancelled: false, record }
            }
        }
    }
}

/// The result of one poll on one queue.
#[derive(Debug, Default)]
pub struct PollReply {
    /// One per outcome, in order.
    pub settled: Vec<Settled>,
    /// Length of the queue afterwards; `None` if it was not requested.
    pub length: Option<usize>,
    /// Number of names with parked requests.
    pub parked: usize,
    /// The leased requests, in order of arrival.
    pub leased: Vec<Leased>,
    /// `true` if the queue is paused: nothing is leased then.
    pub paused: bool,
    /// `true` if the worker's own lease has ended: nothing is leased before its next heartbeat.
    pub expired: bool,
    /// `true` if more requests of limited names could be leased.
    pub ready: bool,
    /// When a rate limit allows the next of them, Redis time in ms.
    pub due_ms: Option<u64>,
    /// `true` if the queue has more than plain requests, see [`QueuePoll::more`].
    pub more: bool,
    /// The error of Redis that ended leasing early; earlier leases of the poll are valid.
    pub trouble: Option<String>,
    /// The error of Redis for [`Settled::Failed`].
    pub unsettled: Option<String>,
    /// The error codes of elements that could not be leased and were dead-lettered.
    pub refused: Vec<String>,
    /// The size of the elements that were read, bytes.
    pub read: u64,
}

/// Reads the errors of leasing and settling, and the codes of refused elements, from a script's
/// reply.
pub(crate) fn notes(
    raw_notes: Option<Vec<String>>,
) -> (Option<String>, Option<String>, Vec<String>) {
    let mut raw_notes = raw_notes.unwrap_or_default().into_iter();
    let mut text = || raw_notes.next().filter(|text| !text.is_empty());
    let (trouble, unsettled) = (text(), text());
    (trouble, unsettled, raw_notes.collect())
}

/// A limited name, and this worker's capacity for its requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitRule {
    /// The job's name.
    pub name: String,
    /// Its limits across all workers.
    pub limit: Limit,
    /// How many more may run in this worker; `None`: no limit but the worker's capacity.
    pub room: Option<usize>,
}

impl LimitRule {
    fn add_to(&self, call: &mut Cmd) {
        let Limit { key, concurrency, rate } = &self.limit;
        let interval = rate.map_or(0, |rate| rate.per.as_micros() / u128::from(rate.count.max(1)));
        let interval = u64::try_from(interval).unwrap_or(u64::MAX);
        call.arg(&self.name).arg(key.as_deref().unwrap_or_default());
        call.arg(concurrency.unwrap_or(0)).arg(interval).arg(rate.map_or(0, |rate| rate.count));
        call.arg(self.room.map_or(-1, |room| i64::try_from(room).unwrap_or(i64::MAX)));
    }
}

/// One poll on one queue.
#[derive(Debug)]
pub struct QueuePoll<'a> {
    /// The worker and the queue.
    pub keys: &'a WorkerKeys,
    /// The maximum number of requests to lease.
    pub take: usize,
    /// Names whose parked requests are leased first.
    pub parked: &'a [String],
    /// Names whose requests are partitioned by their limit's key.
    pub rules: &'a [LimitRule],
    /// The outcomes to settle.
    pub outcomes: &'a [Outcome],
    /// Number of this poll among those of the worker on the queue.
    pub serial: u64,
    /// `true` if the same poll was sent before and its reply was lost.
    pub again: bool,
    /// `true` if the previous reply had [`PollReply::more`]: `poll.lua` is called at once, which
    /// saves a round trip.
    pub more: bool,
    /// `true` to lease the elements that a blocked pop may have left in the inbox. If `false`, and
    /// with nothing to lease, the poll only settles.
    pub inbox: bool,
    /// `true` if a poll that only settles returns the queue's length, which costs a command.
    pub length: bool,
}

impl<'a> QueuePoll<'a> {
    /// Creates a poll that settles nothing and has no limits.
    #[must_use]
    pub fn take(keys: &'a WorkerKeys, take: usize) -> Self {
        Self {
            keys,
            take,
            parked: &[],
            rules: &[],
            outcomes: &[],
            serial: 0,
            again: false,
            more: false,
            inbox: true,
            length: true,
        }
    }

    /// Adds the number of requests to lease, as both scripts read it.
    pub(crate) fn add_take(&self, call: &mut Cmd) {
        match (self.inbox, self.length) {
            (true, _) => call.arg(self.take),
            (false, true) => call.arg(-1),
            (false, false) => call.arg(-2),
        };
    }

    /// Returns the call of `poll.lua`.
    pub(crate) fn full_call(&self) -> Cmd {
        let own = self.keys;
        let mut keys: Vec<Cow<'_, str>> = own.fixed.iter().map(|key| key.as_str().into()).collect();
        let first_list = keys.len();
        keys.extend(self.parked.iter().map(|name| Cow::from(own.queue.parked(name))));
        let rows =
            self.outcomes.iter().map(|outcome| OutcomeArgs::new(outcome, &own.queue, &mut keys));
        let rows: Vec<OutcomeArgs<'_>> = rows.collect();
        let mut call = POLL.call(&keys);
        call.arg(&own.worker);
        self.add_take(&mut call);
        call.arg(COMMAND_BYTES);
        call.arg(&own.dead_max).arg(own.dead_age_ms).arg(own.queue.base()).arg(self.serial);
        call.arg(i32::from(self.again)).arg(own.max_request);
        call.arg(self.parked.len()).arg(self.rules.len()).arg(rows.len());
        for (index, name) in self.parked.iter().enumerate() {
            call.arg(first_list + index + 1).arg(name);
        }
        self.rules.iter().for_each(|rule| rule.add_to(&mut call));
        rows.iter().for_each(|row| row.add_to(&mut call));
        call
    }
}

/// Reads the script's reply to a poll with this number of `outcomes`.
pub(crate) fn reply(value: Value, outcomes: usize) -> Result<PollReply, StoreError> {
    type Taken = Vec<(String, Vec<u8>, Vec<u8>)>;
    type Raw = (String, i64, Whole, Taken, i64, i64, Whole, i64, Option<Vec<String>>, Whole);
    let (results, length, parked, leased, state, ready, due, more, raw_notes, bytes): Raw =
        read("poll", value)?;
    let leased = leased.into_iter();
    let (trouble, unsettled, refused) = notes(raw_notes);
    Ok(PollReply {
        settled: settled("poll", &results, outcomes)?,
        length: usize::try_from(length).ok(),
        parked: parked.count(),
        leased: leased
            .map(|(id, raw, mark)| Leased { id, raw, mark: LeaseInfo::read(&mark) })
            .collect(),
        paused: state == 1,
        expired: state == 2,
        ready: ready == 1,
        due_ms: (due.0 > 0).then_some(due.0),
        more: more > 0,
        trouble,
        unsettled,
        refused,
        read: bytes.0,
    })
}

/// Reads the script's results for this number of `outcomes`, a character each.
pub(crate) fn settled(
    script: &'static str,
    results: &str,
    outcomes: usize,
) -> Result<Vec<Settled>, StoreError> {
    // An outcome without a result would never be settled.
    if results.len() != outcomes {
        return Err(StoreError::Unexpected(script));
    }
    let settled = results.chars().map(|result| match result {
        '1' => Ok(Settled::Yes),
        '0' => Ok(Settled::LeaseLost),
        'P' => Ok(Settled::Parked),
        'E' => Ok(Settled::Failed),
        _ => Err(StoreError::Unexpected(script)),
    });
    settled.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn poll_reply_without_each_outcome_is_an_error() {
        let (text, none) = (Value::BulkString(b"1P".into()), Value::Array(Vec::new()));
        let number = || Value::Int(0);
        let (notes, n) = (Value::Array(Vec::new()), number);
        let raw_notes = [text, n(), n(), none, n(), n(), n(), n(), notes, n()];
        let raw_notes = Value::Array(raw_notes.into());
        assert_eq!(reply(raw_notes.clone(), 2).unwrap().settled, [Settled::Yes, Settled::Parked]);
        for outcomes in [0, 1, 3] {
            assert!(matches!(
                reply(raw_notes.clone(), outcomes),
                Err(StoreError::Unexpected("poll"))
            ));
        }
    }
}
