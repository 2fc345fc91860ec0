//! Who may have what run here: the judgement of a request's signature before it starts.
//!
//! Whether it was used before only Redis can say: `execute.rs` asks. The caller hears the same of
//! every cause; the log says which it was.

use redcall_common::auth::{Keyring, Refusal, within_its_time};
use redcall_common::error::{Code, WireError};
use redcall_common::frame::FrameHead;
use redcall_common::request::Request as Wire;
use redcall_common::store::keys::QueueKeys;
use redcall_common::store::{Outcome, Record, Settlement};

use crate::ending::{answer, call, status};

/// All that a caller hears. PROTOCOL.md has it.
const MESSAGE: &str = "the request is not signed as its worker wants it";

/// A request whose signature is good.
#[derive(Debug)]
pub(crate) struct Pass {
    /// Until when its id must not run again, Redis ms.
    pub(crate) expires_at: u64,
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
    let pass = Pass { expires_at: signed.token.expires_at };
    request.auth.iter_mut().for_each(|signed| signed.signer = Some(signer.clone()));
    Ok(Some(pass))
}

impl Pass {
    /// Whether its time is over. Asked at the first run alone: one that is tried again, or taken
    /// over from a dead worker, was in time.
    pub(crate) fn in_time(&self, record: Record, now_ms: u64) -> Result<(), Refusal> {
        if is_first(record) { within_its_time(self.expires_at, now_ms) } else { Ok(()) }
    }
}

/// Whether nothing of a request has run before, as far as its record tells.
pub(crate) fn is_first(record: Record) -> bool {
    record.attempt == 0 && record.crashes == 0
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
        // Whoever repeats a request must not end the call that it once was.
        Refusal::Replayed => (None, Vec::new()),
        // The next caller starts it anew.
        _ => (
            call(request, queue, None, frame),
            status(request.status_ttl_ms, attempt, Some(&error)),
        ),
    };
    let (code, reason) = (error.code, error.message.clone());
    let settlement = match answer(request.reply.clone(), frame) {
        Some((reply, frame)) => Settlement::Answer { reply, frame },
        None => Settlement::Bury { code, reason, answer: None },
    };
    Outcome { call, code: Some(code), extras, ..Outcome::new(&request.id, settlement) }
}
