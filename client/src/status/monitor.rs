//! Following the status of a job to its end.
//!
//! The record is authoritative; a message on its channel only wakes the reader. States are read
//! from the last one seen, so none is missed or repeated, even if messages are lost.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{self, Poll};
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use redcall_common::backoff::{Backoff, retry_until};
use redcall_common::context::Context;
use redcall_common::error::Code;
use redcall_common::status::JobStatus;
use redcall_store::{AnswerOps as _, Session as _, States, StoreError};
use tokio::time::{Instant, sleep, sleep_until};

use crate::call::ticket::Ticket;
use crate::engine::client::Client;
use crate::engine::deadline::{deadline_in, left_until};
use crate::engine::monitors::Changes;
use crate::engine::subscriptions::Subscription;
use crate::error::CallError;
use crate::status::record::{JobRef, not_found};

/// Interval between reads of the record without a message, which may be lost, or the record may
/// have expired.
const POLLS: Backoff = Backoff::new(Duration::from_secs(10), Duration::from_secs(60));
/// Pauses while Redis cannot be reached.
const STATUS_RETRY: Backoff = Backoff::constant(Duration::from_millis(100));

/// The states of one job, in order and without repetition, ended by the final state or an error.
pub struct StatusStream(Pin<Box<dyn Stream<Item = Result<JobStatus, CallError>> + Send>>);

impl StatusStream {
    /// Waits for the next state; `None` after the last one. Cancel safe.
    pub async fn next(&mut self) -> Option<Result<JobStatus, CallError>> {
        self.0.next().await
    }
}

