//! Fetching the answer of a submitted request, in this or another process.

use std::time::Duration;

use redcall_common::auth::Call;
use redcall_common::context::Context;
use redcall_common::durability::Durability;
use redcall_common::frame::Frame;
use redcall_store::{AnswerOps as _, StoreError};
use tokio::sync::oneshot;
use tokio::time::timeout_at;

use crate::engine::client::{Client, Inner};
use crate::engine::deadline::{deadline_in, left_until};
use crate::engine::in_flight::Stage;
use crate::engine::replies;
use crate::engine::withdrawal::Origin;
use crate::error::CallError;
use crate::response::Response;

/// A request that was enqueued and whose answer can be fetched.
///
/// ```
/// # redcall_testkit::example::with_client(async |client| {
/// let ticket = client.request("echo").data("hello").submit().await?;
/// println!("submitted {}", ticket.id);
/// assert_eq!(ticket.wait().await?.json::<String>()?, "hello");
/// # Ok(()) });
/// ```
pub struct Ticket {
    pub(crate) client: Client,
    pub(crate) origin: Origin,
    /// The request's id.
    pub id: String,
    /// The durability level confirmed within the timeout; see [`crate::Receipt::durability`].
    pub durability: Durability,
    /// The key by which any process fetches the answer: [`Client::fetch`].
    pub response_key: String,
}

impl Ticket {
    /// Waits for the answer, at most for the setting `client.timeout`.
    ///
    /// # Errors
    ///
    /// As [`Client::fetch`].
    pub async fn wait(&self) -> Result<Response, CallError> {
        self.client.fetch(&self.response_key).await
    }
}

impl Client {
    /// Waits for the answer of a submitted request, at most for the setting `client.timeout`.
    ///
    /// ```
    /// # redcall_testkit::example::with_client(async |client| {
    /// use redcall_client::Code;
    ///
    /// let ticket = client.request("echo").data("hello").submit().await?;
    /// assert_eq!(client.fetch(&ticket.response_key).await?.json::<String>()?, "hello");
    ///
    /// let error = client.fetch("redcall:{default}:response:other").await.unwrap_err();
    /// assert_eq!(error.code(), Code::NotFound);
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    ///
    /// `not_found` if the response key is empty: its answer was fetched or has expired, or there is
    /// no such request. After [`CallError::TimedOut`], [`CallError::Unanswered`] and, inside a
    /// handler, [`CallError::Cancelled`], it can be fetched again. Concurrent fetches of one client
    /// all get the answer. Cancel safe: dropping the future affects neither the answer nor the job.
    pub async fn fetch(&self, response_key: &str) -> Result<Response, CallError> {
        self.fetch_timeout(response_key, self.inner.timeout).await
    }

    /// As [`Client::fetch`], for at most `timeout`.
    ///
    /// # Errors
    ///
    /// As [`Client::fetch`].
    pub async fn fetch_timeout(
        &self,
        response_key: &str,
        timeout: Duration,
    ) -> Result<Response, CallError> {
        let inner = &self.inner;
        let Some((queue, id)) = inner.keys.parse_response(response_key) else {
            return Err(CallError::no_response_key(response_key));
        };
        let keys = inner.route(queue).keys.clone();
        let context = Context::current();
        let left = context.as_ref().and_then(Context::remaining);
        let deadline = deadline_in(left.map_or(timeout, |left| left.min(timeout)));
        // Both are dropped with this future.
        let subscription = inner.subscriptions.add(keys.notify(id));
        let (_guard, answer) = inner.in_flight.wait_for(id, response_key, Stage::Sent, None);
        let ended = async {
            let reading = async {
                // Subscribed before the key is read, so that no announcement is missed.
                subscription.ready(left_until(deadline)).await?;
                self.read_answer(response_key, answer, left_until(deadline)).await
            };
            let read = timeout_at(deadline, reading).await;
            match read.unwrap_or_else(|_| Err(CallError::not_in_time()))? {
                ReadResult::Ended(frame) => Ok(frame),
                ReadResult::Open(answer) => match timeout_at(deadline, answer).await {
                    Ok(answer) => answer.unwrap_or_else(|_| Err(client_stopped())),
                    Err(_) => Err(CallError::TimedOut),
                },
            }
        };
        let cancelled = async {
            match &context {
                Some(context) => context.cancel.cancelled().await,
                None => std::future::pending().await,
            }
        };
        let frame = tokio::select! {
            ended = ended => ended?,
            () = cancelled => return Err(CallError::Cancelled),
        };
        inner.forget(&keys, response_key, &frame);
        let frame = inner.trusted(frame, response_key, Call::Unknown)?;
        Response::from_frame(frame, response_key.to_owned())
    }

    /// Reads the key once; returns `answer` if the request has not ended.
    async fn read_answer(
        &self,
        response_key: &str,
        mut answer: Answer,
        timeout: Duration,
    ) -> Result<ReadResult, CallError> {
        let Inner { reads, in_flight, read_permits, .. } = &*self.inner;
        let read = {
            let _permit = read_permits.acquire().await;
            reads.last_frames(&[response_key.to_owned()], timeout).await
        };
        let read = read.map_err(CallError::unanswered)?;
        match read.into_iter().flatten().next().and_then(|raw| replies::parse(&raw)) {
            // Delivered to all waiters of this client before the key is deleted.
            Some(frame) if frame.kind.ends() => drop(in_flight.deliver([frame].into_iter())),
            Some(_) => {}
            // Taken in the meantime, perhaps by another fetch of this client, which has delivered
            // it.
            None => {
                let delivered =
                    answer.try_recv().unwrap_or_else(|_| Err(CallError::nothing_there()));
                return delivered.map(ReadResult::Ended);
            }
        }
        Ok(ReadResult::Open(answer))
    }
}

type Answer = oneshot::Receiver<Result<Frame, CallError>>;

/// The result of reading a response key.
enum ReadResult {
    /// The final frame, taken by another waiter of this client.
    Ended(Frame),
    /// The final frame will be delivered here.
    Open(Answer),
}

/// The answer cannot be delivered: this client's tasks have ended.
fn client_stopped() -> CallError {
    CallError::unanswered(StoreError::Ended)
}
