//! Who waits for what: request id to waiter. Shared by callers, sender and reader of replies.

mod sink;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redcall_common::frame::Frame;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use self::sink::Sink;
pub(crate) use self::sink::{FinalFrame, Frames};

use crate::cancel::{Origin, Withdrawal};
use crate::error::CallError;

/// First look at a response key without having heard of it; the pause then doubles.
const FIRST_CHECK: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// How far a request has come. Written by the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Waits for a connection.
    HandedIn,
    /// Has been written, or is about to be.
    Sent,
    /// Was left out, because no worker listens; tried again during its grace.
    Unserved,
}

impl Stage {
    /// Why a request that has come so far has no answer when its time is over.
    pub(crate) fn why_late(self, queue: &str) -> CallError {
        match self {
            Self::HandedIn => CallError::not_sent(),
            Self::Unserved => CallError::no_workers(queue),
            Self::Sent => CallError::TimedOut,
        }
    }

    /// The error of a request that has come so far when the handler that made it is cancelled.
    pub(crate) fn why_cancelled(self) -> CallError {
        match self {
            Self::HandedIn | Self::Unserved => CallError::cancelled(),
            Self::Sent => CallError::Cancelled,
        }
    }
}

struct Waiter {
    /// Tells it from others that wait for the same request.
    serial: u64,
    response_key: String,
    stage: Stage,
    check_at: Instant,
    pause: Duration,
    sink: Sink,
}

#[derive(Default)]
struct Waiters {
    /// Nearly always one per request; several fetches may wait for the same. No list is empty.
    by_id: HashMap<String, Vec<Waiter>>,
    /// Whose keys the reader has been asked to read, and has not begun to.
    asked: HashSet<String>,
    next_serial: u64,
}

/// A response key to be read.
pub(crate) struct Due {
    pub(crate) id: String,
    pub(crate) key: String,
    /// Which frame to begin with, if every frame is wanted; else only the last one is.
    pub(crate) from: Option<u64>,
}

/// The waiters of one client. Cheap to clone.
#[derive(Clone)]
pub(crate) struct InFlight {
    shared: Arc<Shared>,
}

struct Shared {
    waiters: Mutex<Waiters>,
    /// To the sender. Unbounded, since nothing may be lost because it is busy; who gives up has
    /// waited before, so that there are never more than there were waiters.
    withdrawn: mpsc::UnboundedSender<Withdrawal>,
}

/// Takes its waiter away when it goes, however it goes; a request that was sent and not answered
/// is then withdrawn.
pub(crate) struct Guard {
    in_flight: InFlight,
    id: String,
    serial: u64,
    /// What is withdrawn; none if the request goes on without this waiter.
    origin: Option<Origin>,
    /// Whether the waiter was taken away after the request had been sent, and before an answer.
    unanswered: bool,
}

impl Guard {
    /// Takes the waiter away and says how far the request has come: from now on it comes no
    /// further, since the sender writes nothing that nobody waits for.
    pub(crate) fn give_up(&mut self) -> Stage {
        let mut waiters = self.in_flight.lock();
        let Some(list) = waiters.by_id.get_mut(&self.id) else { return Stage::Sent };
        let Some(place) = list.iter().position(|waiter| waiter.serial == self.serial) else {
            return Stage::Sent; // ended
        };
        let stage = list.swap_remove(place).stage;
        if list.is_empty() {
            waiters.by_id.remove(&self.id);
        }
        self.unanswered = stage == Stage::Sent;
        stage
    }

    /// The answer has been found after all.
    pub(crate) fn answered(&mut self) {
        self.origin = None;
    }

