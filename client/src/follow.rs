//! Following what somebody else has sent: another client, perhaps in another process.

use std::time::Duration;

use redcall_common::context::Context;
use redcall_common::keys::QueueKeys;
use tokio::time::{sleep, timeout_at};

use crate::client::Client;
use crate::error::CallError;
use crate::replies::{self, Wanted};
use crate::request::deadline_in;
use crate::stream::{FrameStream, Ownership, Source};

/// How long after a look at the key the next one is made, while nobody announces its frames here;
/// the pause then doubles.
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(1);
const READ_TIMEOUT: Duration = Duration::from_secs(5);

impl Client {
    /// Follows a request that somebody else has sent, perhaps in another process: the updates from
    /// frame `from` of its present attempt on (the first one is 1), to the end. It may have sent
    /// that frame already, or not yet; an end that comes before it is given.
    ///
    /// It takes over the reading: what it has given is dropped at Redis as by any [`FrameStream`],
    /// so that the handler goes on. The request itself goes on when it is dropped. Whoever has
    /// followed as far as [`FrameStream::position`] goes on elsewhere from the number after that.
    ///
    /// Frames come as soon as they are announced on the channel that the request names. Which one
    /// that is is known while a worker has it; until then, and for a request without a channel, the
    /// key is read at every 250 ms, after a second once a second. All streams of a client share
    /// its connections. The channel is that of the client that has sent the request: what else is
    /// announced there comes here as well, and is passed over.
    ///
    /// Each wait for a next frame ends after the setting `client.timeout`, and inside a handler
    /// with that one's time.
    ///
    /// # Errors
    ///
    /// `not_found` when nothing lies at the key (the answer was taken or has expired, the worker
    /// has not sent anything yet, or there never was such a request) or frame `from` was read and
    /// dropped; `invalid_request` when it is no response key; `unavailable` when Redis cannot be
    /// reached. Dropping the future changes nothing.
    pub async fn follow(&self, response_key: &str, from: u64) -> Result<FrameStream, CallError> {
        self.follow_within(response_key, from, self.inner.timeout).await
    }

    /// As [`Client::follow`], waiting for each frame for at most `within`.
    ///
    /// # Errors
    ///
    /// As [`Client::follow`].
    pub async fn follow_within(
        &self,
        response_key: &str,
        from: u64,
        timeout: Duration,
    ) -> Result<FrameStream, CallError> {
        let inner = &self.inner;
        let Some((queue, id)) = inner.keys.parse_response(response_key) else {
            return Err(CallError::no_response_key(response_key));
        };
        let context = Context::current();
        let left = context.as_ref().and_then(Context::remaining);
        let deadline = deadline_in(left.map_or(timeout, |left| left.min(timeout)));
        let read = timeout_at(deadline, self.start_position(response_key, from));
        let position = read.await.unwrap_or_else(|_| Err(CallError::not_in_time()))?;
        let waiter = inner.in_flight.join(id, response_key, position);
        // What was pushed since is read now; what is pushed from now on comes to the waiter.
        let _ = inner.wanted.send(Wanted::Key(id.to_owned()));
        let keys = inner.route(queue).keys.clone();
        let announcements =
            Box::pin(self.clone().subscribe_to_frames(queue.to_owned(), id.to_owned()));
        let ownership = Ownership::Foreign { timeout };
        let (id, response_key) = (id.to_owned(), response_key.to_owned());
        let source = Source { id, response_key, keys, ownership, context };
        Ok(FrameStream::new(self.clone(), source, waiter, Some(announcements)))
    }

    /// Attempt and `seq` to begin with: the present attempt is that of the last frame.
    async fn start_position(&self, response_key: &str, from: u64) -> Result<(u32, u64), CallError> {
        let (reads, from) = (&self.inner.reads, from.max(1));
        let _permit = self.inner.read_permits.acquire().await;
        let keys = [response_key.to_owned()];
        let last = reads.last_frames(&keys, READ_TIMEOUT).await.map_err(CallError::unanswered)?;
        let last = last.into_iter().flatten().next().and_then(|raw| replies::parse(&raw));
        let attempt = last.ok_or_else(CallError::nothing_there)?.attempt.max(1);
        let first =
            reads.first_frame(response_key, READ_TIMEOUT).await.map_err(CallError::unanswered)?;
        match first.and_then(|raw| replies::parse(&raw)) {
            None => Err(CallError::nothing_there()),
            Some(first) if first.attempt == attempt && first.seq > from => {
                Err(CallError::trimmed(from))
            }
            // An earlier attempt lies before the present one, which is whole then.
            Some(_) => Ok((attempt, from)),
        }
    }

    /// Has the frames of a request heard here, as soon as it is known where they are announced.
    /// Never ends: dropped, it does not listen any more.
    async fn subscribe_to_frames(self, queue: String, id: String) {
        let (inner, mut pause) = (&self.inner, PAUSE_MIN);
        let route = inner.route(&queue);
        let keys: &QueueKeys = &route.keys;
        loop {
            match inner.reads.channel_of(keys, &id, READ_TIMEOUT).await {
                // This very client has sent it: its channel is heard as long as it lives.
                Ok(Some(channel)) if channel == route.notify => {
                    if inner.prepare(&route, true, deadline_in(READ_TIMEOUT)).await.is_ok() {
                        return self.read_then_wait(&id).await;
                    }
                }
                Ok(Some(channel)) => {
                    let subscription = inner.subscriptions.add(channel);
                    if subscription.ready(READ_TIMEOUT).await.is_ok() {
                        return self.read_then_wait(&id).await;
                    }
                }
                Ok(None) | Err(_) => {}
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
            let _ = inner.wanted.send(Wanted::Key(id.clone()));
        }
    }

    /// Looks once more at what came before it was heard.
    async fn read_then_wait(&self, id: &str) {
        let _ = self.inner.wanted.send(Wanted::Key(id.to_owned()));
        std::future::pending().await
    }
}
