//! A single reply that a test waits for, and its fate.

use std::fmt;

use tokio::sync::oneshot;

/// A request and its reply, as their bytes went over the wire.
#[derive(Clone, Copy)]
pub struct Exchange<'a> {
    /// One command, not a whole pipeline.
    pub request: &'a [u8],
    /// The whole reply to it; empty while there is none.
    pub reply: &'a [u8],
}

impl Exchange<'_> {
    /// Returns `true` if the request contains `text`, as a whole argument or within one.
    #[must_use]
    pub fn request_contains(&self, text: &str) -> bool {
        contains(self.request, text)
    }

    /// Returns `true` if the reply contains `text`.
    #[must_use]
    pub fn reply_contains(&self, text: &str) -> bool {
        contains(self.reply, text)
    }
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len().max(1)).any(|window| window == text.as_bytes())
}

pub(super) type Wanted = Box<dyn FnMut(&Exchange<'_>) -> bool + Send>;

/// A reply that a test waits for.
pub(super) struct Catch {
    wanted: Wanted,
    then: Then,
}

enum Then {
    Hold(oneshot::Sender<Held>),
    Lose(oneshot::Sender<()>),
}

/// The fate of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Pass,
    /// Its connection is closed before it.
    Cut,
}

impl Catch {
    pub(super) fn hold(wanted: Wanted, caught: oneshot::Sender<Held>) -> Self {
        Self { wanted, then: Then::Hold(caught) }
    }

    pub(super) fn lose(wanted: Wanted, caught: oneshot::Sender<()>) -> Self {
        Self { wanted, then: Then::Lose(caught) }
    }

    /// Returns `true` if the test still waits.
    pub(super) fn is_open(&self) -> bool {
        match &self.then {
            Then::Hold(caught) => !caught.is_closed(),
            Then::Lose(caught) => !caught.is_closed(),
        }
    }

    pub(super) fn wants(&mut self, exchange: &Exchange<'_>) -> bool {
        (self.wanted)(exchange)
    }

    /// Notifies the waiting test; the reply's fate comes by the receiver. Its end means
    /// [`Fate::Cut`].
    pub(super) fn notify(self, exchange: &Exchange<'_>) -> oneshot::Receiver<Fate> {
        let (decide, fate) = oneshot::channel();
        match self.then {
            Then::Hold(caught) => {
                let (request, reply) = (exchange.request.to_vec(), exchange.reply.to_vec());
                if let Err(unsent) = caught.send(Held { request, reply, decide }) {
                    unsent.release();
                }
            }
            Then::Lose(caught) => {
                if caught.send(()).is_err() {
                    let _ = decide.send(Fate::Pass);
                }
            }
        }
        fate
    }
}

/// A reply that has reached the proxy and goes no further, for as long as this value lives. When it
/// is dropped, the reply is lost, and its connection with it.
pub struct Held {
    /// The request that it answers.
    pub request: Vec<u8>,
    /// The reply itself.
    pub reply: Vec<u8>,
    decide: oneshot::Sender<Fate>,
}

impl Held {
    /// Passes it on, with the replies after it.
    pub fn release(self) {
        let _ = self.decide.send(Fate::Pass);
    }

    /// Loses it, and closes its connection.
    pub fn lose(self) {}
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (request, reply) = (&self.request, &self.reply);
        let (request, reply) = (String::from_utf8_lossy(request), String::from_utf8_lossy(reply));
        f.debug_struct("Held").field("request", &request).field("reply", &reply).finish()
    }
}
