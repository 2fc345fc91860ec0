//! Who may have what run here: the judgement of a request's signature before it starts.
//!
//! Whether it was used before only Redis can say: `execute.rs` asks. The caller hears the same of
//! every cause; the log says which it was.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redcall_common::auth::{Keyring, Refusal, Start, open_until, within_its_time};
use redcall_common::error::{Code, WireError};
use redcall_common::frame::FrameHead;
use redcall_common::keys::QueueKeys;
use redcall_common::request::Request as Wire;
use redcall_store::{Mark, Outcome, Record, Remembered, Settlement, StoreError};

use crate::ending::{answer, call, status};
use crate::job::Job;

/// How long Redis is waited for before it is asked again.
const WITHIN: Duration = Duration::from_secs(1);

/// All that a caller hears. docs/reference/protocol.md has it.
const MESSAGE: &str = "the request is not signed as its worker wants it";

/// A request whose signature is good.
#[derive(Debug)]
pub(crate) struct Pass {
    /// Until when its id must not run again, Redis ms.
    expires_at: u64,
    /// Whether it is remembered at Redis that this run has started it.
    started: AtomicBool,
}

/// Whether `request` may have its job run: the signature if there are keys, of what is signed if
/// they are not required. Not yet whether its time is over.
pub(crate) fn admit(
    keyring: Option<&Keyring>,
    request: &mut Wire,
    queue: &QueueKeys,
) -> Result<Option<Pass>, Refusal> {
    let Some(keyring) = keyring else { return Ok(None) };
    let Some(signed) = &request.auth else {
        return if keyring.is_required() { Err(Refusal::Unsigned) } else { Ok(None) };
    };
    let signer = keyring.verify(&request.claims(queue.name(), signed), &signed.token)?;
    let pass = Pass { expires_at: signed.token.expires_at, started: AtomicBool::new(false) };
    request.auth.iter_mut().for_each(|signed| signed.signer = Some(signer.clone()));
    Ok(Some(pass))
}

impl Pass {
    /// Whether its time is over, as far as it can be said without Redis: one whose record says that
    /// it ran before may be in time nevertheless. [`Pass::start`] judges that.
    pub(crate) fn in_time(&self, record: Record, now_ms: u64) -> Result<(), Refusal> {
        if is_first(record) { within_its_time(self.expires_at, now_ms) } else { Ok(()) }
    }

    /// Until when it is remembered that the request has ended, if it ends with this run; `None` if
    /// this run has not started it.
    pub(crate) fn spent(&self) -> Option<u64> {
        self.started.load(Ordering::Acquire).then_some(self.expires_at)
    }

    /// The same of a request that ends before this run has started it: one that a run before may
    /// have started must run no more either.
    pub(crate) fn spent_before(&self, mark: Mark) -> Option<u64> {
        (mark.cancelled || !is_first(mark.record)).then_some(self.expires_at)
    }

    /// Remembers that `run` starts the request. A request runs once: what counts is the record of
    /// its start, which workers sign and which says whether it has ended. The record of its runs
    /// is not signed, and permits nothing.
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
            Ok(()) => match link.remember(queue, id, (&own, None), until_ms, WITHIN).await? {
                Remembered::Yes => return Ok(self.begin()),
                Remembered::No(found) => found,
            },
            // Only a request that has started before may go on.
            Err(_) => link.recall(queue, id, WITHIN).await?,
        };
        let Some(found) = found else { return Ok(Err(in_time.err().unwrap_or(Refusal::Replayed))) };
        // Also after a lost reply: the record is this run's own.
        let goes_on = signer.is_of(&found, run) || !is_first(job.record);
        if !goes_on || !signer.is_open(&start, &found, now_ms) {
            return Ok(Err(Refusal::Replayed));
        }
        match link.remember(queue, id, (&own, Some(&found)), until_ms, WITHIN).await? {
            Remembered::Yes => Ok(self.begin()),
            Remembered::No(_) => Ok(Err(Refusal::Replayed)),
        }
    }

    /// Its start is remembered at Redis.
    fn begin(&self) -> Result<(), Refusal> {
        self.started.store(true, Ordering::Release);
        Ok(())
    }
}

/// Whether nothing of a request has run before, as far as its record tells.
pub(crate) fn is_first(record: Record) -> bool {
    record.attempt == 0 && record.crashes == 0
}

/// The settlement of a signed request that is refused before it starts. It may be a copy: how long
/// a request has waited is not covered by its signature.
pub(crate) fn of_a_copy(settlement: Settlement, code: Code, reason: &str) -> Settlement {
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

/// What becomes of a request that may not run.
pub(crate) fn refused(
    request: &Wire,
    queue: &QueueKeys,
    refusal: Refusal,
    attempt: u32,
) -> Outcome {
    // A name that is none of ours may be anything, a secret as well.
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
    // Never signed: the answer to a copy is the same as that to any other.
    let frame = |response_key: &str| {
        let id = &request.id;
        FrameHead { id, response_key, attempt, signer: None }.error(1, &error)
    };
    let (call, extras) = match refusal {
        // A copy must not end the call that the request once was.
        Refusal::Replayed => (None, Vec::new()),
        // The next caller starts it anew.
        _ => (
            call(request, queue, None, frame),
            status(request.status_ttl_ms, attempt, Some(&error)),
        ),
    };
    let (code, reason) = (error.code, error.message.clone());
    let answer = answer(request.reply.clone(), frame);
    let settlement = Settlement::Refuse { code, reason, answer, dead_letter: false };
    Outcome { call, code: Some(code), extras, ..Outcome::new(&request.id, settlement) }
}
