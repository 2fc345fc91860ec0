//! Settling a deferred answer with its completion token, from any process.

use std::future::Future;
use std::time::Duration;

use redcall_common::auth::{Keyring, Signer};
use redcall_common::backoff::{Backoff, retry_until};
use redcall_common::depth::data_fits;
use redcall_common::error::{Code, WireError};
use redcall_common::frame::FrameType;
use redcall_common::frame_head::FrameHead;
use redcall_common::limits::Limits;
use redcall_common::name::new_id;
use redcall_common::token::CompletionToken;
use redcall_store::{
    AnswerOps as _, Covered, DeferredRun, DeferredSettled, EndedDeferred, StoreError,
};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use tokio::time::{Instant, timeout_at};

use crate::engine::client::Client;
use crate::error::code_of;

/// Pauses while Redis cannot be reached.
const SETTLE_RETRY: Backoff = Backoff::constant(Duration::from_millis(50));

/// Why a deferred request was not settled, or not with the given result.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// No such deferred request: it timed out, was cancelled, or the token is wrong.
    #[error("not_found: no deferred request has this token; it may have timed out")]
    NotFound,
    /// The request was signed, so its answer has to be signed. Nothing was done.
    #[error(
        "unauthorized: the answer has to be signed with key `{0}`, which this client does not have"
    )]
    NoKey(String),
    /// The record of the request differs from what its worker wrote. Nothing was done.
    #[error(
        "unauthorized: the record of this request was changed in Redis, or its worker does not \
         sign; nothing was done"
    )]
    Forged,
    /// The data cannot be serialized as JSON. The caller gets `handler_failed`.
    #[error(
        "invalid_data: the answer cannot be serialized as JSON; its caller gets handler_failed"
    )]
    Encode(#[source] serde_json::Error),
    /// The data exceed `limits.answer`. The caller gets `too_large`.
    #[error(
        "too_large: the answer has {size} bytes, the limit is {limit}; its caller gets this error"
    )]
    TooLarge {
        /// Size of the data, bytes.
        size: usize,
        /// The limit, bytes.
        limit: usize,
    },
    /// The data nest too deep for a frame. The caller gets `too_large`.
    #[error(
        "too_large: the frame of the answer would nest deeper than {limit} levels (limits.depth); \
         its caller gets this error"
    )]
    TooDeep {
        /// The limit, levels.
        limit: usize,
    },
    /// Redis cannot be reached or refuses. If [`StoreError::may_have_happened`] returns `true`, the
    /// request may be settled.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Redis did not confirm it in time: the request may be settled.
    #[error(
        "unavailable: Redis did not confirm it within `client.timeout`; the request may be settled"
    )]
    Unconfirmed,
}

impl SettleError {
    /// Returns the error code.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::NotFound => Code::NotFound,
            Self::NoKey(_) | Self::Forged => Code::Unauthorized,
            Self::Encode(_) => Code::InvalidData,
            Self::TooLarge { .. } | Self::TooDeep { .. } => Code::TooLarge,
            Self::Store(error) => code_of(error),
            Self::Unconfirmed => Code::Unavailable,
        }
    }
}

