//! The line under its lock, shared by callers, the reader and the sender.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use redcall_common::keys::QueueKeys;
use redcall_store::{DirectPush, PushReply, StoreError};
use tokio::sync::mpsc::error::SendError;
use tokio::sync::{Notify, mpsc};

use super::line::{Expected, Line, Sent, is_plain};
use crate::engine::in_flight::InFlight;
use crate::engine::route::Route;
use crate::engine::sender::command::Outgoing;
use crate::engine::sender::enqueue::all_queued;
use crate::error::CallError;

/// See the module. Locked for the time of one system call.
pub(crate) struct DirectShared {
    line: Mutex<Line>,
    in_flight: InFlight,
    /// Notified when a caller finds no connection.
    pub(super) wanted: Notify,
    /// Notified when writes are answered or lost.
    answered: Notify,
    pushed: mpsc::UnboundedSender<Pushed>,
}

/// Requests that the sender gets from here.
pub(crate) enum Pushed {
    /// They are not written, and not claimed: the connection is gone.
    Unsent(Vec<Outgoing>),
    /// They were pushed with this reply, and some may have to be removed.
    Undecided { route: Arc<Route>, requests: Vec<Outgoing>, reply: PushReply },
}

impl DirectShared {
    /// The sender gets by `pushed` what callers cannot end by themselves.
    pub(crate) fn new(in_flight: InFlight, pushed: mpsc::UnboundedSender<Pushed>) -> Self {
        let (wanted, answered) = (Notify::new(), Notify::new());
        Self { line: Mutex::default(), in_flight, wanted, answered, pushed }
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        // No code panics while it holds the lock.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the requests of one queue, in order; returns those that have to go to the sender.
    pub(super) fn push(&self, requests: Vec<Outgoing>, now_ms: u64) -> Vec<Outgoing> {
        let Some(first) = requests.first() else { return requests };
        // A request on its way through the sender would be overtaken.
        if first.route.is_handed_in() || !requests.iter().all(is_plain) {
            return requests;
        }
        let mut line = self.lock();
        if line.conn.is_none() {
            self.wanted.notify_one();
            return requests;
        }
        let corked = line.corked;
        line.corked |= requests.len() > 1;
        let mut left = Vec::new();
        for outgoing in requests {
            match left.is_empty() {
                true => left.extend(line.push(outgoing, now_ms, &self.in_flight)),
                // Behind the one before.
                false => left.push(outgoing),
            }
        }
        line.corked = corked;
        line.flush_if_due(&self.in_flight);
        left
    }

    /// Gathers the requests of callers from now on, until [`DirectShared::uncork`]: answers are
    /// delivered, and their callers may call again. Returns `false` if there is nothing to undo.
    pub(crate) fn cork(&self) -> bool {
        let mut line = self.lock();
        let corks = line.accepts && !line.corked;
        line.corked |= corks;
        corks
    }

    /// Writes the gathered requests.
    pub(crate) fn uncork(&self) {
        let mut line = self.lock();
        line.corked = false;
        line.flush_if_due(&self.in_flight);
    }

    /// Keeps the key of an answer of so many bytes for a later push; returns `false` if it is not
    /// kept.
    pub(super) fn forget(&self, keys: &Arc<QueueKeys>, key: &str, bytes: usize) -> bool {
        let mut line = self.lock();
        line.accepts && line.forgotten.keep(keys, key, bytes)
    }

    /// Takes all keys of one queue.
    pub(super) fn take_forgotten(&self) -> Option<(Arc<QueueKeys>, Vec<String>)> {
        self.lock().forgotten.take_next()
    }

    /// Returns when each request of `queue` that callers have pushed by now is answered or lost.
    /// The reader bounds it.
    pub(crate) async fn answered(&self, queue: &str) {
        let last = {
            let mut line = self.lock();
            if line.has_gathered(queue) {
                line.flush(&self.in_flight);
            }
            line.last_of(queue)
        };
        let Some(last) = last else { return };
        loop {
            let mut answered = pin!(self.answered.notified());
            answered.as_mut().enable();
            if self.lock().oldest().is_none_or(|oldest| oldest.serial() > last) {
                return;
            }
            answered.await;
        }
    }

    /// Installs a connection. Called by the reader, as are all that follow.
    pub(super) fn install(&self, conn: DirectPush) {
        let mut line = self.lock();
        (line.conn, line.accepts) = (Some(conn), true);
    }

    /// Sends the rest of a write, and handles the replies that have come. Ends with the connection.
    pub(super) fn poll_end(&self, context: &mut Context<'_>) -> Poll<StoreError> {
        // The callers that the last replies woke have run.
        self.lock().end_own_cork(&self.in_flight);
        loop {
            let polled = {
                let mut line = self.lock();
                let polled = line.poll_reply(context);
                if let Poll::Ready(Ok((expected, _))) = &polled {
                    if expected.wakes_several() && line.cork_by_reader() {
                        // Behind those callers.
                        context.waker().wake_by_ref();
                    }
                    line.flush_if_due(&self.in_flight);
                }
                polled
            };
            match polled {
                Poll::Ready(Ok((expected, reply))) => self.note(expected, reply),
                Poll::Ready(Err(error)) => return Poll::Ready(error),
                Poll::Pending => return Poll::Pending,
            }
            self.answered.notify_waiters();
        }
    }

    /// Lets callers write no more. Returns `true` if replies are still expected.
    pub(super) fn stop(&self) -> bool {
        let mut line = self.lock();
        line.accepts = false;
        let gathered = line.take_gathered();
        let is_expected = line.oldest().is_some();
        drop(line);
        self.return_unsent(gathered);
        is_expected
    }

    /// Returns `true` if the oldest write is older than `limit`.
    pub(super) fn is_late(&self, limit: Duration) -> bool {
        let line = self.lock();
        line.oldest().is_some_and(|oldest| oldest.written_at.elapsed() > limit)
    }

    /// Writes what has waited for longer than it should: deletions, and requests of callers that
    /// were gathered for one that did not come.
    pub(super) fn write_waiting(&self) {
        self.uncork();
        self.lock().delete_forgotten();
    }

    /// Closes the connection. Each write on it may have happened.
    pub(super) fn close(&self, error: &StoreError) {
        let (lost, gathered) = {
            let mut line = self.lock();
            (line.close(), line.take_gathered())
        };
        for Sent { route, requests, .. } in lost.into_iter().filter_map(|one| one.sent) {
            route.room.forget();
            for outgoing in requests {
                outgoing.fail(&self.in_flight, error.clone().into());
            }
        }
        self.return_unsent(gathered);
        self.answered.notify_waiters();
    }

    fn return_unsent(&self, mut requests: Vec<Outgoing>) {
        if !requests.is_empty() {
            requests.iter_mut().for_each(Outgoing::hand_in);
            self.to_sender(Pushed::Unsent(requests));
        }
    }

    fn note(&self, expected: Expected, reply: PushReply) {
        let Some(Sent { route, mut requests, checks }) = expected.sent else { return };
        route.room.note_push(expected.written_at, checks, &reply);
        if all_queued(&requests, &reply, &route.room) {
            requests.into_iter().for_each(|outgoing| outgoing.confirm(None));
            return;
        }
        requests.iter_mut().for_each(Outgoing::hand_in);
        self.to_sender(Pushed::Undecided { route, requests, reply });
    }

    fn to_sender(&self, pushed: Pushed) {
        // The sender has ended, with the runtime.
        let Err(SendError(pushed)) = self.pushed.send(pushed) else { return };
        let (requests, error): (_, fn() -> CallError) = match pushed {
            Pushed::Unsent(requests) => (requests, CallError::stopped),
            Pushed::Undecided { requests, .. } => (requests, CallError::reply_lost),
        };
        for outgoing in requests {
            outgoing.fail(&self.in_flight, error());
        }
    }
}

impl Expected {
    /// Returns `true` if its reply wakes several callers.
    fn wakes_several(&self) -> bool {
        let requests = self.sent.as_ref().map_or(&[][..], |sent| &sent.requests);
        requests.iter().filter(|one| !one.is_waited()).nth(1).is_some()
    }
}
