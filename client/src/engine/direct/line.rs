//! The connection for pushes, the requests that wait for the next write, and the writes that Redis
//! has not answered. All under one lock of `shared.rs`.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use redcall_store::{DirectPush, DirectWrite, PushChecks, PushForm, PushReply, StoreError};
use tokio::task::unconstrained;
use tokio::time::Instant;

use super::forgotten::Forgotten;
use crate::engine::in_flight::InFlight;
use crate::engine::route::Route;
use crate::engine::sender::command::{Outgoing, Payload};

/// Maximum number of unanswered writes. Requests that arrive meanwhile go out in one later write.
pub(super) const WRITES_MAX: usize = 4;
/// Maximum number of requests that wait for a write, and of their bytes.
pub(super) const GATHERED_MAX: usize = 1024;
const GATHERED_BYTES: usize = 1 << 20;

/// See the module.
pub(super) struct Line {
    /// Written by the reader.
    pub(super) conn: Option<DirectPush>,
    /// `true` if callers may write. Written by the reader, and by a caller whose write fails.
    pub(super) accepts: bool,
    /// `true` while answers are delivered: the requests of the callers that wake are gathered.
    pub(super) corked: bool,
    /// Read and written by the reader only.
    corked_by_reader: bool,
    /// The error of a write.
    pub(super) broken: Option<StoreError>,
    /// `true` if bytes are left to send: the reader sends them.
    pub(super) unsent: bool,
    /// Wakes the reader: a caller leaves the rest of a write to it.
    reader: Waker,
    /// Empty unless callers may write.
    gathered: Gathered,
    /// In the order of the commands, as are the replies.
    expected: VecDeque<Expected>,
    last_serial: u64,
    pub(super) forgotten: Forgotten,
}

/// Requests of one queue, in order. None is claimed.
#[derive(Default)]
struct Gathered {
    /// `None` if there are no requests.
    route: Option<Arc<Route>>,
    requests: Vec<Outgoing>,
    /// Their envelopes.
    bytes: usize,
    /// Redis time of the last request.
    now_ms: u64,
}

/// A write without its reply.
pub(super) struct Expected {
    serial: u64,
    form: PushForm,
    pub(super) written_at: Instant,
    /// `None` if only response keys are deleted.
    pub(super) sent: Option<Sent>,
}

/// The requests of a write: those of one queue.
pub(super) struct Sent {
    pub(super) route: Arc<Route>,
    pub(super) requests: Vec<Outgoing>,
    pub(super) checks: PushChecks,
}

impl Default for Line {
    fn default() -> Self {
        Self {
            conn: None,
            accepts: false,
            corked: false,
            corked_by_reader: false,
            broken: None,
            unsent: false,
            reader: Waker::noop().clone(),
            gathered: Gathered::default(),
            expected: VecDeque::new(),
            last_serial: 0,
            forgotten: Forgotten::default(),
        }
    }
}

impl Line {
    /// Takes the request into a write, at once or soon; returns it if it has to go to the sender.
    pub(super) fn push(
        &mut self,
        outgoing: Outgoing,
        now_ms: u64,
        in_flight: &InFlight,
    ) -> Option<Outgoing> {
        if !self.accepts || self.unsent {
            return Some(outgoing);
        }
        let route = outgoing.route.route().clone();
        let size = outgoing.element().envelope.len();
        if !self.gathered.takes(&route, size) {
            if !self.may_write() {
                return Some(outgoing);
            }
            self.flush(in_flight);
            if !self.accepts || self.unsent {
                return Some(outgoing);
            }
        }
        let (count, now) = (self.gathered.requests.len() + 1, Instant::now());
        if !route.room.allows(count, outgoing.is_waited(), now) {
            return Some(outgoing);
        }
        self.gathered.add(route, outgoing, size, now_ms);
        self.flush_if_due(in_flight);
        None
    }

    fn may_write(&self) -> bool {
        self.accepts && !self.unsent && self.expected.len() < WRITES_MAX
    }

    /// Writes the gathered requests, unless more are about to come.
    pub(super) fn flush_if_due(&mut self, in_flight: &InFlight) {
        if !self.corked && self.may_write() {
            self.flush(in_flight);
        }
    }

    /// Gathers the requests of the callers that the reader is about to wake.
    pub(super) fn cork_by_reader(&mut self) -> bool {
        let corks = self.accepts && !self.corked;
        self.corked |= corks;
        self.corked_by_reader |= corks;
        corks
    }

    pub(super) fn end_own_cork(&mut self, in_flight: &InFlight) {
        if std::mem::take(&mut self.corked_by_reader) {
            self.corked = false;
            self.flush_if_due(in_flight);
        }
    }

