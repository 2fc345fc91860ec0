//! The waiters of requests in flight, by request id. Shared by callers, sender and reader of
//! replies.

mod sink;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redcall_common::backoff::Backoff;
use redcall_common::frame::Frame;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use self::sink::Sink;
pub(crate) use self::sink::{FrameResult, Frames};

use crate::engine::withdrawal::{Origin, Withdrawal};
use crate::error::CallError;

/// Pauses between reads of a response key without an announcement.
const CHECKS: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(5));

/// Progress of a request. Written by the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Waits for a connection.
    HandedIn,
    /// Written, or about to be.
    Sent,
    /// Not sent, because its queue has no worker; retried during its grace period.
    Unserved,
}

impl Stage {
    /// Returns the error for a request that times out at this stage.
    pub(crate) fn why_late(self, queue: &str) -> CallError {
        match self {
            Self::HandedIn => CallError::not_sent(),
            Self::Unserved => CallError::no_workers(queue),
            Self::Sent => CallError::TimedOut,
        }
    }

    /// Returns the error for a request whose calling handler is cancelled at this stage.
    pub(crate) fn why_cancelled(self) -> CallError {
        match self {
            Self::HandedIn | Self::Unserved => CallError::cancelled(),
            Self::Sent => CallError::Cancelled,
        }
    }
}

struct Waiter {
    /// Distinguishes waiters of the same request.
    serial: u64,
    response_key: String,
    stage: Stage,
    check_at: Instant,
    pause: Duration,
    sink: Sink,
}

#[derive(Default)]
struct Waiters {
    /// Usually one waiter per request; several fetches may wait for the same. No list is empty.
    by_id: HashMap<String, Vec<Waiter>>,
    /// Ids whose keys the reader is to read, and has not started to.
    requested_reads: HashSet<String>,
    next_serial: u64,
}

/// A response key to be read.
pub(crate) struct Due {
    pub(crate) id: String,
    pub(crate) key: String,
    /// Index of the first frame to read, if every frame is wanted; `None` for the last frame only.
    pub(crate) from: Option<u64>,
}

/// The waiters of one client. Cheap to clone.
#[derive(Clone)]
pub(crate) struct InFlight {
    shared: Arc<Shared>,
}

struct Shared {
    waiters: Mutex<Waiters>,
    /// To the sender. Unbounded, so that no cancellation is lost while the sender is busy; there
    /// are never more than there were waiters.
    withdrawn: mpsc::UnboundedSender<Withdrawal>,
}

/// Removes its waiter when dropped; a request that was sent and not answered is then cancelled.
pub(crate) struct Guard {
    in_flight: InFlight,
    id: String,
    serial: u64,
    /// Data to cancel the request; `None` if the request continues without this waiter.
    origin: Option<Origin>,
    /// `true` if the waiter was removed after the request was sent and before its answer.
    unanswered: bool,
}

impl Guard {
    /// Removes the waiter and returns the stage of the request. The stage is then final: the sender
    /// writes only requests that have a waiter.
    pub(crate) fn give_up(&mut self) -> Stage {
        let mut waiters = self.in_flight.lock();
        let Some(list) = waiters.by_id.get_mut(&self.id) else { return Stage::Sent };
        let Some(place) = list.iter().position(|waiter| waiter.serial == self.serial) else {
            return Stage::Sent; // already ended
        };
        let stage = list.swap_remove(place).stage;
        if list.is_empty() {
            waiters.by_id.remove(&self.id);
        }
        self.unanswered = stage == Stage::Sent;
        stage
    }

    /// Marks the request as answered, so that it is not cancelled.
    pub(crate) fn answered(&mut self) {
        self.origin = None;
    }