impl Client {
    /// Settles a deferred request with its completion token: its caller gets the answer or the
    /// error. If it was deferred with a notification, an event is published. Returns `false` if the
    /// request was already settled.
    ///
    /// ```
    /// use redcall_client::CompletionToken;
    /// use serde_json::{Value, json};
    ///
    /// # use redcall_testkit::example::{self, redcall_worker::{HandlerError, Request, Worker}};
    /// # let (tokens, mut received) = tokio::sync::mpsc::unbounded_channel();
    /// # let start = move |request: Request| {
    /// #     let tokens = tokens.clone();
    /// #     async move {
    /// #         tokens.send(request.defer("on its way", None).await?.reveal())?;
    /// #         Ok::<_, HandlerError>(())
    /// #     }
    /// # };
    /// # let build = |settings| Ok(Worker::from_settings(settings)?.handler("start", start));
    /// # example::with_worker(build, async |client| {
    /// let ticket = client.request("start").submit().await?; // its handler defers the answer
    /// # let text = received.recv().await.unwrap();
    ///
    /// // In any process that has the token, as text:
    /// let token: CompletionToken = text.parse()?;
    /// assert!(client.settle(&token, Ok(json!({"started": true}))).await?);
    ///
    /// assert_eq!(ticket.wait().await?.json::<Value>()?, json!({"started": true}));
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    ///
    /// [`SettleError`], within the setting `client.timeout`. After the future is dropped, the
    /// request may be settled or not.
    pub async fn settle<T: Serialize>(
        &self,
        token: &CompletionToken,
        result: Result<T, WireError>,
    ) -> Result<bool, SettleError> {
        let deadline = Instant::now() + self.inner.timeout;
        let (keys, digest) = (self.inner.keys.of(token.queue()), token.digest());
        let find = || self.inner.link.deferred(&keys, token.id(), &digest, self.inner.timeout);
        let (known, covered) = until(deadline, find).await?.ok_or(SettleError::NotFound)?;
        let (result, wrong) = self.encode_result(result);
        let signer = self.signer(&known, &covered).inspect_err(|error| {
            tracing::warn!(%error, id = token.id(), queue = token.queue(), "settlement refused");
        })?;
        let key = keys.response(token.id());
        let (attempt, signer) = (known.attempt, signer.as_ref());
        let head = FrameHead { id: token.id(), response_key: &key, attempt, signer };
        let frame = match &result {
            Ok(data) => head.data(FrameType::Result, known.seq, Some(data)),
            Err(error) => {
                let error = WireError { attempt: Some(attempt), ..error.clone() };
                head.error(known.seq, &error)
            }
        };
        let error = result.as_ref().err();
        // The idempotency record of a call that may be repeated is not kept.
        let keep = error.is_none_or(|error| !error.code.is_retryable());
        let error = error.map(|error| (error.code.as_str(), &*error.message));
        // The same at each try: a reply may be lost after its effect.
        let by = new_id();
        let settle = || {
            let (of, end) = ((token.id(), &*digest, &*by), (head.tail(&frame), error, keep));
            self.inner.link.settle_deferred(&keys, of, end, self.inner.timeout)
        };
        let DeferredRun { name, nonce, notify, .. } = known;
        let ended = EndedDeferred { id: token.id().to_owned(), name, nonce };
        match until(deadline, settle).await? {
            DeferredSettled::Yes if notify => self.notify(&ended, result.as_deref()).await,
            DeferredSettled::Yes => {}
            DeferredSettled::Before => return Ok(false),
            DeferredSettled::Unknown => return Err(SettleError::NotFound),
            DeferredSettled::Late => {
                if notify {
                    let message = "the deferred answer was not settled in time";
                    let error = WireError::new(Code::DeadlineExceeded, message);
                    self.notify(&ended, Err(&error)).await;
                }
                return Err(SettleError::NotFound);
            }
        }
        wrong.map_or(Ok(true), Err)
    }

    /// Returns the result to be sent to the caller, and the error if it differs from the given one.
    fn encode_result<T: Serialize>(
        &self,
        result: Result<T, WireError>,
    ) -> (Result<Box<RawValue>, WireError>, Option<SettleError>) {
        let Limits { answer: limit, depth, .. } = self.inner.limits;
        match result.map(|data| to_raw_value(&data)) {
            Ok(Ok(data)) if data.get().len() > limit => {
                let size = data.get().len();
                let message = format!("the answer has {size} bytes, the limit is {limit}");
                let error = WireError::new(Code::TooLarge, message);
                (Err(error), Some(SettleError::TooLarge { size, limit }))
            }
            Ok(Ok(data)) if !data_fits(data.get().as_bytes(), depth) => {
                let message = format!(
                    "the frame of the answer would nest deeper than {depth} levels (limits.depth)"
                );
                let error = WireError::new(Code::TooLarge, message);
                (Err(error), Some(SettleError::TooDeep { limit: depth }))
            }
            Ok(Ok(data)) => (Ok(data), None),
            Ok(Err(error)) => {
                let message = format!("the answer is not JSON: {error}");
                let sent = WireError::new(Code::HandlerFailed, message);
                (Err(sent), Some(SettleError::Encode(error)))
            }
            Err(error) => (Err(error.bounded(&self.inner.limits)), None),
        }
    }

    /// Returns the signer of the answer if the record is as a worker wrote it: a changed record
    /// could turn a signed answer into one of another call.
    fn signer(
        &self,
        known: &DeferredRun,
        covered: &Covered,
    ) -> Result<Option<Signer>, SettleError> {
        let keyring = self.inner.keyring.as_ref();
        let Some(key) = &known.key else {
            let is_required = keyring.is_some_and(Keyring::is_required);
            let is_unsigned = covered.seal.is_none() && !is_required;
            return if is_unsigned { Ok(None) } else { Err(SettleError::Forged) };
        };
        let signer = keyring.and_then(|keyring| keyring.signer(key, known.call.as_deref()));
        let signer = signer.ok_or_else(|| SettleError::NoKey(key.clone()))?;
        let seal = covered.seal.as_deref().unwrap_or_default();
        if !signer.sealed_deferred(&covered.parts(), seal) {
            return Err(SettleError::Forged);
        }
        Ok(Some(signer))
    }

    /// Publishes the result as an event.
    async fn notify(&self, ended: &EndedDeferred, result: Result<&RawValue, &WireError>) {
        let results = &self.inner.results;
        results.publish(&self.inner.link, ended, result, self.inner.timeout).await;
    }
}

/// Retries on transient errors until the deadline.
async fn until<T, F: Future<Output = Result<T, StoreError>>>(
    deadline: Instant,
    command: impl Fn() -> F,
) -> Result<T, SettleError> {
    let retried = retry_until(deadline, SETTLE_RETRY, StoreError::is_transient, command);
    let done = timeout_at(deadline, retried).await.map_err(|_| SettleError::Unconfirmed)?;
    Ok(done?)
}
