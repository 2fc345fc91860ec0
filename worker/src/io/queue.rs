//! The dispatcher's state of one queue.

use std::sync::Arc;
use std::time::Duration;

use redcall_store::{LimitRule, Outcome, PollReply, Settled, WorkerKeys};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::fetch::Fetch;
use super::notices::Reads;
use super::pops::Pops;
use crate::mapping::Mapping;
use crate::metrics::JobMetrics;

/// How often a paused queue is polled, in case its resume message was lost, and how long a queue
/// rests whose poll Redis has refused.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// An outcome to settle, the receiver of the result, and the metrics to count.
pub(crate) struct PendingSettlement {
    pub(crate) outcome: Outcome,
    pub(crate) notify: Option<oneshot::Sender<Settled>>,
    pub(crate) job_metrics: JobMetrics,
}

impl PendingSettlement {
    /// Returns an outcome without a receiver. `job` is its job's name, if that is mapped.
    pub(crate) fn without_receiver(outcome: Outcome, job: Option<String>) -> Self {
        Self { outcome, notify: None, job_metrics: JobMetrics { job, ran: None } }
    }
}

/// A settling poll whose reply was lost: sent again unchanged.
pub(crate) struct Resend {
    pub(crate) serial: u64,
    pub(crate) settlements: Vec<PendingSettlement>,
}

/// One queue, as last seen. Read and written by the dispatcher alone.
pub(crate) struct Queue {
    pub(crate) keys: Arc<WorkerKeys>,
    pub(crate) pops: Pops,
    /// Rules of a service's queue, which sort its requests.
    pub(crate) service: Option<Arc<[LimitRule]>>,
    /// Its length at the last poll; `None` before the first and after a failure.
    pub(crate) length: Option<usize>,
    /// `true` if it has more than plain requests, by the last poll or pop.
    pub(crate) more: bool,
    /// `true` while a blocked pop is in flight.
    pub(crate) popping: bool,
    /// The progress of its fetch loop.
    pub(crate) fetch: Fetch,
    /// `true` if a reply was lost: Redis may have leases of this worker that it does not know.
    pub(crate) needs_resync: bool,
    /// `true` if a reply may contain leases from before a stall of this worker.
    pub(crate) stalled: bool,
    /// Number of heartbeats in a row whose lease count did not match.
    pub(crate) mismatch_count: u32,
    /// The outcomes that the next poll settles.
    pub(crate) to_settle: Vec<PendingSettlement>,
    /// The outcomes that are settled before those.
    pub(crate) resend: Option<Resend>,
    /// Outcomes that Redis could not store, and the time to settle them again: their leases are
    /// kept.
    failed: Vec<PendingSettlement>,
    settle_again: Option<Instant>,
    /// Number of the last poll.
    pub(crate) serial: u64,
    /// Names whose parked requests the next poll leases first.
    pub(crate) parked: Vec<String>,
    /// Names with limits that have sorted requests, by the last heartbeat.
    pub(crate) limited: Vec<String>,
    /// `true` if sorted requests of names with limits may be leased now.
    pub(crate) ready: bool,
    /// `true` if `ready` was set after the last poll was sent: its reply cannot reset it.
    needs_poll: bool,
    /// Since when nothing is leased: the queue is paused, or this worker's lease on it has ended.
    /// Polled again from time to time.
    pub(crate) paused: Option<Instant>,
    /// End of the pause after Redis refused a poll.
    pub(crate) refused: Option<Instant>,
    /// Time of the next due request.
    pub(crate) due: Option<Instant>,
    /// The state that control messages have named.
    pub(crate) reads: Reads,
}

impl Queue {
    pub(crate) fn new(keys: Arc<WorkerKeys>, pops: Pops) -> Self {
        Self {
            keys,
            pops,
            service: None,
            length: None,
            more: false,
            popping: false,
            fetch: Fetch::new(),
            needs_resync: false,
            stalled: false,
            mismatch_count: 0,
            to_settle: Vec::new(),
            resend: None,
            failed: Vec::new(),
            settle_again: None,
            serial: 0,
            parked: Vec::new(),
            limited: Vec::new(),
            ready: false,
            needs_poll: false,
            paused: None,
            refused: None,
            due: None,
            reads: Reads::new(),
        }
    }

    /// Returns the rules that sort its requests; `others` apply to queues that are not a
    /// service's.
    pub(crate) fn rules<'a>(&'a self, others: &'a Arc<[LimitRule]>) -> &'a Arc<[LimitRule]> {
        self.service.as_ref().unwrap_or(others)
    }

    /// Adopts another mapping.
    pub(crate) fn adopt_mapping(&mut self, mapping: &Mapping) {
        let service = self.keys.queue.service();
        self.service = service.map(|service| [mapping.service_rule(service)].into());
    }

    pub(crate) fn name(&self) -> &str {
        self.keys.queue.name()
    }

    /// Marks the leases as unknown: the last reply was lost or is stale.
    pub(crate) fn mark_unsynced(&mut self) {
        self.length = None;
        self.needs_resync = true;
    }

    /// Marks the leases as known: they were read back.
    pub(crate) fn resynchronised(&mut self) {
        self.needs_resync = false;
        self.stalled = false;
    }

    /// Resets the state that depended on the last connection.
    pub(crate) fn after_reconnect(&mut self) {
        self.refused = None;
        self.mark_unsynced();
    }

    /// Returns `true` if the next poll reads back this worker's leases. Not while a pop is in
    /// flight: a request that it has leased would be found before its reply comes, and started
    /// twice.
    pub(crate) fn must_resync(&self) -> bool {
        self.needs_resync && !self.popping
    }

