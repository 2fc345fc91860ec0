//! `cycle.lua`: settle what has ended, lease what there is room for.

use std::time::Duration;

use redis::{Cmd, RedisResult, Value};

use super::read;
use crate::error::Code;
use crate::limits::COMMAND_BYTES;
use crate::request::ReplyTo;
use crate::store::error::StoreError;
use crate::store::keys::QueueKeys;
use crate::store::link::Link;
use crate::store::script::{self, CYCLE};

/// A worker's key names on one queue, made once.
#[derive(Debug, Clone)]
pub struct WorkerKeys {
    /// The queue's keys.
    pub queue: QueueKeys,
    /// The worker's leases on it.
    pub leases: String,
    pub(super) inbox: String,
    pub(super) list: String,
    live: String,
    dead: String,
    names: String,
    parked_names: String,
    workers: String,
    worker: String,
    dead_max: u64,
    dead_age_ms: u64,
}

impl WorkerKeys {
    /// The key names of `worker` on `queue`; dead letters are kept up to `dead_max` and `dead_age`.
    #[must_use]
    pub fn new(queue: QueueKeys, worker: &str, dead_max: u64, dead_age: Duration) -> Self {
        Self {
            leases: queue.leases(worker),
            inbox: queue.inbox(worker),
            list: queue.queue(),
            live: queue.live(),
            dead: queue.dead(),
            names: queue.names(),
            parked_names: queue.parked_names(),
            workers: queue.workers(),
            worker: worker.into(),
            dead_max,
            dead_age_ms: u64::try_from(dead_age.as_millis()).unwrap_or(u64::MAX),
            queue,
        }
    }
}

/// One request's end.
#[derive(Debug)]
pub struct Outcome {
    /// The request's id, as it was leased.
    pub id: String,
    /// What is done with it.
    pub settlement: Settlement,
}

impl Outcome {
    /// About how many bytes it has on its way to Redis.
    #[must_use]
    pub fn size(&self) -> usize {
        let of = |answer: &Option<(ReplyTo, String)>| answer.as_ref().map_or(0, |a| a.1.len());
        200 + match &self.settlement {
            Settlement::Answer { frame, .. } => frame.len(),
            Settlement::Bury { reason, answer, .. } => reason.len() + of(answer),
            Settlement::Unknown { name, answer } => name.len() + of(answer),
            Settlement::Done | Settlement::Back => 0,
        }
    }
}

/// What the settling script does with a request whose lease it finds.
#[derive(Debug)]
pub enum Settlement {
    /// Push the ending frame.
    Answer {
        /// Where it goes.
        reply: ReplyTo,
        /// The encoded frame.
        frame: String,
    },
    /// Nobody asked for an answer.
    Done,
    /// Into the dead letters; and push the frame, if there is one.
    Bury {
        /// Why.
        code: Code,
        /// Why, for people.
        reason: String,
        /// The ending frame for who waits.
        answer: Option<(ReplyTo, String)>,
    },
    /// To the head of the queue, as if never leased.
    Back,
    /// Park it if a live worker maps `name`; else answer, or bury what nobody waits for.
    Unknown {
        /// The job's name.
        name: String,
        /// The ending frame for who waits.
        answer: Option<(ReplyTo, String)>,
    },
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
}

/// A request that now belongs to this worker.
#[derive(Debug)]
pub struct Leased {
    /// The id under which it is leased.
    pub id: String,
    /// The element as the caller wrote it.
    pub raw: Vec<u8>,
}

/// What one turn on one queue brought.
#[derive(Debug)]
pub struct CycleReply {
    /// One per outcome, in order.
    pub settled: Vec<Settled>,
    /// Length of the queue afterwards.
    pub length: usize,
    /// How many names have parked requests.
    pub parked: usize,
    /// In order of arrival.
    pub leased: Vec<Leased>,
}

/// One turn on one queue.
#[derive(Debug)]
pub struct Cycle<'a> {
    /// Whose turn, where.
    pub keys: &'a WorkerKeys,
    /// How many requests to lease at most.
    pub take: usize,
    /// Names whose parked requests are taken first.
    pub parked: &'a [String],
    /// What has ended.
    pub outcomes: &'a [Outcome],
}

impl Cycle<'_> {
    /// The script call.
    pub(super) fn call(&self) -> Cmd {
        let own = self.keys;
        let mut keys: Vec<&str> = vec![
            &own.list,
            &own.inbox,
            &own.leases,
            &own.live,
            &own.dead,
            &own.names,
            &own.parked_names,
            &own.workers,
        ];
        let lists: Vec<String> = self.parked.iter().map(|name| own.queue.parked(name)).collect();
        let unknown = self.outcomes.iter().map(|outcome| match &outcome.settlement {
            Settlement::Unknown { name, .. } => own.queue.parked(name),
            _ => String::new(),
        });
        let unknown: Vec<String> = unknown.collect();
        let first_list = keys.len();
        keys.extend(lists.iter().map(String::as_str));
        // Key indices count from 1 in Lua; 0 stands for none.
        let mut rows = Vec::with_capacity(self.outcomes.len());
        for (outcome, parked_list) in self.outcomes.iter().zip(&unknown) {
            rows.push(row(outcome, parked_list, &mut keys));
        }
        let mut call = CYCLE.call(&keys);
        call.arg(&own.worker).arg(self.take).arg(COMMAND_BYTES);
        call.arg(own.dead_max).arg(own.dead_age_ms).arg(lists.len()).arg(rows.len());
        for (index, name) in self.parked.iter().enumerate() {
            call.arg(first_list + index + 1).arg(name);
        }
        for (outcome, row) in self.outcomes.iter().zip(&rows) {
            call.arg(row.op).arg(&outcome.id).arg(row.key).arg(row.frame).arg(row.ttl_ms);
            call.arg(row.channel).arg(row.note).arg(&row.reason);
        }
        call
    }
}

