//! Follower the status of a job to its end.
//!
//! The record is the truth; what is said on its channel only wakes who reads it. Its states are
//! taken from the last one on that was seen, so that none is missed or seen twice, whatever is
//! lost.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{self, Poll};
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use redcall_common::context::Context;
use redcall_common::error::Code;
use redcall_common::status::JobStatus;
use redcall_store::States;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::client::Client;
use crate::error::CallError;
use crate::request::{deadline_in, left_until};
use crate::status::{JobRef, not_found};
use crate::subscriptions::Subscription;

/// How often the record is read if nothing was read of it, since what was said may have been lost,
/// and the record may have gone: ever less often.
const POLL_MIN: Duration = Duration::from_secs(10);
const POLL_MAX: Duration = Duration::from_secs(60);
/// Before Redis is asked again that could not be.
const PAUSE: Duration = Duration::from_millis(100);

/// Who waits for changes of which record, by the name of its channel.
#[derive(Default)]
pub(crate) struct Monitors {
    /// Written by monitors that come and go; read by the task of the connection.
    open: Mutex<HashMap<String, watch::Sender<()>>>,
}

impl Monitors {
    fn open(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<()>>> {
        // Nothing in here panics half-way.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something was said on a channel. Runs inside the connection's own task: must not block.
    pub(crate) fn notify(&self, channel: &[u8]) {
        let Ok(channel) = std::str::from_utf8(channel) else { return };
        if let Some(changes) = self.open().get(channel) {
            changes.send_replace(());
        }
    }

    /// From now on nothing is missed that [`Monitors::notify`] hears.
    fn wait_for(self: &Arc<Self>, channel: &str) -> Changes {
        let mut open = self.open();
        let changes = open.entry(channel.to_owned()).or_insert_with(|| watch::Sender::new(()));
        let changes = Some(changes.subscribe());
        Changes { monitors: self.clone(), channel: channel.to_owned(), changes }
    }
}

/// Somebody waits for changes. The last one of a channel takes it out of the table.
struct Changes {
    monitors: Arc<Monitors>,
    channel: String,
    /// There until it is dropped.
    changes: Option<watch::Receiver<()>>,
}

impl Changes {
    /// Returns once something was said that has not been waited for before.
    async fn changed(&mut self) {
        match &mut self.changes {
            // The sender stays in the table as long as this is there.
            Some(changes) => drop(changes.changed().await),
            None => std::future::pending().await,
        }
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        let mut open = self.monitors.open();
        self.changes = None;
        if open.get(&self.channel).is_some_and(|changes| changes.receiver_count() == 0) {
            open.remove(&self.channel);
        }
    }
}

/// The states of one job, each once and in order, ended by the last one or an error.
pub struct StatusStream(Pin<Box<dyn Stream<Item = Result<JobStatus, CallError>> + Send>>);

impl StatusStream {
    /// The next state; `None` after the last one. Cancel safe.
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
    /// Who asks before the job has ended gets every state that is kept, and those that come: each
    /// once and in order, up to `Success` or `Error`. Who asks afterwards gets that one alone. A
    /// job that is run again is `Processing` again, with another attempt. Any number of monitors
    /// share the client's connections. Dropping the stream leaves the job as it is.
    ///
    /// # Errors
    ///
    /// As [`Client::status`]. Later errors are the last item: `deadline_exceeded` when the time is
    /// over, `not_found` when the record has expired, `cancelled` inside a handler that was. After
    /// all but `not_found` the job may be monitored again.
    pub async fn monitor<'a>(&self, job: impl Into<JobRef<'a>>) -> Result<StatusStream, CallError> {
        self.monitor_within(job, self.inner.timeout).await
    }

    /// As [`Client::monitor`], for at most `within`.
    ///
    /// # Errors
    ///
    /// As [`Client::monitor`].
    pub async fn monitor_within<'a>(
        &self,
        job: impl Into<JobRef<'a>>,
        timeout: Duration,
    ) -> Result<StatusStream, CallError> {
        let context = Context::current();
        let left = context.as_ref().and_then(Context::remaining);
        let deadline = deadline_in(left.map_or(timeout, |left| left.min(timeout)));
        // Nothing of it changes anything: it may be dropped wherever it waits.
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
        // All that came before an end belongs to a life that is over: a dead letter that was
        // retried has another one.
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
            let pause = POLL_MIN;
            follower.wake =
                Some(WakeSources { changes, reconnected, pause, _subscription: subscription });
            // What came before it could be read.
            follower.read().await?;
        }
        Ok(follower)
    }
}

/// Returns when the handler that waits is not wanted any more.
async fn cancelled(context: Option<&Context>) {
    match context {
        Some(context) => context.cancel.cancelled().await,
        None => std::future::pending().await,
    }
}

fn monitor_timed_out() -> CallError {
    let message = "the job has not ended timeout the time that it is followed for; it goes on";
    CallError::refused(Code::DeadlineExceeded, message)
}

fn handler_cancelled() -> CallError {
    let message = "the handler that follows the job was cancelled; the job goes on";
    CallError::refused(Code::Cancelled, message)
}

/// What tells of a change.
struct WakeSources {
    changes: Changes,
    reconnected: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// How long until the record is read without a word.
    pause: Duration,
    _subscription: Subscription,
}

/// One who follows a record.
struct Follower {
    // Before the client, whose connection they need to go.
    wake: Option<WakeSources>,
    client: Client,
    key: String,
    deadline: Instant,
    /// The surroundings of the handler that follows; none outside of one.
    context: Option<Context>,
    /// What was read and not passed on.
    known: VecDeque<JobStatus>,
    /// The bytes of the last state that was read.
    last: Option<Vec<u8>>,
    /// Whether nothing comes after what is known.
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

    /// Waits until there may be something to read, and reads it.
    async fn wait_and_read(&mut self) -> Result<(), CallError> {
        if let Some(wake) = &mut self.wake {
            tokio::select! {
                () = wake.changes.changed() => wake.pause = POLL_MIN,
                () = &mut wake.reconnected => {
                    wake.reconnected = Box::pin(self.client.inner.link.reconnected());
                }
                () = sleep(wake.pause) => wake.pause = (2 * wake.pause).min(POLL_MAX),
            }
        }
        self.read().await
    }

    /// Reads what came after the last state, as soon as Redis can be reached.
    async fn read(&mut self) -> Result<(), CallError> {
        loop {
            let reads = &self.client.inner.reads;
            match reads.states(&self.key, left_until(self.deadline)).await {
                Ok(found) => return self.take(found),
                Err(error) if error.is_transient() && Instant::now() < self.deadline => {
                    sleep(PAUSE).await;
                }
                Err(error) => return Err(CallError::unanswered(error)),
            }
        }
    }

    fn take(&mut self, found: States) -> Result<(), CallError> {
        if !found.exists {
            return Err(not_found());
        }
        // No two are the same. Where the last one has gone, all that is there came after it.
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
