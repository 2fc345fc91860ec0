//! Taking jobs of rq, and ending them.
//!
//! A job moves from its queue into this gateway's inbox in one script, and leaves the inbox in the
//! script that answers its caller. So a job is always in one of both, and only the gateway whose
//! inbox holds it can answer.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::Value;

use super::keys::{self, JOBS, MAX_JOB_ID, RqKeys};
use super::script::{BEAT, FINISH, LATER, LEAVE, TAKE, all};
use super::signal::QueueSignal;
use crate::connection::{Connection, Connector};
use crate::error::StoreError;
use crate::ops::reply::read;
use redcall_common::name::new_id;
use redcall_common::time::millis;

/// Inboxes of ended gateways that one beat reports.
const ENDED_AT_ONCE: usize = 100;

/// The inbox of one gateway at rq's Redis, with its lease. Reconnects by itself.
pub struct RqInbox {
    connection: Connection,
    keys: RqKeys,
    /// The inbox of the next jobs. Written by [`RqInbox::replace`], read by all operations.
    id: Mutex<Arc<str>>,
    lease: Duration,
}

/// A job that was moved into the inbox.
#[derive(Debug)]
pub struct TakenJob {
    /// Its id in rq. Bytes, as rq's callers choose it.
    pub id: Vec<u8>,
    /// The id of the inbox that holds it.
    pub inbox: Arc<str>,
    /// Its field `data`, or why there is none.
    pub data: Result<Vec<u8>, Unreadable>,
    /// How long ago the first gateway took it, by the clock of rq's Redis. Zero for a time that is
    /// not valid.
    pub age: Duration,
}

/// Why the data of a job were not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    /// There is no such job.
    Absent,
    /// The key of the job is not a hash.
    NotAHash,
    /// The job has no data.
    Empty,
    /// The data are over the limit.
    TooLarge,
    /// The id is longer than [`MAX_JOB_ID`], and was removed.
    LongId,
}

/// The jobs that a beat has found outside of rq's queues.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RqFound {
    /// The ids of ended gateways whose inboxes hold jobs, for [`RqInbox::take`].
    pub ended: Vec<String>,
    /// `true` if there are jobs for [`RqInbox::take_later`].
    pub has_later: bool,
}

/// The end of a job.
#[derive(Debug, Clone, Copy)]
pub struct JobEnd<'a> {
    /// Its id in rq.
    pub id: &'a [u8],
    /// The id of the inbox that holds it.
    pub inbox: &'a str,
    /// Its status in rq: `finished` or `failed`.
    pub status: &'a str,
    /// How long rq keeps it.
    pub result_ttl: Duration,
    /// The caller's response key, and the answer.
    pub answer: Option<(&'a str, &'a str)>,
    /// How long the answer is kept.
    pub answer_ttl: Duration,
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RqFinish {
    /// As requested.
    Ended,
    /// Another gateway has taken it over, or has ended it: nothing was written.
    NotOurs,
    /// Its status is `failed` and nothing was answered: the response key is not a list.
    Unanswerable,
}

impl RqInbox {
    /// Connects. The inbox has a new id, so that a restarted gateway takes over its own jobs like
    /// those of others.
    ///
    /// # Errors
    ///
    /// The error of the first attempt; later ones are retried without limit.
    pub async fn open(
        connector: Connector,
        keys: RqKeys,
        lease: Duration,
    ) -> Result<Self, StoreError> {
        let connection = Connection::open(connector, Arc::new(|_, _| {}), all()).await?;
        Ok(Self { connection, keys, id: Mutex::new(new_id().into()), lease })
    }

