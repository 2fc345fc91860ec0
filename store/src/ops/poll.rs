//! `poll.lua`: settle what has ended, lease what there is room for. Where nothing special is in
//! the queue the same is done by `poll_fast.lua`, see `poll_fast.rs`.

use std::borrow::Cow;
use std::time::Duration;

use redis::{Cmd, Value};
use serde::Deserialize;

use super::outcome::{Outcome, Row};
use super::reply::{Whole, read};
use crate::error::StoreError;
use crate::script::POLL;
use redcall_common::keys::QueueKeys;
use redcall_common::limits::{COMMAND_BYTES, Limits};
use redcall_common::settings::Limit;
use redcall_common::time::millis;

/// A worker's key names on one queue, made once.
#[derive(Debug, Clone)]
pub struct WorkerKeys {
    /// The queue's keys.
    pub queue: QueueKeys,
    /// The worker's leases on it.
    pub leases: String,
    pub(super) inbox: String,
    pub(super) list: String,
    /// What stands in front of every call of the script.
    fixed: [String; 18],
    /// The same of `poll_fast.lua`.
    pub(super) fast: [String; 13],
    pub(super) worker: String,
    /// How many dead letters are kept, and how many bytes of them, as the scripts take it.
    pub(super) dead_max: String,
    pub(super) dead_age_ms: u64,
    /// The largest request that is leased, bytes.
    pub(super) max_request: usize,
}

impl WorkerKeys {
    /// The key names of `worker` on `queue`; dead letters are kept up to `dead_max` and `dead_age`.
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

    /// The same, with another bound for the size of a request (bytes): a larger one is not leased,
    /// but dead-lettered as its first 64 KiB.
    #[must_use]
    pub fn with_max_request(mut self, bytes: usize) -> Self {
        self.max_request = bytes;
        self
    }

    /// The same, where dead letters are kept up to `most` bytes besides; 0 for any number.
    #[must_use]
    pub fn with_dead_bytes(mut self, most: u64) -> Self {
        let entries = self.dead_max.split(' ').next().unwrap_or_default();
        self.dead_max = format!("{entries} {most}");
        self
    }

    /// The same, for a worker whose registry is that of another queue.
    pub(super) fn registered_at(mut self, queue: &QueueKeys) -> Self {
        self.fixed[7] = queue.workers();
        self.fast[5] = queue.workers();
        self
    }
}

/// What the script said of one outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It took effect.
    Yes,
    /// The lease was gone: nothing was written, nobody notified.
    LeaseLost,
    /// Another worker will run it.
    Parked,
    /// Redis could not store it and changed nothing: the lease is kept, and the outcome has to be
    /// settled again. [`PollReply::unsettled`] says why.
    Failed,
}

/// A request that now belongs to this worker.
#[derive(Debug)]
pub struct Leased {
    /// The id under which it is leased.
    pub id: String,
    /// The element as the caller wrote it.
    pub raw: Vec<u8>,
    /// What befell it before.
    pub mark: Mark,
}

/// What befell a request before it was leased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mark {
    /// Nobody wants it any more.
    pub cancelled: bool,
    /// What is known of its runs.
    pub record: Record,
}

/// How often a request was started, and how that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub struct Record {
    /// Number of the last run that began; 0 before the first.
    pub attempt: u32,
    /// How many runs failed.
    pub fails: u32,
    /// How many runs ended with their worker.
    pub crashes: u32,
}

impl Mark {
    pub(super) fn read(text: &[u8]) -> Self {
        match text {
            b"" => Self::default(),
            b"C" => Self { cancelled: true, ..Self::default() },
            // Written by our scripts alone; an unreadable one counts as none.
            json => {
                let record = serde_json::from_slice(json).unwrap_or_default();
                Self { cancelled: false, record }
            }
        }
    }
}

/// What one poll on one queue brought.
#[derive(Debug, Default)]
pub struct PollReply {
    /// One per outcome, in order.
    pub settled: Vec<Settled>,
    /// Length of the queue afterwards; `None` if it was not asked for.
    pub length: Option<usize>,
    /// How many names have parked requests.
    pub parked: usize,
    /// In order of arrival.
    pub leased: Vec<Leased>,
    /// Whether the queue is paused: then nothing is leased.
    pub paused: bool,
    /// Whether the worker's own lease has ended: then nothing is leased before its next heartbeat.
    pub expired: bool,
    /// Whether requests of limited names could go on if there were room.
    pub ready: bool,
    /// When a rate allows the next of them, Redis time in ms.
    pub due_ms: Option<u64>,
    /// Whether the queue has more than plain requests, see [`QueuePoll::more`].
    pub more: bool,
    /// Why leasing stopped before it was done, as Redis says it; what was leased before is leased.
    pub trouble: Option<String>,
    /// Why outcomes have [`Settled::Failed`], as Redis says it.
    pub unsettled: Option<String>,
    /// The error codes of the elements that were dead-lettered, since they cannot be leased.
    pub refused: Vec<String>,
    /// How many bytes of elements were looked at.
    pub read: u64,
}