    /// Cancels the request, once, if it was abandoned without an answer.
    pub(crate) fn withdraw(&mut self) {
        if self.unanswered
            && let Some(origin) = self.origin.take()
        {
            let withdrawal = Withdrawal { id: self.id.clone(), origin };
            // The sender ends with the client.
            let _ = self.in_flight.shared.withdrawn.send(withdrawal);
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.give_up();
        self.withdraw();
    }
}

impl InFlight {
    /// Returns an empty table and the receiver of requests to be cancelled.
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<Withdrawal>) {
        let (withdrawn, given_up) = mpsc::unbounded_channel();
        let shared = Shared { waiters: Mutex::default(), withdrawn };
        (Self { shared: Arc::new(shared) }, given_up)
    }

    fn lock(&self) -> MutexGuard<'_, Waiters> {
        // No code panics while it holds the lock, so the map is consistent.
        self.shared.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a waiter for the final frame. The guard exists before the request is sent, so an
    /// answer always finds its waiter. With an `origin`, the request is cancelled if its waiter
    /// gives up.
    pub(crate) fn wait_for(
        &self,
        id: &str,
        response_key: &str,
        stage: Stage,
        origin: Option<Origin>,
    ) -> (Guard, oneshot::Receiver<FrameResult>) {
        let (sender, receiver) = oneshot::channel();
        (self.register(id, response_key, stage, Sink::Final(sender), origin), receiver)
    }

    /// Registers a waiter for every frame.
    pub(crate) fn follow(&self, id: &str, response_key: &str, origin: Origin) -> (Guard, Frames) {
        let (sink, frames) = Sink::all((1, 1), Some(1), false);
        (self.register(id, response_key, Stage::HandedIn, sink, Some(origin)), frames)
    }

    /// Registers a waiter for every frame of another client's request, starting at `from` (attempt
    /// and `seq`). It cancels nothing.
    pub(crate) fn join(&self, id: &str, response_key: &str, from: (u32, u64)) -> (Guard, Frames) {
        let (sink, frames) = Sink::all(from, None, true);
        (self.register(id, response_key, Stage::Sent, sink, None), frames)
    }

    fn register(
        &self,
        id: &str,
        response_key: &str,
        stage: Stage,
        sink: Sink,
        origin: Option<Origin>,
    ) -> Guard {
        let mut waiters = self.lock();
        let serial = waiters.next_serial;
        waiters.next_serial += 1;
        let waiter = Waiter {
            serial,
            response_key: response_key.to_owned(),
            stage,
            check_at: Instant::now() + CHECKS.first(),
            pause: CHECKS.first(),
            sink,
        };
        waiters.by_id.entry(id.to_owned()).or_insert_with(|| Vec::with_capacity(1)).push(waiter);
        Guard { in_flight: self.clone(), id: id.to_owned(), serial, origin, unanswered: false }
    }

    /// Returns `true` if `id` has a waiter.
    pub(crate) fn is_waiting(&self, id: &str) -> bool {
        self.lock().by_id.contains_key(id)
    }

    /// Marks a request as sent; returns `false` if it has no waiter any more.
    pub(crate) fn mark_sent(&self, id: &str) -> bool {
        self.mark(id, Stage::Sent)
    }

    /// Reverts the mark: the request was not sent.
    pub(crate) fn mark_unserved(&self, id: &str) {
        self.mark(id, Stage::Unserved);
    }

    fn mark(&self, id: &str, stage: Stage) -> bool {
        let mut waiters = self.lock();
        let list = waiters.by_id.get_mut(id);
        list.map(|list| list.iter_mut().for_each(|waiter| waiter.stage = stage)).is_some()
    }

    /// Ends the wait for `id` with an error.
    pub(crate) fn fail(&self, id: &str, error: CallError) {
        // The id is not known elsewhere before the request is enqueued, so there is one waiter.
        let waiter = self.lock().by_id.remove(id).and_then(|mut list| list.pop());
        if let Some(waiter) = waiter {
            waiter.sink.end(Err(error));
        }
    }

    /// Ends every wait without an answer: the tasks that deliver answers have ended.
    pub(crate) fn end_all(&self) {
        let waiters = std::mem::take(&mut self.lock().by_id);
        drop(waiters);
    }

