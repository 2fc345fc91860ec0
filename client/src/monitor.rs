//! Following the status of a job to its end.
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
use crate::listen::Listener;
use crate::request::{deadline_in, left_until};
use crate::status::{JobRef, not_found};

/// How often the record is read if nothing was heard of it, since what was said may have been lost,
/// and the record may have gone: ever less often.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
const LOOK_AT_LEAST: Duration = Duration::from_secs(60);
/// Before Redis is asked again that could not be.
const PAUSE: Duration = Duration::from_millis(100);

/// Who waits for news of which record, by the name of its channel.
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
    pub(crate) fn heard(&self, channel: &[u8]) {
        let Ok(channel) = std::str::from_utf8(channel) else { return };
        if let Some(news) = self.open().get(channel) {
            news.send_replace(());
        }
    }

    /// From now on nothing is missed that [`Monitors::heard`] hears.
    fn wait_for(self: &Arc<Self>, channel: &str) -> News {
        let mut open = self.open();
        let news = open.entry(channel.to_owned()).or_insert_with(|| watch::Sender::new(()));
        let news = Some(news.subscribe());
        News { monitors: self.clone(), channel: channel.to_owned(), news }
    }
}

/// Somebody waits for news. The last one of a channel takes it out of the table.
struct News {
    monitors: Arc<Monitors>,
    channel: String,
    /// There until it is dropped.
    news: Option<watch::Receiver<()>>,
}

impl News {
    /// Returns once something was said that has not been waited for before.
    async fn changed(&mut self) {
        match &mut self.news {
            // The sender stays in the table as long as this is there.
            Some(news) => drop(news.changed().await),
            None => std::future::pending().await,
        }
    }
}

impl Drop for News {
    fn drop(&mut self) {
        let mut open = self.monitors.open();
        self.news = None;
        if open.get(&self.channel).is_some_and(|news| news.receiver_count() == 0) {
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
        within: Duration,
    ) -> Result<StatusStream, CallError> {
        let context = Context::current();
        let left = context.as_ref().and_then(Context::remaining);
        let deadline = deadline_in(left.map_or(within, |left| left.min(within)));
        // Nothing of it changes anything: it may be dropped wherever it waits.
        let following = tokio::select! {
            biased;
            () = cancelled(context.as_ref()) => return Err(not_wanted()),
            following = self.states_of(job.into(), deadline, context.as_ref()) => following?,
        };
        let states = stream::unfold(following, async |mut following| {
            let next = following.next().await?;
            Some((next, following))
        });
        Ok(StatusStream(Box::pin(states)))
    }

    async fn states_of(
        &self,
        job: JobRef<'_>,
        deadline: Instant,
        context: Option<&Context>,
    ) -> Result<Following, CallError> {
        let key = self.record_of(job, deadline).await?;
        let found = self.states_at(&key, deadline).await?;
        // All that came before an end belongs to a life that is over: a dead letter that was
        // retried has another one.
        let end = found.states.iter().rposition(|(_, state)| state.state.ends());
        let first = end.map_or(0, |end| if end + 1 < found.states.len() { end + 1 } else { end });
        let states = found.states.into_iter().skip(first).collect();
        let mut following = Following {
            ears: None,
            client: self.clone(),
            key,
            deadline,
            context: context.cloned(),
            known: VecDeque::new(),
            last: None,
            ended: false,
        };
        following.take(States { states, exists: found.exists })?;
        if following.last.is_none() {
            return Err(not_found());
        }
        if !following.ended {
            let inner = &self.inner;
            let reconnected = Box::pin(inner.link.reconnected());
            let news = inner.monitors.wait_for(&following.key);
            let listener = inner.channels.listen(following.key.clone());
            listener.ready(left_until(deadline)).await?;
            let pause = LOOK_AGAIN;
            following.ears = Some(Ears { news, reconnected, pause, _listener: listener });
            // What came before it could be heard.
            following.read().await?;
        }
        Ok(following)
    }
}

/// Returns when the handler that waits is not wanted any more.
async fn cancelled(context: Option<&Context>) {
    match context {
        Some(context) => context.cancel.cancelled().await,
        None => std::future::pending().await,
    }
}

fn too_late() -> CallError {
    let message = "the job has not ended within the time that it is followed for; it goes on";
    CallError::refused(Code::DeadlineExceeded, message)
}

fn not_wanted() -> CallError {
    let message = "the handler that follows the job was cancelled; the job goes on";
    CallError::refused(Code::Cancelled, message)
}

/// What tells of a change.
struct Ears {
    news: News,
    reconnected: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// How long until the record is read without a word.
    pause: Duration,
    _listener: Listener,
}

/// One who follows a record.
struct Following {
    // Before the client, whose connection they need to go.
    ears: Option<Ears>,
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

impl Following {
    async fn next(&mut self) -> Option<Result<JobStatus, CallError>> {
        loop {
            if let Some(state) = self.known.pop_front() {
                return Some(Ok(state));
            }
            if self.ended {
                return None;
            }
            let context = self.context.clone();
            let heard = tokio::select! {
                biased;
                () = cancelled(context.as_ref()) => Err(not_wanted()),
                () = sleep_until(self.deadline) => Err(too_late()),
                heard = self.hear() => heard,
            };
            if let Err(error) = heard {
                self.ended = true;
                return Some(Err(error));
            }
        }
    }

    /// Waits until there may be something to read, and reads it.
    async fn hear(&mut self) -> Result<(), CallError> {
        if let Some(ears) = &mut self.ears {
            tokio::select! {
                () = ears.news.changed() => ears.pause = LOOK_AGAIN,
                () = &mut ears.reconnected => {
                    ears.reconnected = Box::pin(self.client.inner.link.reconnected());
                }
                () = sleep(ears.pause) => ears.pause = (2 * ears.pause).min(LOOK_AT_LEAST),
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
