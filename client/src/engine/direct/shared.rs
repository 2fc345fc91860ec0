//! The connection for pushes, and the pushes that Redis has not answered.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use redcall_common::keys::QueueKeys;
use redcall_store::{DirectPush, DirectWrite, PushChecks, PushForm, PushReply, StoreError};
use tokio::sync::mpsc::error::SendError;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use crate::engine::in_flight::InFlight;
use crate::engine::sender::command::{Outgoing, Payload};

/// Maximum number of unanswered pushes. With more callers, the sender's writes of many requests
/// cost less.
pub(super) const PUSHES_MAX: usize = 4;
/// Maximum number of response keys that wait for the next push. The answers at them use memory.
const FORGOTTEN_MAX: usize = 8;

/// See the module. Locked by callers and the reader for the time of one system call.
pub(crate) struct DirectShared {
    line: Mutex<Line>,
    in_flight: InFlight,
    /// Notified when a caller finds no connection.
    pub(super) wanted: Notify,
    /// Notified when pushes are answered or lost.
    answered: Notify,
    pushed: mpsc::UnboundedSender<Pushed>,
}

/// The connection and the pushes on it.
struct Line {
    /// Written by the reader.
    conn: Option<DirectPush>,
    /// `true` if callers may write. Written by the reader, and by a caller whose write fails.
    accepts: bool,
    /// The error of a caller's write.
    broken: Option<StoreError>,
    /// `true` if bytes are left to send: the reader sends them.
    unsent: bool,
    /// Wakes the reader: a caller leaves the rest of a write to it.
    reader: Waker,
    /// In the order of the commands, as are the replies.
    expected: VecDeque<Expected>,
    /// Response keys to be deleted.
    forgotten: Vec<(Arc<QueueKeys>, String)>,
}

/// A push without its reply.
struct Expected {
    form: PushForm,
    written_at: Instant,
    /// `None` if only response keys are deleted.
    request: Option<(Outgoing, PushChecks)>,
}

/// A push on which the sender has to decide: its request may have to be removed.
pub(crate) struct Pushed {
    pub(crate) outgoing: Outgoing,
    pub(crate) reply: PushReply,
}

