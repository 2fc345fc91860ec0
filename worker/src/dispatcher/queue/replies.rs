//! The replies of polls, pops and heartbeats: the queue's state at Redis.

use redcall_store::{Heartbeat, Leased, PollReply, StoreError};

use super::Queue;
use super::trouble::note_trouble;
use crate::dispatcher::io_event::IoEvent;
use crate::dispatcher::jobs::Jobs;
use crate::dispatcher::setup::Setup;
use crate::metrics::Metrics;

impl Queue {
    /// Records the state of the queue from the reply of a poll or a pop. `leases`: the poll did
    /// more than settle.
    fn note(&mut self, reply: &PollReply, leases: bool, setup: &Setup) {
        if let Some(length) = reply.length {
            self.length = Some(length);
            self.priority.note(self.index, length > 0);
        }
        note_trouble(self, reply, &setup.metrics);
        self.more = reply.more;
        // Whether partitioned requests may be leased.
        self.ready = reply.ready || self.needs_poll;
        if let Some(due) = reply.due_ms {
            self.note_due(setup.instant_of(due));
        }
        let is_news = self.note_stopped(reply, leases);
        if is_news {
            // A heartbeat makes a new lease.
            let _ = setup.events.send(IoEvent::LeaseExpired);
        }
    }

    /// Records the reply of a poll; `leases` as in [`Queue::note_stopped`].
    pub(crate) fn polled(&mut self, reply: &PollReply, leases: bool, setup: &Setup) {
        self.fetch.returned();
        self.note(reply, leases, setup);
    }

    /// Remembers names whose parked requests a poll leased: there may be more.
    pub(crate) fn note_parked(&mut self, names: Vec<String>) {
        self.parked = names;
    }

    /// Records the result of a pop, `None` while its connection is made again. Returns the requests
    /// that it leased.
    pub(crate) fn popped(
        &mut self,
        reply: Option<Result<PollReply, StoreError>>,
        setup: &Setup,
    ) -> Vec<Leased> {
        let Some(reply) = reply else {
            self.fetch.failed();
            return Vec::new();
        };
        self.popping = false;
        self.fetch.popped(reply.is_ok());
        match reply {
            Ok(reply) => {
                self.note(&reply, true, setup);
                reply.leased
            }
            Err(error) => {
                tracing::debug!(%error, queue = self.name(), "failed to pop");
                self.mark_unsynced();
                // The pop reported its failure after reconnecting.
                setup.metrics.reconnected();
                Vec::new()
            }
        }
    }

    /// Records the end of a lane's work.
    pub(crate) fn lane_replied(&mut self, failed: bool, reply: &PollReply, setup: &Setup) {
        self.fetch.popped(!failed);
        match failed {
            true => self.mark_unsynced(),
            false => self.note(reply, true, setup),
        }
    }

    /// Counts elements that a script refused.
    pub(crate) fn note_refused_elements(&mut self, refused: &[String], metrics: &Metrics) {
        let reply = PollReply { refused: refused.to_vec(), ..PollReply::default() };
        note_trouble(self, &reply, metrics);
    }

    /// Records the reply of a heartbeat.
    pub(crate) fn renewed(&mut self, heartbeat: &mut Heartbeat, jobs: &Jobs, setup: &Setup) {
        let mapped = |name: &str| setup.mapping.get(name).is_some();
        // Requests of names that no worker maps are leased as well, and answered as unknown.
        let ours = |names: &mut Vec<(String, bool)>| {
            let ours = names.drain(..).filter(|(name, live)| !live || mapped(name));
            ours.map(|(name, _)| name).collect()
        };
        self.fetch.lease_renewed();
        self.lane_renewed(heartbeat);
        // It measures its own every few seconds only, and Redis's clock may be set.
        setup.shared.link.follow_clock(&setup.heartbeat_conn);
        self.parked = ours(&mut heartbeat.parked);
        self.limited = ours(&mut heartbeat.limited);
        self.note_paused(heartbeat.paused);
        if !self.limited.is_empty() {
            // A worker that left some requests to others may have sent a message that was lost.
            self.wake();
        }
        if let Some(due) = heartbeat.due_ms {
            self.note_due(setup.instant_of(due));
        }
        if !heartbeat.known {
            // Another worker has taken over the leases.
            self.mark_unsynced();
        }
        self.compare(heartbeat.held, jobs);
        if self.needs_resync {
            // Leases are read back only after the pop has returned.
            self.unblock(&setup.shared.link);
        }
    }

    /// Detects lost replies: if the number of leases differs from the known one twice in a row,
    /// they are read back. Once may be a reply in flight.
    fn compare(&mut self, held: usize, jobs: &Jobs) {
        let (known, open) = jobs.count(self.index);
        let expected = open..=known + self.outcomes().count();
        self.mismatch_count = if expected.contains(&held) { 0 } else { self.mismatch_count + 1 };
        if self.mismatch_count > 1 {
            self.mark_unsynced();
        }
    }

    /// Records the pause that a poll or a pop reported; `leases` is `true` unless it only settled.
    /// Returns `true` if the worker's own lease has ended, at the first reply that reports it.
    pub(crate) fn note_stopped(&mut self, reply: &PollReply, leases: bool) -> bool {
        // The worker stalled or lost its connection: others may have taken over its leases. Once:
        // reading back reports the same.
        let is_news = reply.expired && self.paused.is_none();
        self.needs_resync |= is_news;
        let stopped = reply.paused || reply.expired;
        // A poll that only settles does not see whether the worker's lease has ended.
        if stopped || leases {
            self.note_paused(stopped);
        }
        is_news
    }
}
