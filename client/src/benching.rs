//! Waiters and the routing of answers to them, for `dev/bench/inner/`.
//!
//! Not part of the public API. It is here because `in_flight` and `replies` are private. It is
//! always compiled, so that a change cannot break the benchmark unnoticed.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use redcall_common::frame::Frame;
use redcall_common::keys::QueueKeys;
use tokio::sync::{mpsc, oneshot};

use crate::engine::deliveries::{Deliveries, LaterDeliveries};
use crate::engine::in_flight::{Guard, InFlight, Stage};
use crate::engine::replies::{self, Wanted};
use crate::engine::withdrawal::Origin;
use crate::error::CallError;

/// The waiters of a client, without the client.
pub struct Waiters {
    in_flight: InFlight,
    queue: Arc<QueueKeys>,
    waiting: Vec<(Guard, oneshot::Receiver<Result<Frame, CallError>>)>,
    reread: mpsc::UnboundedSender<Wanted>,
    deliveries: Deliveries,
    later: LaterDeliveries,
    /// Kept, so that the channel stays open.
    _wanted: mpsc::UnboundedReceiver<Wanted>,
}

impl Waiters {
    /// Returns an empty table for a client that calls on the queue of these keys.
    #[must_use]
    pub fn new(queue: QueueKeys) -> Self {
        let (in_flight, _withdrawn) = InFlight::new();
        let (reread, _wanted) = mpsc::unbounded_channel();
        let (deliveries, later) = Deliveries::new(in_flight.clone(), None, |_| ());
        let (queue, waiting) = (Arc::new(queue), Vec::new());
        Self { in_flight, queue, waiting, reread, deliveries, later, _wanted }
    }

    /// Registers a waiter for the request `id`, as a call does before it is sent.
    pub fn register(&mut self, id: &str, response_key: &str) {
        let origin = Origin { keys: self.queue.clone(), record: None, deadline: None };
        let waiter = self.in_flight.wait_for(id, response_key, Stage::HandedIn, Some(origin));
        self.waiting.push(waiter);
    }

    /// Marks the requests `ids` as sent, as the sender does.
    pub fn mark_sent<'a>(&self, ids: impl Iterator<Item = &'a str>) {
        for id in ids {
            self.in_flight.mark_sent(id);
        }
    }

    /// Polls every waiter once: from here on, an answer wakes a task.
    pub fn park(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        for (_, answer) in &mut self.waiting {
            let _ = Pin::new(answer).poll(&mut context);
        }
    }

    /// Processes an announcement.
    pub fn receive(&mut self, announcement: &[u8]) {
        replies::on_announcement(announcement, &self.in_flight, &self.reread, &self.deliveries);
        self.later.run_once();
    }

    /// Takes all answers delivered; returns their number.
    #[must_use]
    pub fn take(&mut self) -> usize {
        let mut context = Context::from_waker(Waker::noop());
        let answers = self.waiting.drain(..).filter_map(|(_guard, mut answer)| {
            match Pin::new(&mut answer).poll(&mut context) {
                Poll::Ready(Ok(Ok(frame))) => Some(frame),
                _ => None,
            }
        });
        answers.count()
    }
}
