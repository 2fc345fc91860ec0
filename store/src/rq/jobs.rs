//! Enqueuing jobs for rq workers, and waiting for their answers.
//!
//! An answer is an element that the worker pushes to the job's response key. All waits share one
//! connection: Redis reports when a response key changes (`CLIENT TRACKING`), and the answer is
//! read without removing it. So a connection that breaks loses no answer, and an answer of any size
//! is judged at Redis.
//!
//! Workers of python-rpc set no TTL, and may push an answer at any time. So each response key is
//! reserved before its job exists: a list with one element of the gateway, and with a TTL, which a
//! push keeps. No answer stays without limit, whatever happens to the gateway.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::{Pipeline, Value};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout_at};

use super::keys::{self, QUEUES};
use super::script::ANSWER;
use crate::connection::{Connection, Connector, PushHandler};
use crate::error::StoreError;
use crate::ops::reply::read;

/// How long a job outlives its caller at most: until then a worker may find it in the queue.
const KEPT: Duration = Duration::from_secs(60);
/// How long a worker may still push to a response key after the time of its job: rq ends its
/// process at most a minute after that.
const PUSHES: Duration = Duration::from_secs(90);
/// The element that reserves a response key.
const RESERVED: &str = "reserved by redcall-gateway";
/// The pause before a read that failed is repeated.
const PAUSE: Duration = Duration::from_millis(100);

/// Jobs for rq workers, on one connection that reconnects by itself.
pub struct RqJobs {
    connection: Connection,
    waits: Waits,
}

/// A job for an rq worker.
#[derive(Debug, Clone, Copy)]
pub struct NewJob<'a> {
    /// Its id in rq, which nothing else has.
    pub id: &'a str,
    /// The rq queue.
    pub queue: &'a str,
    /// Where its worker pushes the answer.
    pub response_key: &'a str,
    /// How long its caller waits, and how long rq lets its worker run.
    pub timeout: Duration,
}

/// An answer of an rq worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RqAnswer {
    /// The element that the worker pushed.
    Element(Vec<u8>),
    /// It has this number of bytes, which is over the limit.
    TooLarge(usize),
    /// The worker did something else with the response key.
    NotAList,
}

/// The waits by response key. Written by each wait, read by the connection's task.
type Waits = Arc<Mutex<HashMap<Vec<u8>, Arc<Notify>>>>;

/// A wait, registered until it is dropped.
struct Wait {
    waits: Waits,
    key: Vec<u8>,
    changed: Arc<Notify>,
}

impl Wait {
    fn new(waits: &Waits, key: &str) -> Self {
        let (key, changed) = (key.as_bytes().to_vec(), Arc::new(Notify::new()));
        locked(waits).insert(key.clone(), changed.clone());
        Self { waits: waits.clone(), key, changed }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        locked(&self.waits).remove(&self.key);
    }
}

impl RqJobs {
    /// Connects.
    ///
    /// # Errors
    ///
    /// The error of the first attempt; later ones are retried without limit.
    pub async fn open(connector: Connector) -> Result<Self, StoreError> {
        let waits = Waits::default();
        let handler = {
            let waits = waits.clone();
            Arc::new(move |_: &[u8], key: &[u8]| wake(&waits, key)) as PushHandler
        };
        let connection = Connection::open_tracking(connector, handler, vec![&*ANSWER]).await?;
        Ok(Self { connection, waits })
    }