struct Row<'a> {
    op: &'static str,
    key: usize,
    frame: &'a str,
    ttl_ms: u64,
    channel: usize,
    note: &'a str,
    reason: std::borrow::Cow<'a, str>,
}

fn row<'a>(outcome: &'a Outcome, parked_list: &'a str, keys: &mut Vec<&'a str>) -> Row<'a> {
    let (op, answer, note, reason) = match &outcome.settlement {
        Settlement::Answer { reply, frame } => ("answer", Some((reply, frame)), "", "".into()),
        Settlement::Done => ("done", None, "", "".into()),
        Settlement::Bury { code, reason, answer } => {
            let answer = answer.as_ref().map(|(reply, frame)| (reply, frame));
            ("bury", answer, code.as_str(), reason.as_str().into())
        }
        Settlement::Back => ("back", None, "", "".into()),
        Settlement::Unknown { name, answer } => {
            keys.push(parked_list);
            let answer = answer.as_ref().map(|(reply, frame)| (reply, frame));
            ("unknown", answer, name.as_str(), keys.len().to_string().into())
        }
    };
    let mut row = Row { op, key: 0, frame: "", ttl_ms: 0, channel: 0, note, reason };
    if let Some((reply, frame)) = answer {
        keys.push(&reply.response_key);
        (row.key, row.frame, row.ttl_ms) = (keys.len(), frame, reply.ttl_ms);
        if let Some(channel) = &reply.notify {
            keys.push(channel);
            row.channel = keys.len();
        }
    }
    row
}

/// Reads the script's answer.
pub(super) fn reply(value: Value) -> Result<CycleReply, StoreError> {
    type Raw = (String, usize, usize, Vec<(String, Vec<u8>)>);
    let (results, length, parked, leased): Raw = read("cycle", value)?;
    let settled = results.chars().map(|result| match result {
        '1' => Ok(Settled::Yes),
        '0' => Ok(Settled::LeaseLost),
        'P' => Ok(Settled::Parked),
        _ => Err(StoreError::Unexpected("cycle")),
    });
    Ok(CycleReply {
        settled: settled.collect::<Result<_, _>>()?,
        length,
        parked,
        leased: leased.into_iter().map(|(id, raw)| Leased { id, raw }).collect(),
    })
}

impl Link {
    /// Everything that a worker has leased on one queue: for one whose reply was lost.
    ///
    /// # Errors
    ///
    /// When Redis cannot be reached within `within` or refuses.
    pub async fn held(
        &self,
        keys: &WorkerKeys,
        within: Duration,
    ) -> Result<Vec<Leased>, StoreError> {
        let call = redis::cmd("HGETALL").arg(&keys.leases).to_owned();
        let held: Vec<(String, Vec<u8>)> =
            self.with(within, async |conn| call.query_async(conn).await).await?;
        Ok(held.into_iter().map(|(id, raw)| Leased { id, raw }).collect())
    }

    /// One turn on each of several queues, in this order, in one write.
    ///
    /// # Errors
    ///
    /// After [`StoreError::Lost`] any of the turns may have taken effect: what they leased is
    /// this worker's, what they settled is settled.
    pub async fn cycle(
        &self,
        cycles: &[Cycle<'_>],
        within: Duration,
    ) -> Result<Vec<CycleReply>, StoreError> {
        let calls: Vec<Cmd> = cycles.iter().map(Cycle::call).collect();
        if let [call] = calls.as_slice() {
            return Ok(vec![reply(self.run(&CYCLE, call, within).await?)?]);
        }
        let (mut conn, generation) = self.connection(within).await?;
        let mut pipe = redis::pipe();
        pipe.ignore_errors();
        for call in &calls {
            pipe.add_command(call.clone());
        }
        let sent = pipe.query_async::<Vec<RedisResult<Value>>>(&mut conn).await;
        let values = self.note(generation, sent.map_err(StoreError::from))?;
        let mut replies = Vec::with_capacity(values.len());
        for (value, call) in values.into_iter().zip(&calls) {
            let value = match value {
                Err(error) if script::is_no_script(&error) => {
                    self.run(&CYCLE, call, within).await?
                }
                other => other?,
            };
            replies.push(reply(value)?);
        }
        Ok(replies)
    }
}
