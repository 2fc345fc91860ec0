//! The scripts by which workers stay registered and detect expired ones: `heartbeat.lua`,
//! `release.lua`, `promote.lua`.

use super::state::{Fault, Holder, Id, LaneEntry, Registered, Store, WorkerId};

/// A heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Beat {
    /// The worker.
    pub worker: WorkerId,
    /// `true` if it maps the name that not every worker maps.
    pub maps: bool,
}

/// The reply to a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeartbeatReply {
    /// Workers whose lease has ended, by number.
    pub dead: Vec<WorkerId>,
    /// `true` if a name has parked requests.
    pub parked: bool,
    /// `true` if a live worker maps that name.
    pub mapped: bool,
    /// How many requests this worker has leased.
    pub held: usize,
    /// `true` if it was in the registry.
    pub known: bool,
    /// `true` if the queue is paused.
    pub paused: bool,
    /// `true` if the schedule holds anything.
    pub due: bool,
    /// Its leases that were cancelled.
    pub cancelled: Vec<Id>,
}

impl Store {
    /// `heartbeat.lua`.
    pub fn heartbeat(&mut self, beat: Beat) -> HeartbeatReply {
        let known = self.holder(beat.worker).registered != Registered::No;
        let lost = self.holders.iter().all(|holder| holder.registered == Registered::No);
        if lost {
            self.repair();
        }
        self.holder_mut(beat.worker).registered = Registered::Alive;
        self.mapped |= beat.maps;
        self.check_lanes(beat.worker);
        let of = |(worker, holder): (usize, &Holder)| {
            let ended = holder.registered == Registered::Ended;
            ended.then(|| WorkerId::try_from(worker).unwrap_or(WorkerId::MAX))
        };
        let dead = self.holders.iter().enumerate().filter_map(of).collect();
        self.repair();
        let Holder { leases, young, .. } = self.holder(beat.worker);
        let all = leases.iter().chain(young.iter().flatten());
        let cancelled = all.filter(|id| self.tombstones.contains(id)).copied();
        HeartbeatReply {
            dead,
            parked: self.names_parked,
            mapped: self.mapped,
            held: leases.len(),
            known,
            paused: self.paused,
            due: !self.later.is_empty() || !self.due.is_empty(),
            cancelled: cancelled.collect(),
        }
    }

    /// Renews the worker's entry in the registry of lanes, and marks as expired each worker that
    /// has a request in a lane inbox but no registration. An entry whose last pop has ended goes.
    fn check_lanes(&mut self, own: WorkerId) {
        let ignored = self.is(Fault::LateIgnored) || self.is(Fault::LanesNotReleased);
        for (holder, at) in self.holders.iter_mut().zip(0..) {
            let holds = holder.young.iter().any(|inbox| !inbox.is_empty());
            if at == own {
                if holds || holder.lane != LaneEntry::No {
                    holder.lane = LaneEntry::Open;
                }
            } else if holder.lane != LaneEntry::No && holder.registered == Registered::No {
                if holds && !ignored {
                    holder.registered = Registered::Ended;
                } else if !holds && holder.lane == LaneEntry::Past {
                    holder.lane = LaneEntry::No;
                }
            }
        }
    }

    /// Marks as expired each worker that has leases but no registration.
    fn repair(&mut self) {
        for holder in &mut self.holders {
            if holder.registered == Registered::No && !holder.leases.is_empty() {
                holder.registered = Registered::Ended;
            }
        }
    }

    /// `release.lua`: how many requests went back; `None` if the worker lives, or is not known.
    pub fn release(&mut self, worker: WorkerId, by_itself: bool) -> Option<usize> {
        self.release_by(worker, by_itself, !self.is(Fault::LanesNotReleased))
    }

    /// `release.lua` of a worker of before lanes.
    pub fn release_without_lanes(&mut self, worker: WorkerId) -> Option<usize> {
        self.release_by(worker, false, false)
    }

    fn release_by(&mut self, worker: WorkerId, by_itself: bool, lanes: bool) -> Option<usize> {
        let ended = self.holder(worker).registered == Registered::Ended;
        if !by_itself && !ended {
            return None;
        }
        let Holder { leases, inbox, young, .. } = self.holder(worker).clone();
        let young = if lanes { young } else { Default::default() };
        let back = leases.len() + inbox.len() + young.iter().flatten().count();
        for id in leases {
            if !self.is(Fault::TakeOverDrops) {
                self.queue.insert(0, id);
                self.ran();
            }
            if !by_itself {
                self.count_crash(id);
            }
        }
        if !self.is(Fault::InboxNotReleased) {
            self.inbox_to_queue(worker);
        }
        // Each may have been started.
        for (inbox, ids) in young.iter().enumerate() {
            for id in ids.iter().rev() {
                self.queue.insert(0, *id);
                self.holder_mut(worker).young[inbox].pop();
                if !by_itself {
                    self.count_crash(*id);
                }
                self.ran();
            }
        }
        // Its leases and its polls; then its place in the registries.
        let holder = self.holder_mut(worker);
        (holder.leases, holder.poll) = (Vec::new(), None);
        if lanes {
            holder.lane_polls = [None, None];
            if by_itself {
                holder.lane = LaneEntry::No;
            }
        }
        self.ran();
        self.holder_mut(worker).registered = Registered::No;
        Some(back)
    }

    fn count_crash(&mut self, id: Id) {
        if !self.is(Fault::CrashNotCounted) {
            self.remember(id, |record| {
                record.attempt += 1;
                record.crashes += 1;
            });
            self.ran();
        }
    }

    /// A worker's lease ends.
    pub fn end_lease(&mut self, worker: WorkerId) {
        self.holder_mut(worker).registered = Registered::Ended;
    }

    /// A request of the schedule becomes due.
    pub fn make_due(&mut self, id: Id) {
        self.later.retain(|one| *one != id);
        if !self.due.contains(&id) {
            self.due.push(id);
        }
    }

    /// `promote.lua`: how many were moved.
    pub fn promote(&mut self) -> usize {
        if self.is(Fault::NothingPromoted) {
            return 0;
        }
        let due = self.due.clone();
        for id in due.iter().copied() {
            let tried = self.record(id).is_some();
            let store = |store: &mut Self| {
                let at = if tried { 0 } else { store.queue.len() };
                store.queue.insert(at, id);
            };
            self.moves(|store| store.due.retain(|one| *one != id), store);
        }
        due.len()
    }
}