    /// Returns `true` if rq's Redis is connected now.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.connection.is_up()
    }

    /// Waits up to `timeout` for a connection. Returns `true` if there is one.
    pub async fn wait_up(&self, timeout: Duration) -> bool {
        self.connection.wait_up(timeout).await
    }

    /// Returns a wait for jobs of `queue`, on a connection of its own.
    #[must_use]
    pub fn signal(&self, queue: &str) -> QueueSignal {
        QueueSignal::new(self.connection.connector().clone(), keys::queue(queue))
    }

    /// Renews the lease, and finds jobs of ended gateways and jobs that are sent later.
    ///
    /// # Errors
    ///
    /// If rq's Redis is not reachable within `timeout`, or refuses.
    pub async fn beat(&self, timeout: Duration) -> Result<RqFound, StoreError> {
        let mut call = BEAT.call(&[self.keys.gateways(), self.keys.later()]);
        call.arg(&*self.id()).arg(millis(self.lease)).arg(self.keys.inboxes()).arg(ENDED_AT_ONCE);
        let found = self.connection.run(&BEAT, &call, timeout).await?;
        let (has_later, ended) = read(BEAT.name(), found)?;
        Ok(RqFound { ended, has_later })
    }

    /// Moves at most `room` jobs into the inbox: first those of `ended` gateways, then those of
    /// `queues`, highest priority first. Data over `max` bytes are not read. Queues that are not
    /// lists are skipped.
    ///
    /// # Errors
    ///
    /// If rq's Redis is not reachable within `timeout`, or refuses. Call [`RqInbox::replace`]: some
    /// jobs may be in the inbox.
    pub async fn take(
        &self,
        ended: &[String],
        queues: &[String],
        room: usize,
        max: usize,
        timeout: Duration,
    ) -> Result<Vec<TakenJob>, StoreError> {
        let id = self.id();
        let others = ended.iter().filter(|other| **other != *id).map(|id| self.keys.inbox(id));
        let sources = others.chain(queues.iter().map(|queue| keys::queue(queue)));
        self.take_from(&id, sources, (room, max), timeout).await
    }

    /// As [`RqInbox::take`], from the jobs that are sent later: those that came first.
    ///
    /// # Errors
    ///
    /// As [`RqInbox::take`].
    pub async fn take_later(
        &self,
        room: usize,
        max: usize,
        timeout: Duration,
    ) -> Result<Vec<TakenJob>, StoreError> {
        self.take_from(&self.id(), [self.keys.later()], (room, max), timeout).await
    }

    async fn take_from(
        &self,
        id: &Arc<str>,
        sources: impl IntoIterator<Item = String>,
        (room, max): (usize, usize),
        timeout: Duration,
    ) -> Result<Vec<TakenJob>, StoreError> {
        let mut keys = vec![self.keys.inbox(id), self.keys.gateways()];
        keys.extend(sources);
        let mut call = TAKE.call(&keys);
        call.arg(&**id).arg(millis(self.lease)).arg(room).arg(max).arg(max);
        call.arg(JOBS).arg(MAX_JOB_ID);
        let jobs: Vec<[Value; 4]> =
            read(TAKE.name(), self.connection.run(&TAKE, &call, timeout).await?)?;
        let now = self.connection.now_ms();
        jobs.into_iter().map(|job| taken(job, id, now)).collect()
    }

    /// Continues with a new inbox if the old one may hold jobs that this process does not run:
    /// after an error of [`RqInbox::take`], and for a job that has no end. The lease of the old one
    /// ends, and all of its jobs are taken over.
    pub fn replace(&self) {
        *self.id.lock().unwrap_or_else(PoisonError::into_inner) = new_id().into();
    }

    /// Ends a job in one step: answer, status and the entry in the inbox. Safe to repeat: a job
    /// ends once.
    ///
    /// # Errors
    ///
    /// If rq's Redis is not reachable within `timeout`, or refuses.
    pub async fn finish(
        &self,
        end: &JobEnd<'_>,
        timeout: Duration,
    ) -> Result<RqFinish, StoreError> {
        let mut keys = vec![self.keys.inbox(end.inbox)];
        keys.extend(end.answer.map(|(key, _)| key.to_owned()));
        let mut call = FINISH.call(&keys);
        call.arg(end.id).arg(JOBS).arg(end.status).arg(end.result_ttl.as_secs());
        if let Some((_, answer)) = end.answer {
            call.arg(answer).arg(end.answer_ttl.as_secs());
        }
        match self.connection.run(&FINISH, &call, timeout).await? {
            Value::Int(1) => Ok(RqFinish::Ended),
            Value::Int(0) => Ok(RqFinish::NotOurs),
            Value::Int(2) => Ok(RqFinish::Unanswerable),
            _ => Err(StoreError::Unexpected(FINISH.name())),
        }
    }

    /// Moves a job out of the inbox, for [`RqInbox::take_later`] of any gateway. Returns `false` if
    /// another gateway has taken it over, or it was moved before. Safe to repeat.
    ///
    /// # Errors
    ///
    /// If rq's Redis is not reachable within `timeout`, or refuses.
    pub async fn put_later(&self, job: &TakenJob, timeout: Duration) -> Result<bool, StoreError> {
        let mut call = LATER.call(&[self.keys.inbox(&job.inbox), self.keys.later()]);
        call.arg(&job.id);
        read(LATER.name(), self.connection.run(&LATER, &call, timeout).await?)
    }

    /// Ends the lease at once: other gateways take over the jobs that are left in the inbox.
    /// Returns their number. The inbox must not be used afterwards.
    ///
    /// # Errors
    ///
    /// If rq's Redis is not reachable within `timeout`, or refuses: the lease then ends by time.
    pub async fn leave(&self, timeout: Duration) -> Result<u64, StoreError> {
        let id = self.id();
        let mut call = LEAVE.call(&[self.keys.gateways(), self.keys.inbox(&id)]);
        call.arg(&*id);
        read(LEAVE.name(), self.connection.run(&LEAVE, &call, timeout).await?)
    }

    fn id(&self) -> Arc<str> {
        // One assignment: valid even if a thread panicked while it held the lock.
        self.id.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Reads one job of the reply of `take.lua`.
fn taken(job: [Value; 4], inbox: &Arc<str>, now_ms: u64) -> Result<TakenJob, StoreError> {
    let [id, state, data, taken_at] = job.map(|part| read::<Vec<u8>>(TAKE.name(), part));
    let data = match state?.as_slice() {
        b"ok" => Ok(data?),
        b"absent" => Err(Unreadable::Absent),
        b"type" => Err(Unreadable::NotAHash),
        b"empty" => Err(Unreadable::Empty),
        b"large" => Err(Unreadable::TooLarge),
        b"id" => Err(Unreadable::LongId),
        _ => return Err(StoreError::Unexpected(TAKE.name())),
    };
    // A caller may have written anything there.
    let taken_at = std::str::from_utf8(&taken_at?).ok().and_then(|text| text.parse().ok());
    let age = now_ms.saturating_sub(taken_at.unwrap_or(now_ms));
    Ok(TakenJob { id: id?, inbox: inbox.clone(), data, age: Duration::from_millis(age) })
}
