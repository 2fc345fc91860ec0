//! The callers' scripts: `enqueue.lua`, `enqueue_ext.lua`, `cancel.lua`, `pause.lua`, `tick.lua`,
//! `unique.lua`, `revive.lua`; and `frame.lua`, by which a worker sends frames before the end.

use super::state::{Frame, Id, Letter, Registered, Store, UNREADABLE, WorkerId};

/// The result of `enqueue_ext.lua` for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EnqueueExtResult {
    /// Queued or scheduled, now or before.
    Queued,
    /// A caller waits, and no worker listens.
    NoWorkers,
    /// No room.
    Full,
}

/// A request without an idempotency key, for `enqueue_ext.lua`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EnqueueExt {
    /// Which.
    pub id: Id,
    /// `true` if a caller waits for it.
    pub waited: bool,
    /// `true` if it is not due yet.
    pub later: bool,
    /// The frame that marks its response key.
    pub pending: Option<Frame>,
}

/// The result of `cancel.lua`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cancelled {
    /// Leased: its worker is notified.
    Running,
    /// In the schedule: it moved to the head.
    Delayed,
    /// Neither.
    Unseen,
}

/// The result of `frame.lua`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pushed {
    /// It was pushed.
    Yes,
    /// The lease is gone.
    LeaseLost,
    /// Too many are unread.
    Full,
}

impl Store {
    /// How many more the queue may hold; `cap` 0 for any number.
    fn room(&self, cap: usize) -> usize {
        let parked = if self.names_parked { self.parked.len() } else { 0 };
        let held = self.queue.len() + self.later.len() + self.due.len() + parked;
        if cap == 0 { usize::MAX } else { cap.saturating_sub(held) }
    }

    fn is_served(&self) -> bool {
        self.holders.iter().any(|holder| holder.registered == Registered::Alive)
    }

    /// `enqueue.lua`: requests, each with `true` if a caller waits for it. Returns `true` if a
    /// worker listens or no caller waits, and the number of requests that were pushed.
    pub fn enqueue(&mut self, cap: usize, items: &[(Id, bool)]) -> (bool, usize) {
        let (left, served) = (self.room(cap), self.is_served());
        let live = served || items.iter().all(|(_, waited)| !waited);
        let mut accepted = 0;
        for (id, waited) in items {
            if *waited && !served {
                continue;
            }
            if accepted >= left {
                break;
            }
            self.queue.push(*id);
            self.ran();
            accepted += 1;
        }
        (live, accepted)
    }

    /// `enqueue_ext.lua`.
    pub fn enqueue_ext(&mut self, cap: usize, request: &EnqueueExt) -> EnqueueExtResult {
        let EnqueueExt { id, waited, later, pending } = *request;
        let marked = !self.frames[usize::from(id)].is_empty();
        if pending.is_some() && marked || later && self.scheduled(id) {
            return EnqueueExtResult::Queued;
        }
        if !later && waited && !self.is_served() {
            return EnqueueExtResult::NoWorkers;
        }
        if self.room(cap) == 0 {
            return EnqueueExtResult::Full;
        }
        if let Some(pending) = pending {
            self.push_frame_of(id, pending);
            self.ran();
        }
        if later {
            self.schedule(id);
        } else {
            self.queue.push(id);
        }
        self.ran();
        EnqueueExtResult::Queued
    }

    pub(super) fn schedule(&mut self, id: Id) {
        self.due.retain(|one| *one != id);
        if !self.later.contains(&id) {
            self.later.push(id);
            self.later.sort_unstable();
        }
    }

    fn scheduled(&self, id: Id) -> bool {
        self.later.contains(&id) || self.due.contains(&id)
    }

    /// `cancel.lua`, without an idempotency key.
    pub fn cancel(&mut self, id: Id) -> Cancelled {
        if !self.tombstones.contains(&id) {
            self.tombstones.push(id);
            self.tombstones.sort_unstable();
            self.ran();
        }
        if self.scheduled(id) {
            let remove = |store: &mut Self| {
                store.later.retain(|one| *one != id);
                store.due.retain(|one| *one != id);
            };
            self.moves(remove, |store| store.queue.insert(0, id));
            return Cancelled::Delayed;
        }
        if self.live(id).is_some() { Cancelled::Running } else { Cancelled::Unseen }
    }

    /// `pause.lua`: returns `true` if that changed something.
    pub fn pause(&mut self, paused: bool) -> bool {
        std::mem::replace(&mut self.paused, paused) != paused
    }

    /// `frame.lua`.
    pub fn frame(&mut self, worker: WorkerId, id: Id, frame: Frame, window: usize) -> Pushed {
        if !self.holder(worker).leases.contains(&id) {
            return Pushed::LeaseLost;
        }
        let frames = &mut self.frames[usize::from(id)];
        if frames.last() == Some(&frame) {
            return Pushed::Yes;
        }
        if frames.len() >= window {
            return Pushed::Full;
        }
        frames.push(frame);
        Pushed::Yes
    }

    /// `tick.lua`: the tick `at` of a schedule, for request `id`. Returns `true` if this call
    /// pushed it.
    pub fn tick(&mut self, cap: usize, at: u8, id: Id) -> bool {
        let pushed = at > self.ticked && self.room(cap) > 0;
        if pushed {
            self.queue.push(id);
            self.ran();
            self.ticked = at;
            self.ran();
        }
        pushed
    }

    /// `unique.lua`, in a window that does not end: returns `true` if it may run.
    pub fn unique(&mut self, id: Id) -> bool {
        *self.first.get_or_insert(id) == id
    }

    /// `revive.lua` over all dead letters: returns those that were moved to the queue, and `true`
    /// if it is full. Elements that are not requests stay.
    pub fn revive(&mut self, cap: usize) -> (Vec<Id>, bool) {
        let left = self.room(cap);
        let (mut revived, mut full) = (Vec::new(), false);
        for letter in self.dead.clone() {
            let Letter { id, .. } = letter;
            if id == UNREADABLE {
                continue;
            }
            if revived.len() >= left {
                full = true;
                continue;
            }
            revived.push(id);
            let remove = |store: &mut Self| {
                let at = store.dead.iter().position(|one| *one == letter);
                at.map(|at| store.dead.remove(at));
            };
            self.moves(remove, |store| store.queue.push(id));
            self.tombstones.retain(|one| *one != id);
            self.ran();
        }
        (revived, full)
    }
}
