//! Waiting later: for a submitted request, here or in another process.

use std::time::Duration;

use redcall_common::error::Code;
use redcall_common::frame::Frame;
use tokio::time::{Instant, timeout_at};

use crate::client::Client;
use crate::error::CallError;
use crate::pending::Stage;
use crate::replies;
use crate::response::Response;
use crate::send::closed;

/// A request that was queued and whose answer can be fetched.
pub struct Ticket {
    pub(crate) client: Client,
    /// The request's id.
    pub id: String,
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
    /// never was such a request. [`CallError::TimedOut`]: it may be fetched again. Dropping the
    /// future changes nothing.
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
        within: Duration,
    ) -> Result<Response, CallError> {
        let inner = &self.inner;
        let Some((queue, id)) = inner.keys.parse_response(response_key) else {
            let message = format!("`{response_key}` is not a response key");
            return Err(CallError::rejected(Code::InvalidRequest, message));
        };
        let keys = inner.route(queue).keys.clone();
        let deadline = Instant::now() + within;
        let channel = keys.notify(id);
        // Heard before the key is read, so that no answer can come in between.
        inner.link.subscribe(&channel, within).await?;
        let (_guard, answer) = inner.pending.wait_for(id, response_key, Stage::Sent);
        let waiting = async {
            match self.look(response_key).await? {
                Some(frame) if frame.kind.ends() => Ok(frame),
                Some(_) => answer.await.map_err(|_| closed())?,
                None => Err(not_found()),
            }
        };
        let ended = timeout_at(deadline, waiting).await;
        inner.link.unsubscribe(&channel).await;
        let frame = ended.unwrap_or(Err(CallError::TimedOut))?;
        inner.forget(&keys, response_key);
        Response::from_frame(frame, response_key.to_owned())
    }

    async fn look(&self, response_key: &str) -> Result<Option<Frame>, CallError> {
        let keys = [response_key.to_owned()];
        let frames = self.inner.link.last_frames(&keys, self.inner.timeout).await?;
        Ok(frames.into_iter().flatten().next().and_then(|raw| replies::parse(&raw)))
    }
}

fn not_found() -> CallError {
    let message = "nothing lies at the response key: taken, expired or never queued";
    CallError::rejected(Code::NotFound, message)
}
