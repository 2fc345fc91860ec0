//! Deferred answers: the handler returns without an answer, and the holder of the completion token
//! settles the request later.

use std::time::Duration;

use redcall_common::decode::data_fits;
use redcall_common::error::{Code, WireError};
use redcall_common::frame::FrameType;
use redcall_common::request::ReplyTo;
use redcall_common::time::millis;
use redcall_common::token::SettlementToken;
use redcall_store::{DeferredRecord, DeferredRun, EndedCall, Outcome, Settled, Settlement};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::oneshot;

use crate::job::Job;
use crate::request::Request;

/// The longest that an answer may take.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// The header by which a caller knows its command in the event that says what became of it.
const NONCE: &str = "nonce";
/// Longest nonce, bytes: it is repeated in the record and in the event.
const LONGEST_NONCE: usize = 256;

/// Why an answer could not be deferred. The handler can still answer, except after
/// [`DeferError::NotMine`].
#[derive(Debug, thiserror::Error)]
pub enum DeferError {
    /// The job is settled, or another worker has it: nothing of this run counts any more.
    #[error("the job is no longer this handler's to answer")]
    NotMine,
    /// It is a request to a service: the next one waits for the state that this one leaves.
    #[error("a task of a service cannot defer its answer")]
    OfService,
    /// Later than 7 days from now.
    #[error("an answer may take 7 days at most")]
    TooLong,
    /// Larger than `limits.frame`.
    #[error("the frame has {size} bytes, the limit is {limit} (limits.frame)")]
    TooLarge {
        /// Bytes of the data.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// They nest too deep for a frame.
    #[error("the frame would nest deeper than {limit} levels (limits.depth)")]
    TooDeep {
        /// The limit, levels.
        limit: usize,
    },
    /// It cannot be written as JSON.
    #[error("the data cannot be written as JSON")]
    Encode(#[from] serde_json::Error),
}

impl Request {
    /// Puts the answer off: the caller hears `pending` with `data` at once, and the answer when
    /// somebody settles with the token that this returns, from any process; after `within` (`None`:
    /// as long as the caller cares, 7 days at most) it is answered `deadline_exceeded`. Never later
    /// than the caller cares.
    ///
    /// This settles the job for this worker: it keeps no lease, is not run again if the worker dies
    /// now, and what the handler returns afterwards is not used. Its slot is free when the handler
    /// has returned.
    ///
    /// ```no_run
    /// use redcall_worker::{HandlerError, Request};
    ///
    /// async fn start(request: Request) -> Result<(), HandlerError> {
    ///     let token = request.defer(&"on its way", None).await?;
    ///     std::fs::write("start.token", token.reveal())?; // whoever finds it answers
    ///     Ok(())
    /// }
    /// ```
    ///
    /// Dropping the future leaves open whether the answer is put off; nobody then has the token.
    ///
    /// # Errors
    ///
    /// [`DeferError`].
    pub async fn defer<T: Serialize + ?Sized>(
        &self,
        data: &T,
        within: Option<Duration>,
    ) -> Result<SettlementToken, DeferError> {
        deferral(self.job(), to_raw_value(data)?, within, false).await
    }

    /// The same as [`Request::defer`], and the end is published as well, on the topic
    /// `command_result`, under the header `nonce` of the request.
    ///
    /// # Errors
    ///
    /// [`DeferError`].
    pub async fn defer_with_notification<T: Serialize + ?Sized>(
        &self,
        data: &T,
        within: Option<Duration>,
    ) -> Result<SettlementToken, DeferError> {
        deferral(self.job(), to_raw_value(data)?, within, true).await
    }
}

async fn deferral(
    job: &Job,
    data: Box<RawValue>,
    within: Option<Duration>,
    notify: bool,
) -> Result<SettlementToken, DeferError> {
    if job.service.is_some() {
        return Err(DeferError::OfService);
    }
    let (size, limit) = (data.get().len(), job.shared.limits.frame);
    if size > limit {
        return Err(DeferError::TooLarge { size, limit });
    }
    let limit = job.shared.limits.depth;
    if !data_fits(data.get().as_bytes(), limit) {
        return Err(DeferError::TooDeep { limit });
    }
    let within = within.unwrap_or(LONGEST);
    if within > LONGEST {
        return Err(DeferError::TooLong);
    }
    let within = job.context().remaining().map_or(within, |left| left.min(within));
    let token = SettlementToken::new(job.keys.queue.name(), &job.request.id);
    let digest = token.digest();
    let (heard, settled) = oneshot::channel();
    let outcome = |seq| outcome(job, &data, (digest, within, notify), seq);
    if !job.settle_as(outcome, Some(heard)).await {
        return Err(DeferError::NotMine);
    }
    match settled.await {
        Ok(Settled::Yes) => Ok(token),
        _ => Err(DeferError::NotMine),
    }
}

/// What becomes of `job` then; `seq` is that of the frame which says so.
fn outcome(
    job: &Job,
    data: &RawValue,
    (digest, within, notify): (String, Duration, bool),
    seq: u64,
) -> Outcome {
    let request = &job.request;
    let key = job.keys.queue.response(&request.id);
    let head = job.head(&key);
    let end = |code, message: &str| {
        let error = WireError { attempt: Some(job.attempt()), ..WireError::new(code, message) };
        head.tail(&head.error(seq + 1, &error)).to_owned()
    };
    let frame = head.data(FrameType::Deferred, seq, Some(data));
    let mut record = DeferredRecord {
        digest,
        run: DeferredRun {
            name: request.name.clone(),
            attempt: job.attempt(),
            seq: seq + 1,
            key: head.signer.map(|signer| signer.key().to_owned()),
            call: head.signer.and_then(|signer| signer.call()).map(str::to_owned),
            nonce: request.headers.get(NONCE).filter(|it| it.len() <= LONGEST_NONCE).cloned(),
            notify,
        },
        reply: request.reply.clone(),
        late: end(Code::DeadlineExceeded, "it was not settled in time"),
        gone: end(Code::Cancelled, "the call was cancelled"),
        dead_letter: request.reply.is_none() || job.rules.retries.max > 0,
        status_ttl_ms: request.status_ttl_ms,
        seal: None,
    };
    record.seal = head
        .signer
        .map(|signer| signer.seal_deferred(&record.covered(&job.keys.queue, &request.id).parts()));
    let notice = request.reply.clone().map(|reply| {
        // Whoever fetches the answer finds the frame for as long as there may be one.
        let ttl_ms = reply.ttl_ms.saturating_add(millis(within));
        (ReplyTo { ttl_ms, ..reply }, frame.clone())
    });
    let keep = Some(job.shared.idempotency_ttl);
    let call = request.call().map(|digest| EndedCall { digest, keep, frame });
    let settlement = Settlement::Deferred { within, record: Box::new(record), notice };
    Outcome { call, ..Outcome::new(&request.id, settlement) }
}
