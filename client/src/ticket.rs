//! Waiting later: for a submitted request, here or in another process.

use std::time::Duration;

use redcall_common::auth::Call;
use redcall_common::context::Context;
use redcall_common::durability::Durability;
use redcall_common::frame::Frame;
use redcall_store::StoreError;
use tokio::sync::oneshot;
use tokio::time::timeout_at;

use crate::cancel::Origin;
use crate::client::{Client, Inner};
use crate::error::CallError;
use crate::in_flight::Stage;
use crate::replies;
use crate::request::{deadline_in, left_until};
use crate::response::Response;

/// A request that was queued and whose answer can be fetched.
pub struct Ticket {
    pub(crate) client: Client,
    pub(crate) origin: Origin,
    /// The request's id.
    pub id: String,
    /// How safe the request is for certain; see [`crate::Receipt::durability`].
    pub durability: Durability,
    /// What another process needs to fetch the answer: [`Client::fetch`].
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
    /// # Errors
    ///
    /// `not_found` when nothing lies at the key: its answer was taken or has expired, or there
    /// never was such a request. [`CallError::TimedOut`], [`CallError::Unanswered`] and, inside a
    /// handler, [`CallError::Cancelled`]: it may be fetched again. Several fetches of this client
    /// at once each get the answer. Cancel safe: dropping the future leaves the answer where it
    /// is, and the job as it is.
    pub async fn fetch(&self, response_key: &str) -> Result<Response, CallError> {
        self.fetch_within(response_key, self.inner.timeout).await
    }

    /// As [`Client::fetch`], for at most `within`.
    ///
    /// # Errors
    ///
    /// As [`Client::fetch`].
    pub async fn fetch_within(
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
        // Both go with this future, however it ends.
        let subscription = inner.subscriptions.add(keys.notify(id));
        let (_guard, answer) = inner.in_flight.wait_for(id, response_key, Stage::Sent, None);
        let ended = async {
            let reading = async {
                // Heard before the key is read, so that no answer can come in between.
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
        inner.forget(&keys, response_key);
        let frame = inner.trusted(frame, response_key, Call::Unknown)?;
        Response::from_frame(frame, response_key.to_owned())
    }

    /// Looks at the key once; hands `answer` back if it is still to come.
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
            // Everybody here who waits for it gets it, before it is deleted.
            Some(frame) if frame.kind.ends() => drop(in_flight.deliver([frame].into_iter())),
            Some(_) => {}
            // Taken meanwhile: by another fetch of this client, which has delivered it, or not.
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

/// What a look at a response key finds.
enum ReadResult {
    /// The ending frame, which another waiter of this client has taken.
    Ended(Frame),
    /// It comes, or has come.
    Open(Answer),
}

/// Nothing tells an answer any more: this client's tasks have ended.
fn client_stopped() -> CallError {
    CallError::unanswered(StoreError::Ended)
}
