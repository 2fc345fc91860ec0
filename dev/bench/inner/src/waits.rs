//! Callers that wait, and the way of an answer to them.

use redcall_client::benching::Waiters;
use redcall_client::fuzzing;
use redcall_common::frame::Frame;

use crate::polls::Answers;
use crate::{BATCH, ids, queue};

/// Callers about to wait.
pub struct Callers {
    ids: Vec<String>,
    response_keys: Vec<String>,
    waiters: Waiters,
}

impl Callers {
    /// As many as a batch has calls. There is room for them: others have waited before.
    #[must_use]
    pub fn new() -> Self {
        let (ids, queue) = (ids(), queue());
        let response_keys = ids.iter().map(|id| queue.response(id)).collect();
        let mut callers = Self { ids, response_keys, waiters: Waiters::new(queue) };
        callers.register();
        callers.waiters.receive(&Announcement::new().0);
        assert_eq!(callers.waiters.take(), BATCH);
        callers
    }

    /// The same, waiting for the sent calls.
    #[must_use]
    pub fn waiting() -> Self {
        let mut callers = Self::new();
        callers.register();
        callers.waiters.park();
        callers
    }

    /// Measured: registers each before its request is sent, and marks it as sent.
    pub fn register(&mut self) {
        for (id, response_key) in self.ids.iter().zip(&self.response_keys) {
            self.waiters.register(id, response_key);
        }
        self.waiters.mark_sent(self.ids.iter().map(String::as_str));
    }

    /// Measured: an announcement of all answers arrives, wakes every caller, and each takes its
    /// answer.
    pub fn receive(&mut self, announcement: &Announcement) {
        self.waiters.receive(&announcement.0);
        assert_eq!(self.waiters.take(), BATCH);
    }
}

/// One announcement of an answer to each call.
pub struct Announcement(Vec<u8>);

impl Announcement {
    /// As the settling script puts it together.
    #[must_use]
    pub fn new() -> Self {
        Self(format!("[{}]", Answers::new().encode().join(",")).into_bytes())
    }
}

/// Final frames at response keys.
pub struct Frames(Vec<String>);

impl Frames {
    /// One per call.
    #[must_use]
    pub fn new() -> Self {
        Self(Answers::new().encode())
    }

    /// Measured: reads them.
    #[must_use]
    pub fn parse(&self) -> Vec<Frame> {
        self.0.iter().map(|raw| fuzzing::frame(raw.as_bytes()).unwrap()).collect()
    }
}