    /// Returns `true` if a poll may find requests to lease.
    pub(crate) fn may_have_work(&self) -> bool {
        let is_open = self.paused.is_none() && self.refused.is_none();
        is_open && (self.length != Some(0) || self.ready || !self.parked.is_empty())
    }

    /// Has the next poll lease sorted requests, regardless of replies in flight.
    pub(crate) fn wake(&mut self) {
        self.ready = true;
        self.needs_poll = true;
    }

    /// Records that a leasing poll is sent: it sees everything up to now.
    pub(crate) fn poll_sent(&mut self) {
        self.needs_poll = false;
    }

    /// Records whether a reply reported sorted requests that may be leased.
    pub(crate) fn note_ready(&mut self, ready: bool) {
        self.ready = ready || self.needs_poll;
    }

    /// Returns `true` if there are outcomes to settle.
    pub(crate) fn has_outcomes(&self) -> bool {
        !self.to_settle.is_empty() || self.resend.is_some()
    }

    /// Returns `true` if the next poll settles outcomes here. Not while Redis refuses polls.
    pub(crate) fn waits_for_poll(&self) -> bool {
        self.refused.is_none() && self.has_outcomes()
    }

    /// Returns the outcomes that no poll in flight carries.
    pub(crate) fn outcomes(&self) -> impl Iterator<Item = &Outcome> {
        let again = self.resend.iter().flat_map(|resend| &resend.settlements);
        again.chain(&self.to_settle).chain(&self.failed).map(|pending| &pending.outcome)
    }

    /// Keeps outcomes that Redis could not store, to settle them again after a pause; polls of the
    /// queue continue meanwhile.
    pub(crate) fn keep_failed(&mut self, failed: Vec<PendingSettlement>) {
        if !failed.is_empty() {
            self.failed.extend(failed);
            self.settle_again.get_or_insert(Instant::now() + RETRY_PAUSE);
        }
    }

    /// Returns `true` if there are outcomes that Redis could not store.
    pub(crate) fn has_failed(&self) -> bool {
        !self.failed.is_empty()
    }

    /// Records that a request becomes due at `at`, unless another is due earlier.
    pub(crate) fn note_due(&mut self, at: Instant) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
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

    /// Records whether the queue is paused.
    pub(crate) fn note_paused(&mut self, paused: bool) {
        if paused {
            self.paused = Some(Instant::now());
        } else if self.paused.take().is_some() {
            self.length = None;
        }
    }

    /// Pauses the queue after Redis refused its poll: other queues continue.
    pub(crate) fn note_refused(&mut self) {
        self.refused = Some(Instant::now() + RETRY_PAUSE);
    }

    /// Returns the time at which this queue must be checked.
    pub(crate) fn next_check(&self) -> Option<Instant> {
        let again = self.paused.map(|since| since + RETRY_PAUSE);
        let reads = self.reads.next();
        [again, self.due, self.refused, self.settle_again, reads].into_iter().flatten().min()
    }

    /// Ends pauses that are over; returns `true` if requests are due.
    pub(crate) fn check(&mut self) -> bool {
        let now = Instant::now();
        if self.paused.is_some_and(|since| since + RETRY_PAUSE <= now) {
            self.note_paused(false);
        }
        self.refused.take_if(|until| *until <= now);
        if self.settle_again.take_if(|until| *until <= now).is_some() {
            self.to_settle.append(&mut self.failed);
        }
        self.due.take_if(|due| *due <= now).is_some()
    }
}

#[cfg(test)]
mod tests {
    use redcall_common::keys::Keys;
    use redcall_common::settings::RedisSettings;
    use redcall_store::{Connector, Settlement};

    use super::*;

    fn queue() -> Queue {
        let keys = Arc::new(WorkerKeys::probe(&Keys::new("redcall").of("default"), "w"));
        // It connects at the first pop, and there is none.
        let connector = Connector::new(&RedisSettings::default(), "test").unwrap();
        let (popped, _) = tokio::sync::mpsc::unbounded_channel();
        Queue::new(keys.clone(), Pops::spawn(0, connector, keys, popped))
    }

    fn failed(id: &str) -> Vec<PendingSettlement> {
        vec![PendingSettlement::without_receiver(Outcome::new(id, Settlement::Done), None)]
    }

    #[tokio::test]
    async fn later_failure_keeps_the_time_of_the_first_retry() {
        let mut queue = queue();
        queue.keep_failed(failed("a"));
        let at = queue.next_check().unwrap();
        assert!(at <= Instant::now() + RETRY_PAUSE);
        queue.keep_failed(failed("b"));
        assert_eq!(queue.next_check(), Some(at));
        queue.settle_again = Some(Instant::now());
        queue.check();
        assert_eq!(queue.to_settle.len(), 2);
        assert_eq!((queue.has_failed(), queue.next_check()), (false, None));
    }

    #[tokio::test]
    async fn poll_that_only_settles_ends_no_pause() {
        let mut queue = queue();
        let reply = |paused, expired| PollReply { paused, expired, ..PollReply::default() };
        for (paused, expired) in [(true, false), (false, true)] {
            assert_eq!(queue.note_stopped(&reply(paused, expired), true), expired);
            assert!(queue.paused.is_some());
            assert!(!queue.note_stopped(&reply(false, false), false));
            assert!(queue.paused.is_some(), "paused {paused}, expired {expired}");
            assert!(!queue.note_stopped(&reply(false, false), true));
            assert!(queue.paused.is_none());
        }
        // It may begin one.
        queue.note_stopped(&reply(true, false), false);
        assert!(queue.paused.is_some());
    }
}
