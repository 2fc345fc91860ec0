//! A single request that a test delays in flight, as a slow network does.

use std::fmt;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::catch::{Exchange, Wanted};
use crate::eventually::TIMEOUT;

/// Raised when the server has answered; dropped when it will not.
pub(super) type Answered = oneshot::Sender<()>;

/// A request that a test waits for.
pub(super) struct RequestHold {
    wanted: Wanted,
    caught: oneshot::Sender<HeldRequest>,
}

impl RequestHold {
    pub(super) fn new(wanted: Wanted, caught: oneshot::Sender<HeldRequest>) -> Self {
        Self { wanted, caught }
    }

    /// Returns `true` if the test still waits.
    pub(super) fn is_open(&self) -> bool {
        !self.caught.is_closed()
    }

    pub(super) fn wants(&mut self, request: &[u8]) -> bool {
        (self.wanted)(&Exchange { request, reply: &[] })
    }

    /// Notifies the waiting test. The request passes when the receiver gets a value; its connection
    /// ends with the receiver's end. `None` if the test no longer waits.
    pub(super) fn notify(self, request: &[u8]) -> Option<oneshot::Receiver<Answered>> {
        let (go, gone) = oneshot::channel();
        let held = HeldRequest { request: request.to_vec(), go };
        self.caught.send(held).is_ok().then_some(gone)
    }
}

/// A request that has left its client and not reached the server, with everything after it on its
/// connection. The server never learns of the client's end. Dropping it loses the request and its
/// connection.
pub struct HeldRequest {
    /// The request itself.
    pub request: Vec<u8>,
    go: oneshot::Sender<Answered>,
}

impl HeldRequest {
    /// Delivers it to the server, with the requests after it. Returns `true` if the server has
    /// answered, `false` if it has closed the connection.
    ///
    /// # Panics
    /// When the server neither answers nor closes the connection for ten seconds.
    pub async fn deliver(self) -> bool {
        let (answered, answer) = oneshot::channel();
        if self.go.send(answered).is_err() {
            return false;
        }
        let answer = timeout(TIMEOUT, answer).await;
        answer.expect("an answer to the late request, or the end of its connection").is_ok()
    }
}

impl fmt::Debug for HeldRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let request = String::from_utf8_lossy(&self.request);
        f.debug_struct("HeldRequest").field("request", &request).finish()
    }
}
