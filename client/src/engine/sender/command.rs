//! The commands of callers to the sender.

use std::sync::Arc;

use redcall_common::keys::QueueKeys;
use redcall_store::EnqueueExt;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::engine::in_flight::InFlight;
use crate::engine::route::HandedIn;
use crate::error::CallError;

use super::element::{Element, Envelopes};
use super::send_claim::SendClaim;

/// A command to the sender.
pub(crate) enum Command {
    /// Enqueue requests.
    Enqueue(Vec<Outgoing>),
    /// Enqueue a part of a batch.
    EnqueueBatch(OutgoingBatch),
    /// Delete response keys that were read.
    Forget(Arc<QueueKeys>, Vec<String>),
    /// Confirm that all earlier commands are written.
    Flush(oneshot::Sender<()>),
}

/// A request to be written.
pub(crate) struct Outgoing {
    pub(crate) route: HandedIn,
    pub(crate) payload: Payload,
    pub(crate) caller: Caller,
}

/// Fire-and-forget requests of one caller that need no more than a push.
pub(crate) struct OutgoingBatch {
    pub(crate) route: HandedIn,
    pub(crate) envelopes: Envelopes,
    /// Gets the requests that were not enqueued.
    pub(crate) done: oneshot::Sender<BatchFailures>,
    pub(crate) send_claim: SendClaim,
}

/// The requests of a batch that were not enqueued, by their index, in order.
pub(crate) type BatchFailures = Vec<(usize, CallError)>;

/// The bytes of a request to be written.
pub(crate) enum Payload {
    /// Its envelope, pushed with others in one command.
    Push(String),
    /// Arguments of a script call of its own.
    Scripted(Box<EnqueueExt>),
    /// Already taken to be written.
    Taken,
}

/// Id of the request that this call joined under an idempotency key, if any.
pub(crate) type Joined = Option<String>;

/// The caller to be notified of the enqueue.
pub(crate) enum Caller {
    /// Waits for the answer. Without a worker at `until`, the call fails with `no_workers`.
    Waits { id: String, until: Instant },
    /// Fire and forget: notified when the request is enqueued.
    Forgets { done: oneshot::Sender<Result<Joined, CallError>>, send_claim: SendClaim },
}

impl OutgoingBatch {
    /// Marks the batch as sent; returns `false` if its caller has given up.
    pub(super) fn claim(&self) -> bool {
        !self.done.is_closed() && self.send_claim.send()
    }
}

impl Outgoing {
    /// Marks the request as sent; returns `false` if its caller has given up.
    pub(crate) fn claim(&self, in_flight: &InFlight) -> bool {
        match &self.caller {
            Caller::Waits { id, .. } => in_flight.mark_sent(id),
            Caller::Forgets { done, send_claim } => !done.is_closed() && send_claim.send(),
        }
    }

    /// Notes that it goes through the sender.
    pub(crate) fn hand_in(&mut self) {
        self.route.hand_in();
    }

    pub(super) fn is_abandoned(&self, in_flight: &InFlight) -> bool {
        match &self.caller {
            Caller::Waits { id, .. } => !in_flight.is_waiting(id),
            Caller::Forgets { done, .. } => done.is_closed(),
        }
    }

    pub(crate) fn is_waited(&self) -> bool {
        matches!(self.caller, Caller::Waits { .. })
    }

    /// Returns the element to push; its envelope is empty if it was taken or needs more than a
    /// push.
    pub(crate) fn element(&self) -> Element<'_> {
        let envelope = match &self.payload {
            Payload::Push(envelope) => envelope.as_str(),
            Payload::Scripted(_) | Payload::Taken => "",
        };
        Element { envelope, waited: self.is_waited() }
    }

    pub(super) fn size(&self) -> usize {
        match &self.payload {
            Payload::Push(envelope) => envelope.len(),
            Payload::Scripted(extended) => extended.envelope.len(),
            Payload::Taken => 0,
        }
    }

    /// Confirms the enqueue to a fire-and-forget caller. A waiting caller gets the answer.
    pub(crate) fn confirm(self, joined: Joined) {
        if let Caller::Forgets { done, .. } = self.caller {
            let _ = done.send(Ok(joined));
        }
    }

    /// Fails the request: it was not enqueued, or may have been.
    pub(crate) fn fail(self, in_flight: &InFlight, error: CallError) {
        match self.caller {
            Caller::Waits { id, .. } => in_flight.fail(&id, error),
            Caller::Forgets { done, .. } => drop(done.send(Err(error))),
        }
    }
}