    /// Passes frames to their waiters; returns the ids whose keys must be read, because a frame was
    /// missed.
    pub(crate) fn deliver(&self, frames: impl Iterator<Item = Frame>) -> Vec<String> {
        let mut missed = Vec::new();
        let mut waiters = self.lock();
        for frame in frames {
            let Some(list) = waiters.by_id.get_mut(&frame.id) else { continue };
            let missed_frame = list.iter().any(|waiter| waiter.sink.misses_one_before(&frame));
            if missed_frame {
                missed.push(frame.id.clone());
            }
            if !frame.kind.ends() {
                list.retain_mut(|waiter| waiter.sink.pass(&frame));
                if list.is_empty() {
                    waiters.by_id.remove(&frame.id);
                }
                continue;
            }
            let mut ended = if missed_frame {
                let all = std::mem::take(list).into_iter();
                let ended: Vec<Waiter>;
                (*list, ended) = all.partition(|waiter| waiter.sink.misses_one_before(&frame));
                ended
            } else {
                waiters.by_id.remove(&frame.id).unwrap_or_default()
            };
            let last = ended.pop();
            ended.into_iter().for_each(|waiter| waiter.sink.end(Ok(frame.clone())));
            if let Some(waiter) = last {
                waiter.sink.end(Ok(frame));
            }
        }
        missed
    }

    /// Returns the keys of waiters without a recent announcement (`all`: of every waiter).
    pub(crate) fn due(&self, all: bool) -> Vec<Due> {
        let now = Instant::now();
        let mut waiters = self.lock();
        let due = waiters.by_id.iter_mut().filter_map(|(id, list)| {
            let mut due = false;
            for waiter in list.iter_mut().filter(|waiter| waiter.stage == Stage::Sent) {
                if all || waiter.check_at <= now {
                    waiter.check_at = now + waiter.pause;
                    waiter.pause = CHECKS.following(waiter.pause);
                    due = true;
                }
            }
            if due { describe(id, list) } else { None }
        });
        due.collect()
    }

    /// Returns `true` if the reader has to read the key of `id`: a caller waits for it, and its
    /// read was not requested yet. Any number of messages causes one read.
    pub(crate) fn request_read(&self, id: &str) -> bool {
        let mut waiters = self.lock();
        waiters.by_id.contains_key(id) && waiters.requested_reads.insert(id.to_owned())
    }

    /// Returns the keys of those `ids` that have waiters. Their reads may be requested again.
    pub(crate) fn of<'a>(&self, ids: impl IntoIterator<Item = &'a String>) -> Vec<Due> {
        let mut waiters = self.lock();
        let due = ids.into_iter().filter_map(|id| {
            waiters.requested_reads.remove(id);
            describe(id, waiters.by_id.get(id)?)
        });
        due.collect()
    }

    /// Records the first frame at the key of `id`; `None` if the key is empty. Ends the waiters
    /// that need an earlier frame: another reader has trimmed it.
    pub(crate) fn begins_with(&self, id: &str, first: Option<&Frame>) {
        let mut waiters = self.lock();
        let Some(list) = waiters.by_id.get_mut(id) else { return };
        list.retain_mut(|waiter| waiter.sink.finds(first));
        let known = first.map(|first| (first.attempt, first.seq));
        list.iter_mut().for_each(|waiter| waiter.sink.set_head(known));
        if list.is_empty() {
            waiters.by_id.remove(id);
        }
    }

    /// Records attempt and `seq` of the first frame at the key of a stream, if known.
    pub(crate) fn set_head(&self, id: &str, known: Option<(u32, u64)>) {
        let mut waiters = self.lock();
        for waiter in waiters.by_id.get_mut(id).into_iter().flatten() {
            waiter.sink.set_head(known);
        }
    }
}

/// Returns the read that serves all waiters of `id`.
fn describe(id: &str, list: &[Waiter]) -> Option<Due> {
    let key = list.first()?.response_key.clone();
    // For several streams of one request: the earliest missing frame.
    let from = list.iter().filter_map(|waiter| waiter.sink.reads_from()).min();
    Some(Due { id: id.to_owned(), key, from })
}

#[cfg(test)]
mod tests;