    /// Withdraws the request, once, if it was given up unanswered.
    pub(crate) fn withdraw(&mut self) {
        if self.unanswered
            && let Some(origin) = self.origin.take()
        {
            let withdrawal = Withdrawal { id: self.id.clone(), origin };
            // The sender ends with the client; nobody is left then who could write it.
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
    /// No waiters yet, and where the requests come out that are not wanted any more.
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<Withdrawal>) {
        let (withdrawn, given_up) = mpsc::unbounded_channel();
        let shared = Shared { waiters: Mutex::default(), withdrawn };
        (Self { shared: Arc::new(shared) }, given_up)
    }

    fn lock(&self) -> MutexGuard<'_, Waiters> {
        // Nothing in here panics half-way: the map is whole even if a thread died holding it.
        self.shared.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a waiter for the ending frame. The guard exists before the request is sent, so
    /// that an answer cannot come before its waiter. A request of an `origin` is withdrawn when its
    /// waiter gives up.
    pub(crate) fn wait_for(
        &self,
        id: &str,
        response_key: &str,
        stage: Stage,
        origin: Option<Origin>,
    ) -> (Guard, oneshot::Receiver<FinalFrame>) {
        let (sender, receiver) = oneshot::channel();
        (self.register(id, response_key, stage, Sink::Final(sender), origin), receiver)
    }

    /// Registers a waiter for every frame.
    pub(crate) fn follow(&self, id: &str, response_key: &str, origin: Origin) -> (Guard, Frames) {
        let (sink, frames) = Sink::all((1, 1), Some(1), false);
        (self.register(id, response_key, Stage::HandedIn, sink, Some(origin)), frames)
    }

    /// Registers a waiter for every frame of what somebody else has asked for, the first of them
    /// `from` (attempt and `seq`). It withdraws nothing.
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
            check_at: Instant::now() + FIRST_CHECK,
            pause: FIRST_CHECK,
            sink,
        };
        waiters.by_id.entry(id.to_owned()).or_insert_with(|| Vec::with_capacity(1)).push(waiter);
        Guard { in_flight: self.clone(), id: id.to_owned(), serial, origin, unanswered: false }
    }

    /// Whether somebody still waits for `id`.
    pub(crate) fn is_waiting(&self, id: &str) -> bool {
        self.lock().by_id.contains_key(id)
    }

    /// Marks a request as sent; `false` if nobody waits for it any more.
    pub(crate) fn mark_sent(&self, id: &str) -> bool {
        self.mark(id, Stage::Sent)
    }

    /// Takes the mark back: the request was left out of the batch.
    pub(crate) fn mark_unserved(&self, id: &str) {
        self.mark(id, Stage::Unserved);
    }

    fn mark(&self, id: &str, stage: Stage) -> bool {
        let mut waiters = self.lock();
        let list = waiters.by_id.get_mut(id);
        list.map(|list| list.iter_mut().for_each(|waiter| waiter.stage = stage)).is_some()
    }

    /// Ends the wait of who has handed a request in, without an answer.
    pub(crate) fn fail(&self, id: &str, error: CallError) {
        // Nobody else knows the id before the request has been queued.
        let waiter = self.lock().by_id.remove(id).and_then(|mut list| list.pop());
        if let Some(waiter) = waiter {
            waiter.sink.end(Err(error));
        }
    }

    /// Ends every wait without an answer: the tasks that would bring one have ended.
    pub(crate) fn end_all(&self) {
        let waiters = std::mem::take(&mut self.lock().by_id);
        drop(waiters);
    }

    /// Passes frames on; returns the ids whose keys must be read, because a frame was missed.
    pub(crate) fn deliver(&self, frames: impl Iterator<Item = Frame>) -> Vec<String> {
        let mut missed = Vec::new();
        let mut waiters = self.lock();
        for frame in frames {
            let Some(list) = waiters.by_id.get_mut(&frame.id) else { continue };
            let behind = list.iter().any(|waiter| waiter.sink.misses_one_before(&frame));
            if behind {
                missed.push(frame.id.clone());
            }
            if !frame.kind.ends() {
                list.retain_mut(|waiter| waiter.sink.pass(&frame));
                if list.is_empty() {
                    waiters.by_id.remove(&frame.id);
                }
                continue;
            }
            let mut ended = if behind {
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

    /// The keys of waiters that have not heard anything for a while (`all`: of every one).
    pub(crate) fn due(&self, all: bool) -> Vec<Due> {
        let now = Instant::now();
        let mut waiters = self.lock();
        let due = waiters.by_id.iter_mut().filter_map(|(id, list)| {
            let mut due = false;
            for waiter in list.iter_mut().filter(|waiter| waiter.stage == Stage::Sent) {
                if all || waiter.check_at <= now {
                    waiter.check_at = now + waiter.pause;
                    waiter.pause = (waiter.pause * 2).min(PAUSE_MAX);
                    due = true;
                }
            }
            if due { describe(id, list) } else { None }
        });
        due.collect()
    }

    /// Returns `true` if the reader is to read the key of `id`: a caller waits for it, and the
    /// reader has not been asked already. Any number of messages asks it once.
    pub(crate) fn ask(&self, id: &str) -> bool {
        let mut waiters = self.lock();
        waiters.by_id.contains_key(id) && waiters.asked.insert(id.to_owned())
    }

    /// The keys of `ids` for which somebody waits. The reader may be asked for them again.
    pub(crate) fn of<'a>(&self, ids: impl IntoIterator<Item = &'a String>) -> Vec<Due> {
        let mut waiters = self.lock();
        let due = ids.into_iter().filter_map(|id| {
            waiters.asked.remove(id);
            describe(id, waiters.by_id.get(id)?)
        });
        due.collect()
    }

    /// Notes which frame is the first that lies at the key of `id`; none if nothing does. Ends
    /// those that want what was before: somebody else has read it, and it is gone.
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

    /// Notes what is known of the first frame at the key of a stream: `seq` in `of_attempt`.
    pub(crate) fn set_head(&self, id: &str, known: Option<(u32, u64)>) {
        let mut waiters = self.lock();
        for waiter in waiters.by_id.get_mut(id).into_iter().flatten() {
            waiter.sink.set_head(known);
        }
    }
}

/// What to read for who waits for `id`.
fn describe(id: &str, list: &[Waiter]) -> Option<Due> {
    let key = list.first()?.response_key.clone();
    // Several streams of one request: whatever one of them lacks.
    let from = list.iter().filter_map(|waiter| waiter.sink.reads_from()).min();
    Some(Due { id: id.to_owned(), key, from })
}

#[cfg(test)]
mod tests;
