//! How a run ends: the first half of `poll.lua`.

use super::state::{Fault, Frame, Id, Letter, SettleResult, Store, WorkerId};

/// The end of one request's run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunOutcome {
    /// Which request.
    pub id: Id,
    /// The operation on it.
    pub op: Op,
}

/// The operation on a request whose lease is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    /// Push the final frame.
    Answer(Frame),
    /// No caller waits.
    Done,
    /// To the dead letters; and push the frame, if there is one.
    DeadLetter(Option<Frame>),
    /// To the head of the queue, as if never leased.
    Back,
    /// The same, after this number of starts.
    Rerun(u8),
    /// To the schedule after this number of runs; and push the frame, if there is one.
    Retry(u8, Option<Frame>),
    /// Parked if a live worker maps its name, else answered or dead-lettered.
    Unknown(Option<Frame>),
}

impl Store {
    /// Settles one request: stores its end, removes its lease, then its other keys.
    pub(super) fn settle(&mut self, worker: WorkerId, outcome: RunOutcome) -> SettleResult {
        let RunOutcome { id, op } = outcome;
        let leased = self.holder(worker).leases.contains(&id);
        if !leased && !self.is(Fault::NoFence) {
            return SettleResult::LeaseLost;
        }
        let mut results = SettleResult::Yes;
        let remove = |store: &mut Self| {
            store.holder_mut(worker).leases.retain(|one| *one != id);
        };
        self.moves(remove, |store| results = store.store_end(id, op));
        let stays = matches!(op, Op::Back | Op::Rerun(_) | Op::Retry(..))
            || results == SettleResult::Parked;
        if !stays {
            self.forget(id);
            self.ran();
        }
        results
    }

    /// Writes an end.
    pub(super) fn store_end(&mut self, id: Id, op: Op) -> SettleResult {
        let frame = match op {
            Op::Unknown(_) if self.mapped => {
                self.parked.push(id);
                self.names_parked = true;
                return SettleResult::Parked;
            }
            Op::Back | Op::Rerun(_) => {
                if let Op::Rerun(attempt) = op {
                    self.remember(id, |record| record.attempt = attempt);
                    self.ran();
                }
                self.queue.insert(0, id);
                None
            }
            Op::Retry(attempt, notice) => {
                self.remember(id, |record| {
                    record.attempt = attempt;
                    record.fails += 1;
                });
                self.ran();
                if self.tombstones.contains(&id) {
                    // The worker that leases it next ends it at once.
                    self.queue.insert(0, id);
                } else if !self.is(Fault::RetryNotScheduled) {
                    self.schedule(id);
                }
                notice
            }
            Op::DeadLetter(frame) => {
                self.dead.push(Letter { id, invalid: false });
                frame
            }
            Op::Unknown(None) => {
                self.dead.push(Letter { id, invalid: false });
                None
            }
            Op::Unknown(Some(frame)) | Op::Answer(frame) => Some(frame),
            Op::Done => None,
        };
        if let Some(frame) = frame {
            self.ran();
            self.push_frame_of(id, frame);
        }
        SettleResult::Yes
    }

    /// Removes the other keys of a request that has ended.
    fn forget(&mut self, id: Id) {
        if let Some(record) = self.records.get_mut(usize::from(id)) {
            *record = None;
        }
        self.tombstones.retain(|one| *one != id);
    }
}
