//! Following requests of other clients, also of other processes.

use std::time::Duration;

use redcall_common::backoff::Backoff;
use redcall_common::context::Context;
use redcall_common::keys::QueueKeys;
use redcall_store::AnswerOps as _;
use tokio::time::{sleep, timeout_at};

use crate::call::stream::{FrameStream, Ownership, Source};
use crate::engine::client::Client;
use crate::engine::deadline::deadline_in;
use crate::engine::replies::{self, READ_TIMEOUT, Wanted};
use crate::error::CallError;

/// Pauses between reads of the key while the channel of its announcements is unknown.
const READS: Backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(1));

impl Client {
    /// Streams a request that another client has sent, perhaps in another process: from frame
    /// `from` of its current attempt (the first frame is 1) to the end. The frame may exist already
    /// or come later. If the request ends before it, the stream yields the final frame.
    ///
    /// The stream trims frames as it reads them, like any [`FrameStream`], so that the handler is
    /// not blocked. Dropping the stream does not affect the request. To continue in another
    /// process, follow from the number after [`FrameStream::position`].
    ///
    /// Frames arrive as soon as they are announced on the channel of the request. The channel is
    /// known once a worker has leased the request. Until then, and for a request without a channel,
    /// the key is read after 250 ms, then with doubling pauses of up to 1 s. All streams of a
    /// client share its connections. Other announcements on the channel are ignored.
    ///
    /// Each wait for a next frame is limited by the setting `client.timeout` and, inside a handler,
    /// by the handler's remaining time.
    ///
    /// ```
    /// # redcall_testkit::example::with_client(async |client| {
    /// use redcall_client::Update;
    /// use serde_json::json;
    ///
    /// let ticket = client.request("count").data(&json!({"to": 3})).submit().await?;
    ///
    /// // In any process that has the response key:
    /// let mut stream = client.follow(&ticket.response_key, 1).await?;
    /// let mut parts = Vec::new();
    /// while let Some(update) = stream.next().await {
    ///     if let Update::Chunk(part) = update? {
    ///         parts.push(part.to_string());
    ///     }
    /// }
    /// assert_eq!(parts, ["1", "2", "3"]);
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    ///
    /// `not_found` if the response key is empty (its answer was fetched or has expired, the worker
    /// has sent nothing yet, or there is no such request) or frame `from` was trimmed;
    /// `invalid_request` if it is not a valid response key; `unavailable` if Redis cannot be
    /// reached. Cancel safe.
    pub async fn follow(&self, response_key: &str, from: u64) -> Result<FrameStream, CallError> {
        self.follow_timeout(response_key, from, self.inner.timeout).await
    }

    /// As [`Client::follow`], waiting for each frame for at most `timeout`.
    ///
    /// # Errors
    ///
    /// As [`Client::follow`].
    pub async fn follow_timeout(
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
        // Reads the frames pushed so far; later ones are delivered to the waiter.
        let _ = inner.wanted.send(Wanted::Key(id.to_owned()));
        let keys = inner.route(queue).keys.clone();
        let announcements =
            Box::pin(self.clone().subscribe_to_frames(queue.to_owned(), id.to_owned()));
        let ownership = Ownership::Foreign { timeout };
        let (id, response_key) = (id.to_owned(), response_key.to_owned());
        let source = Source { id, response_key, keys, ownership, context };
        Ok(FrameStream::new(self.clone(), source, waiter, Some(announcements)))
    }

    /// Returns attempt and `seq` of the first frame to yield. The last frame has the current
    /// attempt.
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
            // Frames of an earlier attempt precede the current one, which is complete then.
            Some(_) => Ok((attempt, from)),
        }
    }

    /// Subscribes to the channel of the request's frames as soon as it is known. Never returns;
    /// dropping it unsubscribes.
    async fn subscribe_to_frames(self, queue: String, id: String) {
        let (inner, mut pause) = (&self.inner, READS.first());
        let route = inner.route(&queue);
        let keys: &QueueKeys = &route.keys;
        loop {
            match inner.reads.channel_of(keys, &id, READ_TIMEOUT).await {
                // Sent by this client: its channel is subscribed as long as it lives.
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
            pause = READS.following(pause);
            let _ = inner.wanted.send(Wanted::Key(id.clone()));
        }
    }

    /// Reads frames announced before the subscription, then waits forever.
    async fn read_then_wait(&self, id: &str) {
        let _ = self.inner.wanted.send(Wanted::Key(id.to_owned()));
        std::future::pending().await
    }
}