impl Stream for StatusStream {
    type Item = Result<JobStatus, CallError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

impl Client {
    /// Follows the status of a job to its end, at most for the setting `client.timeout`.
    ///
    /// If the job has not ended, the stream yields all states kept and then new ones, in order and
    /// once each, up to `Success` or `Error`. If it has ended, the stream yields that state only. A
    /// retried job is `Processing` again, with a higher attempt. Any number of monitors share the
    /// client's connections. Dropping the stream does not affect the job.
    ///
    /// ```
    /// # redcall_testkit::example::with_client(async |client| {
    /// use std::time::Duration;
    ///
    /// let request = client.request("echo").data("model 7").track_status(Duration::from_secs(60));
    /// let receipt = request.send().await?;
    /// let mut states = client.monitor(&receipt).await?;
    /// while let Some(status) = states.next().await {
    ///     let status = status?;
    ///     println!("{} since {}", status.state, status.at_ms); // ends with Success or Error
    /// }
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Client::status`]. Later errors are the last item: `deadline_exceeded` if the time is
    /// over, `not_found` if the record has expired, `cancelled` if the surrounding handler was
    /// cancelled. After any but `not_found`, the job can be monitored again.
    pub async fn monitor<'a>(&self, job: impl Into<JobRef<'a>>) -> Result<StatusStream, CallError> {
        self.monitor_timeout(job, self.inner.timeout).await
    }

    /// As [`Client::monitor`], for at most `timeout`.
    ///
    /// # Errors
    ///
    /// As [`Client::monitor`].
    pub async fn monitor_timeout<'a>(
        &self,
        job: impl Into<JobRef<'a>>,
        timeout: Duration,
    ) -> Result<StatusStream, CallError> {
        let context = Context::current();
        let left = context.as_ref().and_then(Context::remaining);
        let deadline = deadline_in(left.map_or(timeout, |left| left.min(timeout)));
        // Read-only, so it can be dropped at any await.
        let follower = tokio::select! {
            biased;
            () = cancelled(context.as_ref()) => return Err(handler_cancelled()),
            follower = self.open_monitor(job.into(), deadline, context.as_ref()) => follower?,
        };
        let states = stream::unfold(follower, async |mut follower| {
            let next = follower.next().await?;
            Some((next, follower))
        });
        Ok(StatusStream(Box::pin(states)))
    }

    async fn open_monitor(
        &self,
        job: JobRef<'_>,
        deadline: Instant,
        context: Option<&Context>,
    ) -> Result<Follower, CallError> {
        let key = self.record_of(job, deadline).await?;
        let found = self.states_at(&key, deadline).await?;
        // States up to an earlier end belong to an earlier run: a retried dead letter runs again.
        let end = found.states.iter().rposition(|(_, state)| state.state.ends());
        let first = end.map_or(0, |end| if end + 1 < found.states.len() { end + 1 } else { end });
        let states = found.states.into_iter().skip(first).collect();
        let mut follower = Follower {
            wake: None,
            client: self.clone(),
            key,
            deadline,
            context: context.cloned(),
            known: VecDeque::new(),
            last: None,
            ended: false,
        };
        follower.take(States { states, exists: found.exists })?;
        if follower.last.is_none() {
            return Err(not_found());
        }
        if !follower.ended {
            let inner = &self.inner;
            let reconnected = Box::pin(inner.link.reconnected());
            let changes = inner.monitors.wait_for(&follower.key);
            let subscription = inner.subscriptions.add(follower.key.clone());
            subscription.ready(left_until(deadline)).await?;
            let pause = POLLS.first();
            follower.wake =
                Some(WakeSources { changes, reconnected, pause, _subscription: subscription });
            // Reads states written before the subscription.
            follower.read().await?;
        }
        Ok(follower)
    }
}

impl Ticket {
    /// Follows the status of the request, as [`Client::monitor_timeout`].
    ///
    /// # Errors
    ///
    /// As [`Client::monitor`].
    pub async fn monitor(&self, timeout: Duration) -> Result<StatusStream, CallError> {
        self.client.monitor_timeout(self, timeout).await
    }
}

/// Returns when the surrounding handler is cancelled.
async fn cancelled(context: Option<&Context>) {
    match context {
        Some(context) => context.cancel.cancelled().await,
        None => std::future::pending().await,
    }
}

fn monitor_timed_out() -> CallError {
    let message = "the job did not end within the monitor's timeout; it continues";
    CallError::refused(Code::DeadlineExceeded, message)
}

fn handler_cancelled() -> CallError {
    let message = "the handler that monitors the job was cancelled; the job continues";
    CallError::refused(Code::Cancelled, message)
}

/// The sources of a wake-up.
struct WakeSources {
    changes: Changes,
    reconnected: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Time until the next read without a message.
    pause: Duration,
    _subscription: Subscription,
}

/// The state of a monitor.
struct Follower {
    // Dropped before the client, whose connection it uses.
    wake: Option<WakeSources>,
    client: Client,
    key: String,
    deadline: Instant,
    /// Context of the surrounding handler; `None` outside of a handler.
    context: Option<Context>,
    /// States read and not yet yielded.
    known: VecDeque<JobStatus>,
    /// The bytes of the last state read.
    last: Option<Vec<u8>>,
    /// `true` if no state comes after those in `known`.
    ended: bool,
}

impl Follower {
    async fn next(&mut self) -> Option<Result<JobStatus, CallError>> {
        loop {
            if let Some(state) = self.known.pop_front() {
                return Some(Ok(state));
            }
            if self.ended {
                return None;
            }
            let context = self.context.clone();
            let read = tokio::select! {
                biased;
                () = cancelled(context.as_ref()) => Err(handler_cancelled()),
                () = sleep_until(self.deadline) => Err(monitor_timed_out()),
                read = self.wait_and_read() => read,
            };
            if let Err(error) = read {
                self.ended = true;
                return Some(Err(error));
            }
        }
    }

    /// Waits for a wake-up, then reads.
    async fn wait_and_read(&mut self) -> Result<(), CallError> {
        if let Some(wake) = &mut self.wake {
            tokio::select! {
                () = wake.changes.changed() => wake.pause = POLLS.first(),
                () = &mut wake.reconnected => {
                    wake.reconnected = Box::pin(self.client.inner.link.reconnected());
                }
                () = sleep(wake.pause) => wake.pause = POLLS.following(wake.pause),
            }
        }
        self.read().await
    }

    /// Reads the states after the last one, as soon as Redis can be reached.
    async fn read(&mut self) -> Result<(), CallError> {
        let read = || self.client.inner.reads.states(&self.key, left_until(self.deadline));
        let found = retry_until(self.deadline, STATUS_RETRY, StoreError::is_transient, read).await;
        match found {
            // The deadline comes before the next attempt.
            Err(error) if error.is_transient() && Instant::now() < self.deadline => {
                sleep_until(self.deadline).await;
                Err(monitor_timed_out())
            }
            found => self.take(found.map_err(CallError::unanswered)?),
        }
    }

    fn take(&mut self, found: States) -> Result<(), CallError> {
        if !found.exists {
            return Err(not_found());
        }
        // No two states are equal. If the last one is gone, all states kept came after it.
        let known = self.last.as_ref();
        let known = known.and_then(|last| found.states.iter().rposition(|(raw, _)| raw == last));
        for (raw, state) in found.states.into_iter().skip(known.map_or(0, |last| last + 1)) {
            if self.ended {
                break;
            }
            self.last = Some(raw);
            self.ended = state.state.ends();
            self.known.push_back(state);
        }
        Ok(())
    }
}
