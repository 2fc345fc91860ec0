//! Who waits for what: request id to waiter. Shared by callers, sender and reader of replies.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redcall_common::frame::Frame;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::cancel::{Origin, Withdrawal};
use crate::error::CallError;

/// First look at a response key without having heard of it; the pause then doubles.
const FIRST_CHECK: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

type Ending = Result<Frame, CallError>;

/// Where a waiter's frames go.
enum Sink {
    /// Only the ending frame is wanted.
    Ending(oneshot::Sender<Ending>),
    /// Every frame is wanted. Unbounded, since the writer stops at `stream_window` unread frames.
    All {
        frames: mpsc::UnboundedSender<Ending>,
        next_seq: u64,
        attempt: u32,
        /// The `seq` of the first frame that lies at the key, while that is certain.
        head: Option<u64>,
    },
}

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
pub(crate) struct Pending {
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
    pending: Pending,
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
        let mut waiters = self.pending.lock();
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
            let _ = self.pending.shared.withdrawn.send(withdrawal);
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.give_up();
        self.withdraw();
    }
}

impl Pending {
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
    ) -> (Guard, oneshot::Receiver<Ending>) {
        let (sender, receiver) = oneshot::channel();
        (self.register(id, response_key, stage, Sink::Ending(sender), origin), receiver)
    }

    /// Registers a waiter for every frame.
    pub(crate) fn follow(
        &self,
        id: &str,
        response_key: &str,
        origin: Origin,
    ) -> (Guard, mpsc::UnboundedReceiver<Ending>) {
        let (frames, receiver) = mpsc::unbounded_channel();
        let sink = Sink::All { frames, next_seq: 1, attempt: 1, head: Some(1) };
        (self.register(id, response_key, Stage::HandedIn, sink, Some(origin)), receiver)
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
        Guard { pending: self.clone(), id: id.to_owned(), serial, origin, unanswered: false }
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
                list.iter_mut().for_each(|waiter| waiter.sink.pass(&frame));
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
                    waiter.pause = (waiter.pause * 2).min(LONGEST_PAUSE);
                    due = true;
                }
            }
            if due { describe(id, list) } else { None }
        });
        due.collect()
    }

    /// The keys of `ids` for which somebody waits.
    pub(crate) fn of<'a>(&self, ids: impl IntoIterator<Item = &'a String>) -> Vec<Due> {
        let waiters = self.lock();
        let ids = ids.into_iter();
        ids.filter_map(|id| describe(id, waiters.by_id.get(id)?)).collect()
    }

    /// Attempt and `seq` of the first frame at the key of a stream, if that is certain.
    pub(crate) fn head(&self, id: &str) -> Option<(u32, u64)> {
        let waiters = self.lock();
        waiters.by_id.get(id)?.iter().find_map(|waiter| match waiter.sink {
            Sink::All { attempt, head, .. } => Some((attempt, head?)),
            Sink::Ending(_) => None,
        })
    }

    /// Notes what is known of the first frame at the key of a stream: `seq` in `of_attempt`.
    pub(crate) fn set_head(&self, id: &str, known: Option<(u32, u64)>) {
        let mut waiters = self.lock();
        for waiter in waiters.by_id.get_mut(id).into_iter().flatten() {
            if let Sink::All { attempt, head, .. } = &mut waiter.sink {
                *head = known.filter(|(of, _)| of == attempt).map(|(_, seq)| seq);
            }
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

impl Sink {
    /// Sends to a receiver that may have gone; that is its right.
    fn end(self, ending: Ending) {
        match self {
            Self::Ending(sender) => drop(sender.send(ending)),
            Self::All { frames, .. } => drop(frames.send(ending)),
        }
    }

    /// Where the first frame lies at the key that has not been passed on; none if only the ending
    /// one is wanted.
    fn reads_from(&self) -> Option<u64> {
        match self {
            Self::Ending(_) => None,
            Self::All { next_seq, head, .. } => {
                Some(head.map_or(0, |head| next_seq.saturating_sub(head)))
            }
        }
    }

    fn misses_one_before(&self, frame: &Frame) -> bool {
        match self {
            Self::Ending(_) => false,
            Self::All { next_seq, attempt, .. } => {
                if frame.attempt > *attempt {
                    frame.seq > 1
                } else {
                    frame.seq > *next_seq
                }
            }
        }
    }

    fn pass(&mut self, frame: &Frame) {
        if self.misses_one_before(frame) {
            return;
        }
        let Self::All { frames, next_seq, attempt, head } = self else { return };
        let repeated =
            frame.attempt < *attempt || (frame.attempt == *attempt && frame.seq < *next_seq);
        if !repeated {
            if frame.attempt > *attempt {
                *head = None;
            }
            *attempt = frame.attempt;
            *next_seq = frame.seq + 1;
            let _ = frames.send(Ok(frame.clone()));
        }
    }
}

#[cfg(test)]
mod tests;
