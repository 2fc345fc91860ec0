//! Authorisation: verifies a request's signature before the request starts.
//!
//! Only Redis knows whether a signature was used before; `execute.rs` checks that. The caller gets
//! the same error in each case; the log names the cause.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redcall_common::auth::{Keyring, Refusal, Start, open_until, within_its_time};
use redcall_common::error::{Code, WireError};
use redcall_common::frame_head::FrameHead;
use redcall_common::keys::QueueKeys;
use redcall_common::request::DecodedRequest;
use redcall_store::{LeaseInfo, Outcome, Record, Remembered, Settlement, StoreError};

use crate::job::Job;
use crate::outcome::{answer, call, status};

/// Timeout of one round trip to Redis, before the next attempt.
const REDIS_TIMEOUT: Duration = Duration::from_secs(1);

/// The only message that a caller gets. docs/reference/protocol.md lists it.
const MESSAGE: &str = "the request has no signature that its worker accepts";

/// A request with a valid signature.
#[derive(Debug)]
pub(crate) struct Verified {
    /// End of the time in which its id must not run again, Redis ms.
    expires_at: u64,
    /// `true` once Redis has the record that this run started the request.
    started: AtomicBool,
}

/// Verifies the signature of `request`. Without keys every request passes; if keys are optional,
/// unsigned requests pass, too. Does not check the validity period.
pub(crate) fn verify(
    keyring: Option<&Keyring>,
    request: &mut DecodedRequest,
    queue: &QueueKeys,
) -> Result<Option<Verified>, Refusal> {
    let Some(keyring) = keyring else { return Ok(None) };
    let Some(signed) = &request.auth else {
        return if keyring.is_required() { Err(Refusal::Unsigned) } else { Ok(None) };
    };
    let signer = keyring.verify(&request.claims(queue.name(), signed), &signed.token)?;
    let verified =
        Verified { expires_at: signed.token.expires_at, started: AtomicBool::new(false) };
    request.auth.iter_mut().for_each(|signed| signed.signer = Some(signer.clone()));
    Ok(Some(verified))
}

impl Verified {
    /// Checks the validity period as far as possible without Redis. A request whose record shows an
    /// earlier run passes; [`Verified::start`] decides about it.
    pub(crate) fn in_time(&self, record: Record, now_ms: u64) -> Result<(), Refusal> {
        if is_first(record) { within_its_time(self.expires_at, now_ms) } else { Ok(()) }
    }

    /// Returns the time until which Redis remembers that the request ended, if it ends with this
    /// run. `None` if this run has not started it.
    pub(crate) fn spent(&self) -> Option<u64> {
        self.started.load(Ordering::Acquire).then_some(self.expires_at)
    }

    /// As [`Verified::spent`], for a request that ends before this run has started it: an earlier
    /// run may have started it, and then it must not run again.
    pub(crate) fn spent_before(&self, mark: LeaseInfo) -> Option<u64> {
        (mark.cancelled || !is_first(mark.record)).then_some(self.expires_at)
    }

    /// Stores the record that `run` starts the request. A request runs once. The start record
    /// decides: workers sign it, and it states whether the request has ended. The record of earlier
    /// runs is not signed, and permits nothing.
    pub(crate) async fn start(
        &self,
        job: &Job,
        run: &str,
    ) -> Result<Result<(), Refusal>, StoreError> {
        let (request, queue, link) = (&job.request, &job.keys.queue, &job.shared.link);
        let Some((signed, signer)) = request.signer() else { return Ok(Err(Refusal::Unsigned)) };
        let now_ms = link.now_ms();
        let (id, token) = (request.id.as_str(), &signed.token);
        let start = Start { queue: queue.name(), id, token };
        let until_ms = open_until(self.expires_at, now_ms);
        let own = signer.started(&start, run, until_ms);
        let in_time = within_its_time(self.expires_at, now_ms);
        let found = match in_time {
            Ok(()) => {
                match link.remember(queue, id, (&own, None), until_ms, REDIS_TIMEOUT).await? {
                    Remembered::Yes => return Ok(self.begin()),
                    Remembered::No(found) => found,
                }
            }
            // Only a request that has started before may continue.
            Err(_) => link.recall(queue, id, REDIS_TIMEOUT).await?,
        };
        let Some(found) = found else { return Ok(Err(in_time.err().unwrap_or(Refusal::Replayed))) };
        // This run's own record: the reply to an earlier attempt was lost.
        let goes_on = signer.is_of(&found, run) || !is_first(job.record);
        if !goes_on || !signer.is_open(&start, &found, now_ms) {
            return Ok(Err(Refusal::Replayed));
        }
        match link.remember(queue, id, (&own, Some(&found)), until_ms, REDIS_TIMEOUT).await? {
            Remembered::Yes => Ok(self.begin()),
            Remembered::No(_) => Ok(Err(Refusal::Replayed)),
        }
    }

    /// Marks the start as stored at Redis.
    fn begin(&self) -> Result<(), Refusal> {
        self.started.store(true, Ordering::Release);
        Ok(())
    }
}

/// Returns `true` if the record shows no earlier run.
pub(crate) fn is_first(record: Record) -> bool {
    record.attempt == 0 && record.crashes == 0
}

/// Returns the settlement of a signed request that is refused before it starts. It may be a copy:
/// the signature does not cover the time that a request has waited.
pub(crate) fn as_refusal(settlement: Settlement, code: Code, reason: &str) -> Settlement {
    let reason = reason.to_owned();
    match settlement {
        Settlement::Answer { reply, frame } => {
            Settlement::Refuse { code, reason, answer: Some((reply, frame)), dead_letter: false }
        }
        Settlement::DeadLetter { answer, .. } => {
            Settlement::Refuse { code, reason, answer, dead_letter: true }
        }
        other => other,
    }
}

/// Returns the outcome of a request that is not authorised to run.
pub(crate) fn unauthorized(
    request: &DecodedRequest,
    queue: &QueueKeys,
    refusal: Refusal,
    attempt: u32,
) -> Outcome {
    // An unknown key name is not logged: it may be anything, also a secret.
    let key = request.auth.as_ref().filter(|_| refusal != Refusal::UnknownKey);
    let key = key.map(|signed| signed.token.key.as_str());
    let (id, name, queue_name) = (&request.id, &request.name, queue.name());
    let code = Code::Unauthorized;
    tracing::warn!(
        id,
        name,
        queue = queue_name,
        attempt,
        %code,
        key,
        why = %refusal,
        "not run: unauthorized"
    );
    let error = WireError::new(Code::Unauthorized, MESSAGE);
    // Never signed: a copy gets the same answer as any other request.
    let frame = |response_key: &str| {
        let id = &request.id;
        FrameHead { id, response_key, attempt, signer: None }.error(1, &error)
    };
    let (call, side_effects) = match refusal {
        // A copy must not end the call of the original request.
        Refusal::Replayed => (None, Vec::new()),
        // The next caller starts the call again.
        _ => (
            call(request, queue, None, frame),
            status(request.status_ttl_ms, attempt, Some(&error)),
        ),
    };
    let (code, reason) = (error.code, error.message.clone());
    let answer = answer(request.reply.clone(), frame);
    let settlement = Settlement::Refuse { code, reason, answer, dead_letter: false };
    Outcome { call, code: Some(code), side_effects, ..Outcome::new(&request.id, settlement) }
}
