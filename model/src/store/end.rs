//! How a run ends: the first half of `cycle.lua`.

use super::cycle::Said;
use super::{Fault, Frame, Id, Letter, Store, WorkerId};

/// The end of one request's run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ending {
    /// Which request.
    pub id: Id,
    /// What is done with it.
    pub op: Op,
}

/// What is done with a request whose lease is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    /// Push the ending frame.
    Answer(Frame),
    /// Nobody asked.
    Done,
    /// To the dead letters; and push the frame, if there is one.
    Bury(Option<Frame>),
    /// To the head of the queue, as if never leased.
    Back,
    /// The same, after it was started so often.
    Rerun(u8),
    /// To the schedule after run so often; and push the frame, if there is one.
    Retry(u8, Option<Frame>),
    /// Parked if a live worker maps its name, else answered or buried.
    Unknown(Option<Frame>),
}

impl Store {
    /// Settles one request.
    pub(super) fn settle(&mut self, worker: WorkerId, ending: Ending) -> Said {
        let Ending { id, op } = ending;
        let no_fence = self.is(Fault::NoFence);
        let leases = &mut self.holder_mut(worker).leases;
        match leases.iter().position(|one| *one == id) {
            Some(at) => drop(leases.remove(at)),
            None if no_fence => {}
            None => return Said::LeaseLost,
        }
        let frame = match op {
            Op::Back => {
                self.queue.insert(0, id);
                return Said::Yes;
            }
            Op::Unknown(_) if self.mapped => {
                self.parked.push(id);
                self.names_parked = true;
                return Said::Parked;
            }
            Op::Rerun(attempt) => {
                self.remember(id, |record| record.attempt = attempt);
                self.queue.insert(0, id);
                None
            }
            Op::Retry(attempt, notice) => {
                self.remember(id, |record| {
                    record.attempt = attempt;
                    record.fails += 1;
                });
                if self.tombstones.contains(&id) {
                    // Whoever leases it next ends it at once.
                    self.queue.insert(0, id);
                } else if !self.is(Fault::RetryNotScheduled) {
                    self.schedule(id);
                }
                notice
            }
            Op::Bury(frame) => {
                self.dead.push(Letter { id, invalid: false });
                self.forget(id);
                frame
            }
            Op::Unknown(None) => {
                self.dead.push(Letter { id, invalid: false });
                self.forget(id);
                None
            }
            Op::Unknown(Some(frame)) | Op::Answer(frame) => {
                self.forget(id);
                Some(frame)
            }
            Op::Done => {
                self.forget(id);
                None
            }
        };
        if let Some(frame) = frame {
            self.push_frame_of(id, frame);
        }
        Said::Yes
    }

    /// What lies beside a request goes with its end.
    fn forget(&mut self, id: Id) {
        if let Some(record) = self.records.get_mut(usize::from(id)) {
            *record = None;
        }
        self.tombstones.retain(|one| *one != id);
    }
}