/// Trouble while leasing, trouble while settling, and the codes of refused elements, as a script
/// returns them.
pub(super) fn notes(said: Option<Vec<String>>) -> (Option<String>, Option<String>, Vec<String>) {
    let mut said = said.unwrap_or_default().into_iter();
    let mut text = || said.next().filter(|text| !text.is_empty());
    let (trouble, unsettled) = (text(), text());
    (trouble, unsettled, said.collect())
}

/// A limited name, and how many of its requests the worker has room for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The job's name.
    pub name: String,
    /// Its bounds over all workers.
    pub limit: Limit,
    /// How many more may run in this worker; `None`: as many as it has slots.
    pub room: Option<usize>,
}

impl Rule {
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
    /// Whose poll, where.
    pub keys: &'a WorkerKeys,
    /// How many requests to lease at most.
    pub take: usize,
    /// Names whose parked requests are taken first.
    pub parked: &'a [String],
    /// Names whose requests are sorted.
    pub rules: &'a [Rule],
    /// What has ended.
    pub outcomes: &'a [Outcome],
    /// Number of this poll among those of the worker on the queue.
    pub serial: u64,
    /// Whether the same poll was sent before, and its reply was lost.
    pub again: bool,
    /// Whether the poll before said so: then the script that can do all is asked at once. Without
    /// it such a poll takes one round trip more.
    pub more: bool,
    /// Whether what a blocked pop may have left in the inbox is leased, as is all that is taken.
    /// Without it, and with nothing to take, the poll only settles.
    pub inbox: bool,
    /// Whether a poll that only settles returns the length of the queue, which costs a command.
    pub length: bool,
}

impl<'a> QueuePoll<'a> {
    /// A poll that settles nothing and knows no limits.
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

    /// How many requests are taken, as both scripts read it.
    pub(super) fn add_take(&self, call: &mut Cmd) {
        match (self.inbox, self.length) {
            (true, _) => call.arg(self.take),
            (false, true) => call.arg(-1),
            (false, false) => call.arg(-2),
        };
    }

    /// The call of the script that can do all.
    pub(super) fn full_call(&self) -> Cmd {
        let own = self.keys;
        let mut keys: Vec<Cow<'_, str>> = own.fixed.iter().map(|key| key.as_str().into()).collect();
        let first_list = keys.len();
        keys.extend(self.parked.iter().map(|name| Cow::from(own.queue.parked(name))));
        let rows = self.outcomes.iter().map(|outcome| Row::new(outcome, &own.queue, &mut keys));
        let rows: Vec<Row<'_>> = rows.collect();
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

/// Reads the script's answer to a poll with so many `outcomes`.
pub(super) fn reply(value: Value, outcomes: usize) -> Result<PollReply, StoreError> {
    type Taken = Vec<(String, Vec<u8>, Vec<u8>)>;
    type Raw = (String, i64, Whole, Taken, i64, i64, Whole, i64, Option<Vec<String>>, Whole);
    let (results, length, parked, leased, state, ready, due, more, said, bytes): Raw =
        read("poll", value)?;
    let leased = leased.into_iter();
    let (trouble, unsettled, refused) = notes(said);
    Ok(PollReply {
        settled: settled("poll", &results, outcomes)?,
        length: usize::try_from(length).ok(),
        parked: parked.count(),
        leased: leased.map(|(id, raw, mark)| Leased { id, raw, mark: Mark::read(&mark) }).collect(),
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

/// What a script said of so many `outcomes`, a character for each.
pub(super) fn settled(
    script: &'static str,
    results: &str,
    outcomes: usize,
) -> Result<Vec<Settled>, StoreError> {
    // An outcome without a result would never be settled, and never asked for again.
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
    fn a_poll_that_does_not_say_what_became_of_each_outcome_is_an_error() {
        let (text, none) = (Value::BulkString(b"1P".into()), Value::Array(Vec::new()));
        let number = || Value::Int(0);
        let (notes, n) = (Value::Array(Vec::new()), number);
        let said = [text, n(), n(), none, n(), n(), n(), n(), notes, n()];
        let said = Value::Array(said.into());
        assert_eq!(reply(said.clone(), 2).unwrap().settled, [Settled::Yes, Settled::Parked]);
        for outcomes in [0, 1, 3] {
            assert!(matches!(reply(said.clone(), outcomes), Err(StoreError::Unexpected("poll"))));
        }
    }
}
