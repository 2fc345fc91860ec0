//! Input of the dispatcher: heartbeats, control channels, timers.

use std::time::Duration;

use redcall_common::event::COMMAND_RESULT;
use redcall_store::{Heartbeat, QueueState, Session as _};
use tokio::time::Instant;

use super::dispatcher::Dispatcher;
use super::heartbeat;
use super::io_event::IoEvent;
use super::jobs::EndReason;
use crate::redis_timeout::REDIS_PAUSE;

impl Dispatcher {
    pub(super) fn io_event(&mut self, event: IoEvent) {
        match event {
            IoEvent::RoundEnded => {
                self.heartbeat_task = None;
                if self.heartbeat_pending {
                    self.start_heartbeats();
                }
            }
            IoEvent::TakenOver { queue, count } => {
                self.metrics.took_over(count);
                self.queues[queue].length = None;
            }
            IoEvent::Rights(missing) => self.channels.rights.answered(missing),
            IoEvent::ProbePut(put) => self.probe.put(put),
            IoEvent::Heartbeat { queue, heartbeat } => self.heartbeat(queue, heartbeat),
            IoEvent::StateRead { queue, state } => self.state_read(queue, state),
            IoEvent::Promoted { queue, promoted } => {
                let due = match promoted {
                    Some(promoted) => promoted.due_ms.map(|due| self.instant_of(due)),
                    None => Some(Instant::now() + REDIS_PAUSE),
                };
                let queue = &mut self.queues[queue];
                if let Some(due) = due {
                    queue.note_due(due);
                }
                if promoted.is_some_and(|promoted| promoted.moved > 0) {
                    queue.length = None;
                }
            }
        }
    }

    fn heartbeat(&mut self, queue: usize, heartbeat: Heartbeat) {
        let mapped = |name: &str| self.mapping.get(name).is_some();
        // Requests of names that no worker maps are leased as well, and answered as unknown.
        let ours = |names: Vec<(String, bool)>| {
            let ours = names.into_iter().filter(|(name, live)| !live || mapped(name));
            ours.map(|(name, _)| name).collect()
        };
        let (parked, limited) = (ours(heartbeat.parked), ours(heartbeat.limited));
        let due = heartbeat.due_ms.map(|due| self.instant_of(due));
        self.probe.heartbeat_stored();
        let own = &mut self.queues[queue];
        own.fetch.lease_renewed();
        own.parked = parked;
        own.limited = limited;
        own.note_paused(heartbeat.paused);
        if !own.limited.is_empty() {
            // A worker that left some requests to others may have sent a message that was lost.
            own.wake();
        }
        if let Some(due) = due {
            own.note_due(due);
        }
        if !heartbeat.known {
            // Another worker has taken over the leases.
            own.mark_unsynced();
        }
        self.compare(queue, heartbeat.held);
        let own = &self.queues[queue];
        if own.needs_resync && own.popping {
            // Leases are read back only after the pop has returned.
            own.pops.unblock(&self.shared.link);
        }
        for id in &heartbeat.cancelled {
            self.jobs.end_by_id(queue, id, &EndReason::Cancelled);
        }
        if heartbeat.over {
            let topic = self.keys.events(COMMAND_RESULT);
            let (link, shared) = (self.channels.heartbeat_conn.clone(), self.shared.clone());
            let keys = self.queues[queue].keys.clone();
            tokio::spawn(heartbeat::expire(link, keys, topic, shared));
        }
        if self.connected_since.elapsed() < self.lease {
            return;
        }
        for dead in heartbeat.dead {
            let (link, events) = self.channels.for_task();
            let keys = self.queues[queue].keys.clone();
            tokio::spawn(heartbeat::take_over(link, keys, queue, dead, events));
        }
    }

    /// Detects lost replies: if the number of leases differs from the known one twice in a row,
    /// they are read back. Once may be a reply in flight.
    fn compare(&mut self, queue: usize, held: usize) {
        let (known, open) = self.jobs.count(queue);
        let queue = &mut self.queues[queue];
        let expected = open..=known + queue.outcomes().count();
        queue.mismatch_count = if expected.contains(&held) { 0 } else { queue.mismatch_count + 1 };
        if queue.mismatch_count > 1 {
            queue.mark_unsynced();
        }
    }

    /// Takes the names of control messages. Drops requests that do not run here.
    pub(super) fn received(&mut self) {
        for (queue, mut named) in self.channels.notices.take() {
            named.cancelled.retain(|id| self.jobs.runs(queue, id));
            named.extended.retain(|id| self.jobs.runs(queue, id));
            let due = named.due_ms.map(|at_ms| self.instant_of(at_ms));
            self.queues[queue].reads.add(named, due);
            self.read_named(queue);
        }
    }

    /// Reads the state that control messages named, unless that is due later.
    fn read_named(&mut self, queue: usize) {
        let own = &mut self.queues[queue];
        let Some(read) = own.reads.begin(Instant::now()) else { return };
        if read.work {
            own.wake();
        }
        for id in &read.extended {
            self.jobs.read_deadline(queue, id);
        }
        if read.due {
            self.promote(queue);
        }
        if let Some(ids) = read.state {
            let (link, events) = self.channels.for_task();
            let keys = self.queues[queue].keys.clone();
            tokio::spawn(heartbeat::read_state(link, keys, queue, ids, events));
        }
    }

    /// Acts on the state that was read.
    fn state_read(&mut self, queue: usize, state: Option<QueueState>) {
        let own = &mut self.queues[queue];
        own.reads.returned();
        if let Some(QueueState { paused, cancelled }) = state {
            own.note_paused(paused);
            for id in &cancelled {
                self.jobs.end_by_id(queue, id, &EndReason::Cancelled);
            }
        }
        self.read_named(queue);
    }

    /// Moves due requests to their queue.
    fn promote(&mut self, queue: usize) {
        let is_limited = self.mapping.is_limited();
        let own = &mut self.queues[queue];
        // A rate may allow more; requests were sorted since the last heartbeat, too.
        if is_limited || !own.limited.is_empty() {
            own.wake();
        }
        let (link, events) = self.channels.for_task();
        tokio::spawn(heartbeat::promote(link, own.keys.clone(), queue, events));
    }

    /// Detects a stall after which the lease may have ended, and marks the leases for reading back.
    /// Leases are renewed every third of their time.
    pub(super) fn note_stall(&mut self) {
        if self.last_iteration.elapsed() > self.lease / 2 {
            for queue in &mut self.queues {
                queue.stalled = true;
                queue.mark_unsynced();
            }
        }
        self.last_iteration = Instant::now();
    }

    /// Checks the queues that are due.
    pub(super) fn check_queues(&mut self) {
        for queue in 0..self.queues.len() {
            if self.queues[queue].check() {
                self.promote(queue);
            }
            self.read_named(queue);
        }
    }

    /// Converts a Redis time to an instant.
    pub(super) fn instant_of(&self, at_ms: u64) -> Instant {
        let left = self.channels.heartbeat_conn.left_until(at_ms);
        // A later time needs no timer of this process.
        Instant::now() + left.min(Duration::from_secs(86_400))
    }
}
