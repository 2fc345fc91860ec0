//! Who waits for what: request id to waiter. Shared by callers, sender and reader of replies.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redcall_common::frame::Frame;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

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
    All { frames: mpsc::UnboundedSender<Ending>, next_seq: u64, attempt: u32 },
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
}

struct Waiter {
    response_key: String,
    stage: Stage,
    check_at: Instant,
    pause: Duration,
    sink: Sink,
}

/// The waiters of one client. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Pending {
    waiters: Arc<Mutex<HashMap<String, Waiter>>>,
}

/// Takes its waiter out of the map when it goes, however it goes.
pub(crate) struct Guard {
    pending: Pending,
    id: String,
}

impl Guard {
    /// How far the request has come.
    pub(crate) fn stage(&self) -> Stage {
        self.pending.lock().get(&self.id).map_or(Stage::Sent, |waiter| waiter.stage)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.pending.lock().remove(&self.id);
    }
}

impl Pending {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Waiter>> {
        // Nothing in here panics half-way: the map is whole even if a thread died holding it.
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a waiter for the ending frame. The guard exists before the request is sent, so
    /// that an answer cannot come before its waiter.
    pub(crate) fn wait_for(
        &self,
        id: &str,
        response_key: &str,
        stage: Stage,
    ) -> (Guard, oneshot::Receiver<Ending>) {
        let (sender, receiver) = oneshot::channel();
        (self.register(id, response_key, stage, Sink::Ending(sender)), receiver)
    }

    /// Registers a waiter for every frame.
    pub(crate) fn follow(
        &self,
        id: &str,
        response_key: &str,
    ) -> (Guard, mpsc::UnboundedReceiver<Ending>) {
        let (frames, receiver) = mpsc::unbounded_channel();
        let sink = Sink::All { frames, next_seq: 1, attempt: 1 };
        (self.register(id, response_key, Stage::HandedIn, sink), receiver)
    }

    fn register(&self, id: &str, response_key: &str, stage: Stage, sink: Sink) -> Guard {
        let waiter = Waiter {
            response_key: response_key.to_owned(),
            stage,
            check_at: Instant::now() + FIRST_CHECK,
            pause: FIRST_CHECK,
            sink,
        };
        self.lock().insert(id.to_owned(), waiter);
        Guard { pending: self.clone(), id: id.to_owned() }
    }

    /// Whether somebody still waits for `id`.
    pub(crate) fn is_waiting(&self, id: &str) -> bool {
        self.lock().contains_key(id)
    }

    /// Marks a request as sent; `false` if nobody waits for it any more.
    pub(crate) fn mark_sent(&self, id: &str) -> bool {
        self.lock().get_mut(id).map(|waiter| waiter.stage = Stage::Sent).is_some()
    }

    /// Takes the mark back: the request was left out of the batch.
    pub(crate) fn mark_unserved(&self, id: &str) {
        if let Some(waiter) = self.lock().get_mut(id) {
            waiter.stage = Stage::Unserved;
        }
    }

    /// Ends a wait without an answer.
    pub(crate) fn fail(&self, id: &str, error: CallError) {
        if let Some(waiter) = self.lock().remove(id) {
            waiter.sink.end(Err(error));
        }
    }

    /// Passes frames on; returns the ids whose keys must be read, because a frame was missed.
    pub(crate) fn deliver(&self, frames: impl Iterator<Item = Frame>) -> Vec<String> {
        let mut missed = Vec::new();
        let mut waiters = self.lock();
        for frame in frames {
            let Some(waiter) = waiters.get_mut(&frame.id) else { continue };
            if waiter.sink.misses_one_before(&frame) {
                missed.push(frame.id);
            } else if frame.kind.ends() {
                if let Some(waiter) = waiters.remove(&frame.id) {
                    waiter.sink.end(Ok(frame));
                }
            } else {
                waiter.sink.pass(frame);
            }
        }
        missed
    }

    /// Waiters that have not heard anything for a while (`all`: every one), with their keys and
    /// whether every frame is wanted.
    pub(crate) fn due(&self, all: bool) -> Vec<(String, String, bool)> {
        let now = Instant::now();
        let mut waiters = self.lock();
        let due = waiters
            .iter_mut()
            .filter(|(_, w)| w.stage == Stage::Sent && (all || w.check_at <= now));
        due.map(|(id, waiter)| {
            waiter.check_at = now + waiter.pause;
            waiter.pause = (waiter.pause * 2).min(LONGEST_PAUSE);
            waiter.describe(id)
        })
        .collect()
    }

    /// The waiters among `ids`, as [`Pending::due`] gives them.
    pub(crate) fn of(&self, ids: &[String]) -> Vec<(String, String, bool)> {
        let waiters = self.lock();
        ids.iter().filter_map(|id| Some(waiters.get(id)?.describe(id))).collect()
    }
}

impl Waiter {
    fn describe(&self, id: &str) -> (String, String, bool) {
        let wants_all = matches!(self.sink, Sink::All { .. });
        (id.to_owned(), self.response_key.clone(), wants_all)
    }
}

impl Sink {
    /// Sends to a receiver that may have gone; that is its right.
    fn end(self, ending: Ending) {
        match self {
            Self::Ending(sender) => drop(sender.send(ending)),
            Self::All { frames, .. } => drop(frames.send(ending)),
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

    fn pass(&mut self, frame: Frame) {
        let Self::All { frames, next_seq, attempt } = self else { return };
        let repeated =
            frame.attempt < *attempt || (frame.attempt == *attempt && frame.seq < *next_seq);
        if !repeated {
            *attempt = frame.attempt;
            *next_seq = frame.seq + 1;
            let _ = frames.send(Ok(frame));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(seq: u64, kind: &str) -> Frame {
        let json = format!(r#"{{"id":"a","type":"{kind}","seq":{seq},"attempt":1}}"#);
        serde_json::from_str(&json).unwrap()
    }

    #[tokio::test]
    async fn a_stream_passes_frames_once_and_in_order_and_asks_for_what_it_missed() {
        let pending = Pending::default();
        let (_guard, mut frames) = pending.follow("a", "key");
        assert!(
            pending.deliver([frame(1, "progress"), frame(1, "progress")].into_iter()).is_empty()
        );
        assert_eq!(pending.deliver([frame(3, "progress")].into_iter()), ["a"]);
        let reread = [frame(1, "progress"), frame(2, "progress"), frame(3, "result")];
        assert!(pending.deliver(reread.into_iter()).is_empty());
        let mut seen = Vec::new();
        while let Some(Ok(frame)) = frames.recv().await {
            seen.push(frame.seq);
        }
        assert_eq!(seen, [1, 2, 3]);
    }

    #[test]
    fn a_dropped_wait_leaves_nothing_behind() {
        let pending = Pending::default();
        let (guard, _receiver) = pending.wait_for("a", "key", Stage::HandedIn);
        assert_eq!(guard.stage(), Stage::HandedIn);
        assert!(pending.mark_sent("a"));
        assert_eq!(guard.stage(), Stage::Sent);
        drop(guard);
        assert!(!pending.mark_sent("a") && pending.lock().is_empty());
    }
}