    /// Writes the gathered requests whose callers still wait. They stay if callers must not write:
    /// [`Line::take_gathered`] gets them.
    pub(super) fn flush(&mut self, in_flight: &InFlight) {
        let Some(conn) = self.conn.as_mut().filter(|_| self.accepts) else { return };
        let Gathered { route, mut requests, now_ms, .. } = std::mem::take(&mut self.gathered);
        let Some(route) = route else { return };
        requests.retain(|outgoing| outgoing.claim(in_flight));
        if requests.is_empty() {
            return;
        }
        let written_at = Instant::now();
        let waited = requests.iter().any(Outgoing::is_waited);
        let checks = route.room.checks(waited, written_at);
        let forget = self.forgotten.take_along(&route.keys);
        let elements: Vec<&str> = requests.iter().map(|one| one.element().envelope).collect();
        let (keys, elements, forget) = (&*route.keys, &elements[..], &forget[..]);
        let form = conn.add(&DirectWrite { keys, elements, checks, forget, now_ms });
        self.expect(form, written_at, Some(Sent { route, requests, checks }));
        self.write();
    }

    fn expect(&mut self, form: PushForm, written_at: Instant, sent: Option<Sent>) {
        self.last_serial += 1;
        let serial = self.last_serial;
        self.expected.push_back(Expected { serial, form, written_at, sent });
    }

    /// Deletes the response keys that no push has taken along.
    pub(super) fn delete_forgotten(&mut self) {
        let written_at = Instant::now();
        while let Some(conn) = self.conn.as_mut().filter(|_| self.accepts)
            && let Some((keys, forget)) = self.forgotten.take_next()
        {
            let (keys, elements, checks) = (&*keys, &[][..], PushChecks::NONE);
            let form =
                conn.add(&DirectWrite { keys, elements, checks, forget: &forget, now_ms: 0 });
            self.expect(form, written_at, None);
        }
        if !self.unsent {
            self.write();
        }
    }

    /// Writes what the socket takes now. The reader sends the rest.
    fn write(&mut self) {
        let reader = self.reader.clone();
        let Some(conn) = &mut self.conn else { return };
        // The budget is that of the caller's task.
        let writing = unconstrained(std::future::poll_fn(|context| conn.poll_write(context)));
        match pin!(writing).poll(&mut Context::from_waker(&reader)) {
            Poll::Ready(Ok(())) => self.unsent = false,
            Poll::Pending => self.unsent = true,
            Poll::Ready(Err(error)) => {
                (self.accepts, self.broken) = (false, Some(error));
                reader.wake();
            }
        }
    }

    /// Returns the oldest write with its reply. Called by the reader.
    pub(super) fn poll_reply(
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

    /// Returns the oldest write that is not answered.
    pub(super) fn oldest(&self) -> Option<&Expected> {
        self.expected.front()
    }

    /// Returns the serial of the last unanswered write with requests of this queue.
    pub(super) fn last_of(&self, queue: &str) -> Option<u64> {
        let of_queue =
            |one: &&Expected| one.sent.as_ref().is_some_and(|sent| sent.route.keys.name() == queue);
        self.expected.iter().rev().find(of_queue).map(|expected| expected.serial)
    }

    /// Returns `true` if requests of this queue are gathered.
    pub(super) fn has_gathered(&self, queue: &str) -> bool {
        self.gathered.route.as_ref().is_some_and(|route| route.keys.name() == queue)
    }

    /// Takes the gathered requests: they are not written.
    pub(super) fn take_gathered(&mut self) -> Vec<Outgoing> {
        std::mem::take(&mut self.gathered).requests
    }

    /// Closes the connection; returns the unanswered writes.
    pub(super) fn close(&mut self) -> VecDeque<Expected> {
        (self.conn, self.accepts, self.unsent, self.broken) = (None, false, false, None);
        std::mem::take(&mut self.expected)
    }
}

impl Expected {
    pub(super) fn serial(&self) -> u64 {
        self.serial
    }
}

impl Gathered {
    /// Returns `true` if a request of this queue and size can be added.
    fn takes(&self, route: &Arc<Route>, size: usize) -> bool {
        let same = self.route.as_ref().is_none_or(|own| Arc::ptr_eq(own, route));
        same && self.requests.len() < GATHERED_MAX && self.bytes + size <= GATHERED_BYTES
    }

    fn add(&mut self, route: Arc<Route>, outgoing: Outgoing, size: usize, now_ms: u64) {
        self.route = Some(route);
        self.requests.push(outgoing);
        self.bytes += size;
        self.now_ms = now_ms;
    }
}

/// Returns `true` if a caller may write this request, whatever the state of the connection.
pub(super) fn is_plain(outgoing: &Outgoing) -> bool {
    matches!(outgoing.payload, Payload::Push(_)) && !outgoing.element().is_large()
}