impl DirectShared {
    pub(super) fn new(in_flight: InFlight, pushed: mpsc::UnboundedSender<Pushed>) -> Self {
        let line = Line {
            conn: None,
            accepts: false,
            broken: None,
            unsent: false,
            reader: Waker::noop().clone(),
            expected: VecDeque::new(),
            forgotten: Vec::new(),
        };
        let (wanted, answered) = (Notify::new(), Notify::new());
        Self { line: Mutex::new(line), in_flight, wanted, answered, pushed }
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        // No code panics while it holds the lock.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_lock(&self) -> Option<MutexGuard<'_, Line>> {
        match self.line.try_lock() {
            Ok(line) => Some(line),
            Err(TryLockError::Poisoned(line)) => Some(line.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    pub(super) fn push(&self, mut outgoing: Outgoing, now_ms: u64) -> Option<Outgoing> {
        let now = Instant::now();
        let (route, waited) = (outgoing.route.route().clone(), outgoing.is_waited());
        let Payload::Push(_) = &outgoing.payload else { return Some(outgoing) };
        let fits = !outgoing.element().is_large() && outgoing.route.is_alone();
        if !fits || !route.room.allows(1, waited, now) {
            return Some(outgoing);
        }
        let Some(mut line) = self.try_lock() else { return Some(outgoing) };
        let line = &mut *line;
        let Some(conn) = &mut line.conn else {
            self.wanted.notify_one();
            return Some(outgoing);
        };
        if !line.accepts || line.unsent || line.expected.len() >= PUSHES_MAX {
            return Some(outgoing);
        }
        if !outgoing.claim(&self.in_flight) {
            return None;
        }
        let forget = take_of(&mut line.forgotten, &route.keys);
        let checks = route.room.checks(waited);
        let elements = &[outgoing.element().envelope];
        let keys = &route.keys;
        let form = conn.add(&DirectWrite { keys, elements, checks, forget: &forget, now_ms });
        outgoing.route.set_counts(false);
        let request = Some((outgoing, checks));
        line.expected.push_back(Expected { form, written_at: now, request });
        line.write();
        None
    }

    /// Keeps a response key for the next push; returns `false` if it is not kept.
    pub(super) fn forget(&self, keys: &Arc<QueueKeys>, key: &str) -> bool {
        let Some(mut line) = self.try_lock() else { return false };
        let is_kept = line.accepts && line.forgotten.len() < FORGOTTEN_MAX;
        if is_kept {
            line.forgotten.push((keys.clone(), key.to_owned()));
        }
        is_kept
    }

    pub(super) fn take_forgotten(&self) -> Vec<(Arc<QueueKeys>, String)> {
        std::mem::take(&mut self.lock().forgotten)
    }

    /// Returns when each push to `queue` is answered or lost. The reader bounds it.
    pub(crate) async fn answered(&self, queue: &str) {
        loop {
            let mut answered = pin!(self.answered.notified());
            answered.as_mut().enable();
            if !self.lock().is_expected(queue) {
                return;
            }
            answered.await;
        }
    }

    /// Installs a connection. Called by the reader, as are all that follow.
    pub(super) fn install(&self, conn: DirectPush) {
        let mut line = self.lock();
        (line.conn, line.accepts, line.broken) = (Some(conn), true, None);
    }

    /// Sends the rest of a write, and handles the replies that have come. Ends with the connection.
    pub(super) fn poll_end(&self, context: &mut Context<'_>) -> Poll<StoreError> {
        loop {
            let (expected, reply) = {
                let mut line = self.lock();
                match ready!(line.poll_reply(context)) {
                    Ok(answered) => answered,
                    Err(error) => return Poll::Ready(error),
                }
            };
            self.note(expected, reply);
            self.answered.notify_waiters();
        }
    }

    /// Lets callers write no more. Returns `true` if replies are still expected.
    pub(super) fn stop(&self) -> bool {
        let mut line = self.lock();
        line.accepts = false;
        !line.expected.is_empty()
    }

    /// Returns `true` if the oldest push is older than `limit`.
    pub(super) fn is_late(&self, limit: Duration) -> bool {
        let line = self.lock();
        line.expected.front().is_some_and(|oldest| oldest.written_at.elapsed() > limit)
    }

    /// Deletes the response keys that no push has taken along.
    pub(super) fn delete_forgotten(&self) {
        let mut line = self.lock();
        let line = &mut *line;
        let Some(conn) = line.conn.as_mut().filter(|_| line.accepts) else { return };
        while let Some((keys, _)) = line.forgotten.first() {
            let keys = &keys.clone();
            let forget = take_of(&mut line.forgotten, keys);
            let (elements, checks) = (&[], PushChecks::NONE);
            let write = DirectWrite { keys, elements, checks, forget: &forget, now_ms: 0 };
            let (form, written_at) = (conn.add(&write), Instant::now());
            line.expected.push_back(Expected { form, written_at, request: None });
        }
        line.write();
    }

    /// Closes the connection. Each push on it may have happened.
    pub(super) fn close(&self, error: &StoreError) {
        let lost = {
            let mut line = self.lock();
            (line.conn, line.accepts, line.unsent) = (None, false, false);
            std::mem::take(&mut line.expected)
        };
        for (outgoing, _) in lost.into_iter().filter_map(|expected| expected.request) {
            outgoing.route.room.forget();
            outgoing.fail(&self.in_flight, error.clone().into());
        }
        self.answered.notify_waiters();
    }

    fn note(&self, expected: Expected, reply: PushReply) {
        let Expected { written_at, request, .. } = expected;
        let Some((mut outgoing, checks)) = request else { return };
        let room = &outgoing.route.room;
        room.note_push(written_at, checks, &reply);
        if outgoing.element().is_queued(&reply, room) {
            return outgoing.confirm(None);
        }
        outgoing.route.set_counts(true);
        if let Err(SendError(Pushed { outgoing, .. })) =
            self.pushed.send(Pushed { outgoing, reply })
        {
            // The sender has ended, with the runtime.
            outgoing.fail(&self.in_flight, DirectPush::given_up().into());
        }
    }
}

impl Line {
    fn is_expected(&self, queue: &str) -> bool {
        let mut requests = self.expected.iter().filter_map(|expected| expected.request.as_ref());
        requests.any(|(outgoing, _)| outgoing.route.keys.name() == queue)
    }

    /// Writes what the socket takes now. The reader sends the rest.
    fn write(&mut self) {
        let reader = self.reader.clone();
        let Some(conn) = &mut self.conn else { return };
        match conn.poll_write(&mut Context::from_waker(&reader)) {
            Poll::Ready(Ok(())) => self.unsent = false,
            Poll::Pending => self.unsent = true,
            Poll::Ready(Err(error)) => {
                (self.accepts, self.broken) = (false, Some(error));
                reader.wake();
            }
        }
    }

    /// Returns the oldest push with its reply.
    fn poll_reply(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<(Expected, PushReply), StoreError>> {
        if !self.reader.will_wake(context.waker()) {
            self.reader = context.waker().clone();
        }
        if self.unsent {
            self.write();
        }
        if let Some(error) = self.broken.take() {
            return Poll::Ready(Err(error));
        }
        let Some(conn) = &mut self.conn else { return Poll::Ready(Err(DirectPush::given_up())) };
        let Some(oldest) = self.expected.front() else {
            return conn.poll_end(context).map(Err);
        };
        let reply = ready!(conn.poll_reply(context, &oldest.form))?;
        let answered = self.expected.pop_front();
        Poll::Ready(answered.map(|expected| (expected, reply)).ok_or_else(DirectPush::given_up))
    }
}

/// Takes the response keys of this queue.
fn take_of(forgotten: &mut Vec<(Arc<QueueKeys>, String)>, of: &QueueKeys) -> Vec<String> {
    let own = forgotten.extract_if(.., |(keys, _)| keys.name() == of.name());
    own.map(|(_, key)| key).collect()
}