    /// Returns `true` if rq's Redis is connected now.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.connection.is_up()
    }

    /// Enqueues a job with the `fields` of its hash, and reserves its response key, in one step.
    /// The job expires a minute after its timeout, unless a worker has begun it.
    ///
    /// # Errors
    ///
    /// If rq's Redis is not reachable within `timeout`, or refuses. After a lost reply the job may
    /// be queued: [`RqJobs::withdraw`] it.
    pub async fn enqueue(
        &self,
        job: &NewJob<'_>,
        fields: &[(&'static str, &[u8])],
        timeout: Duration,
    ) -> Result<(), StoreError> {
        let (key, queue) = (keys::job(job.id), keys::queue(job.queue));
        let mut pipe = redis::pipe();
        pipe.atomic().sadd(QUEUES, &queue).ignore();
        pipe.hset_multiple(&key, fields).ignore();
        let kept = job.timeout + KEPT;
        pipe.expire(&key, seconds(kept)).ignore();
        // A worker that begins at the last moment.
        reserve(&mut pipe, job, kept + job.timeout + PUSHES);
        pipe.rpush(&queue, job.id).ignore();
        let enqueuing = self.connection.with(timeout, async |conn| pipe.exec_async(conn).await);
        self.bounded(Instant::now() + timeout, enqueuing).await
    }

    /// Waits until `deadline` for the answer, which stays where it is. Returns `None` if there is
    /// none. Cancel-safe.
    ///
    /// # Errors
    ///
    /// If rq's Redis refuses. A lost connection is waited for.
    pub async fn answer(
        &self,
        response_key: &str,
        max: usize,
        deadline: Instant,
    ) -> Result<Option<RqAnswer>, StoreError> {
        // Before the first read: an answer in between is noticed.
        let wait = Wait::new(&self.waits, response_key);
        loop {
            let reconnected = self.connection.reconnected();
            match self.bounded(deadline, self.check(response_key, max, deadline)).await {
                Ok(Some(answer)) => return Ok(Some(answer)),
                Ok(None) => {
                    tokio::select! {
                        () = wait.changed.notified() => {}
                        // The new connection reports no changes until the key is read again.
                        () = reconnected => {}
                        () = tokio::time::sleep_until(deadline) => return Ok(None),
                    }
                }
                Err(error) if Instant::now() >= deadline => {
                    tracing::debug!(%error, "the wait for an rq worker's answer ended");
                    return Ok(None);
                }
                Err(error) if error.is_transient() => sleep(PAUSE).await,
                Err(error) => return Err(error),
            }
        }
    }

    /// Removes a job that has ended or whose caller is gone, and its answer. A worker that runs it
    /// is not disturbed: what it pushes expires.
    ///
    /// # Errors
    ///
    /// If rq's Redis is not reachable within `timeout`, or refuses.
    pub async fn withdraw(&self, job: &NewJob<'_>, timeout: Duration) -> Result<(), StoreError> {
        let mut pipe = redis::pipe();
        pipe.atomic().lrem(keys::queue(job.queue), 1, job.id).ignore();
        pipe.del(keys::job(job.id)).ignore();
        replace(&mut pipe, job);
        let withdrawing = self.connection.with(timeout, async |conn| pipe.exec_async(conn).await);
        self.bounded(Instant::now() + timeout, withdrawing).await
    }

    /// Removes the answer of a job. The job's hash stays: the worker sets its TTL. A second answer
    /// expires.
    ///
    /// # Errors
    ///
    /// If rq's Redis is not reachable within `timeout`, or refuses.
    pub async fn remove_answer(
        &self,
        job: &NewJob<'_>,
        timeout: Duration,
    ) -> Result<(), StoreError> {
        let mut pipe = redis::pipe();
        replace(pipe.atomic(), job);
        let removing = self.connection.with(timeout, async |conn| pipe.exec_async(conn).await);
        self.bounded(Instant::now() + timeout, removing).await
    }

    /// Reads the answer, if there is one; its next change is then reported.
    async fn check(
        &self,
        key: &str,
        max: usize,
        deadline: Instant,
    ) -> Result<Option<RqAnswer>, StoreError> {
        let mut pipe = redis::pipe();
        pipe.cmd("CLIENT").arg("CACHING").arg("YES").ignore().cmd("EXISTS").arg(key);
        let left = deadline.saturating_duration_since(Instant::now());
        let checking = async |conn: &mut _| pipe.query_async::<(bool,)>(conn).await;
        let (exists,) = self.connection.with(left, checking).await?;
        if !exists {
            return Ok(None);
        }
        let mut call = ANSWER.call(&[key]);
        call.arg(max);
        let parts: Vec<Value> =
            read(ANSWER.name(), self.connection.run(&ANSWER, &call, left).await?)?;
        match <[Value; 2]>::try_from(parts) {
            Ok([_, element]) => Ok(Some(RqAnswer::Element(read(ANSWER.name(), element)?))),
            Err(parts) => match parts.as_slice() {
                // It expired or was removed since.
                [] => Ok(None),
                [Value::Int(-1)] => Ok(Some(RqAnswer::NotAList)),
                [Value::Int(length)] => {
                    Ok(Some(RqAnswer::TooLarge(usize::try_from(*length).unwrap_or(usize::MAX))))
                }
                _ => Err(StoreError::Unexpected(ANSWER.name())),
            },
        }
    }

    /// Ends an operation at `deadline`.
    async fn bounded<T>(
        &self,
        deadline: Instant,
        operation: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let ended = timeout_at(deadline, operation).await;
        ended.unwrap_or_else(|_| Err(self.connection.connector().unreachable(None)))
    }
}

/// Removes all that is at a response key, and reserves it for as long as a worker that has begun
/// its job may push.
fn replace(pipe: &mut Pipeline, job: &NewJob<'_>) {
    pipe.del(job.response_key).ignore();
    reserve(pipe, job, job.timeout + PUSHES);
}

fn reserve(pipe: &mut Pipeline, job: &NewJob<'_>, ttl: Duration) {
    pipe.rpush(job.response_key, RESERVED).ignore();
    pipe.expire(job.response_key, seconds(ttl)).ignore();
}

/// Returns a TTL in seconds, rounded up.
fn seconds(ttl: Duration) -> i64 {
    ttl.as_millis().div_ceil(1000).try_into().unwrap_or(i64::MAX)
}

/// Wakes the wait for `key`; all waits if it is empty.
fn wake(waits: &Waits, key: &[u8]) {
    let waits = locked(waits);
    match key {
        [] => waits.values().for_each(|changed| changed.notify_one()),
        key => waits.get(key).into_iter().for_each(|changed| changed.notify_one()),
    }
}

fn locked(waits: &Waits) -> MutexGuard<'_, HashMap<Vec<u8>, Arc<Notify>>> {
    // Each change is one insert or removal: valid even if a thread panicked in between.
    waits.lock().unwrap_or_else(PoisonError::into_inner)
}
