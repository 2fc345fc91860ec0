//! Authorisation: verifies a request's signature before the request starts.
//!
//! Only Redis knows whether a signature was used before; `start.rs` queries it. The caller gets
//! the same error in each case; the log names the cause (`outcome/`).

mod start;

use std::sync::atomic::{AtomicBool, Ordering};

use redcall_common::auth::{Keyring, Refusal, within_its_time};
use redcall_common::keys::QueueKeys;
use redcall_common::request::DecodedRequest;
use redcall_store::{LeaseInfo, Record};

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
}

/// Returns `true` if the record shows no earlier run.
pub(crate) fn is_first(record: Record) -> bool {
    record.attempt == 0 && record.crashes == 0
}
