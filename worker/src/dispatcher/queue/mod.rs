//! The dispatcher's state of one queue.
//!
//! | file | holds |
//! |---|---|
//! | `part.rs` | the queue's part of a poll: outcomes to settle, requests to lease |
//! | `replies.rs` | the replies of polls, pops and heartbeats |
//! | `notices.rs`, `reads.rs` | control messages, and the state that they name |
//! | `fetch.rs` | the progress of its fetch loop |
//! | `trouble.rs` | polls that Redis executed in part only |

mod fetch;
pub(super) mod notices;
pub(super) mod part;
mod reads;
mod replies;
mod trouble;

use std::sync::Arc;
use std::time::Duration;

use redcall_store::{Connection, Heartbeat, LimitRule, Outcome, StoreError, WorkerKeys};
use tokio::time::Instant;

use self::fetch::Fetch;
use self::notices::Reads;
use super::setup::Setup;
use crate::background::pops::Pops;
use crate::lane::{Lane, Priority};
use crate::mapping::Mapping;
use crate::run::settlement::PendingSettlement;

/// How often a paused queue is polled, in case its resume message was lost, and how long a queue
/// rests whose poll Redis has refused.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// A settling poll whose reply was lost: sent again unchanged.
struct Resend {
    serial: u64,
    settlements: Vec<PendingSettlement>,
}

/// The most requests that a poll leases beyond the capacity.
const SURPLUS_MAX: usize = 64;

/// One queue, as last seen. Read and written by the dispatcher alone.
pub(crate) struct Queue {
    /// Its position among the worker's queues.
    index: usize,
    keys: Arc<WorkerKeys>,
    pops: Pops,
    lane: Lane,
    /// `true` if the lane pops at present.
    lane_pops: bool,
    priority: Arc<Priority>,
    /// How many requests a poll leases beyond the capacity: more after each that brought refused
    /// requests only, which use none.
    surplus: usize,
    /// Rules of a service's queue, which partition its requests.
    service: Option<Arc<[LimitRule]>>,
    /// Its length at the last poll; `None` before the first and after a failure.
    length: Option<usize>,
    /// `true` if it has more than plain requests, by the last poll or pop.
    more: bool,
    /// `true` while a blocked pop is in flight.
    popping: bool,
    /// The progress of its fetch loop.
    fetch: Fetch,
    /// `true` if a reply was lost: Redis may have leases of this worker that it does not know.
    needs_resync: bool,
    /// `true` if a reply may contain leases from before a stall of this worker.
    stalled: bool,
    /// Number of heartbeats in a row whose lease count did not match.
    mismatch_count: u32,
    /// The outcomes that the next poll settles.
    to_settle: Vec<PendingSettlement>,
    /// The outcomes that are settled before those.
    resend: Option<Resend>,
    /// Outcomes that Redis could not store, and the time to settle them again: their leases are
    /// kept.
    failed: Vec<PendingSettlement>,
    settle_again: Option<Instant>,
    /// Number of the last poll.
    serial: u64,
    /// Names whose parked requests the next poll leases first.
    parked: Vec<String>,
    /// Names with limits that have partitioned requests, by the last heartbeat.
    limited: Vec<String>,
    /// `true` if partitioned requests of names with limits may be leased now.
    ready: bool,
    /// `true` if `ready` was set after the last poll was sent: its reply cannot reset it.
    needs_poll: bool,
    /// Since when nothing is leased: the queue is paused, or this worker's lease on it has ended.
    /// Polled again from time to time.
    paused: Option<Instant>,
    /// End of the pause after Redis refused a poll.
    refused: Option<Instant>,
    /// Time of the next due request.
    due: Option<Instant>,
    /// The state that control messages have named.
    reads: Reads,
}

impl Queue {
    pub(crate) fn new(
        index: usize,
        keys: Arc<WorkerKeys>,
        pops: Pops,
        lane: Lane,
        priority: Arc<Priority>,
    ) -> Self {
        Self {
            index,
            keys,
            pops,
            lane,
            lane_pops: false,
            priority,
            surplus: 0,
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

    /// Returns the rules that partition its requests; `others` apply to queues that are not a
    /// service's.
    pub(crate) fn rules<'a>(&'a self, others: &'a Arc<[LimitRule]>) -> &'a Arc<[LimitRule]> {
        self.service.as_ref().unwrap_or(others)
    }

    /// Returns the names with limits that have partitioned requests; none for a service's queue.
    pub(crate) fn limited(&self) -> &[String] {
        if self.service.is_none() { &self.limited } else { &[] }
    }

    /// Adopts another mapping.
    pub(crate) fn adopt_mapping(&mut self, mapping: &Mapping) {
        let service = self.keys.queue.service();
        self.service = service.map(|service| [mapping.service_rule(service)].into());
    }

    /// Returns this worker's keys on it.
    pub(crate) fn keys(&self) -> &Arc<WorkerKeys> {
        &self.keys
    }

    pub(crate) fn name(&self) -> &str {
        self.keys.queue.name()
    }

    /// Marks the leases as unknown: the last reply was lost or is stale.
    pub(crate) fn mark_unsynced(&mut self) {
        self.length = None;
        self.needs_resync = true;
    }

    /// Marks the leases as uncertain, and unread replies as stale: this worker stalled.
    pub(crate) fn note_stall(&mut self) {
        self.stalled = true;
        self.mark_unsynced();
    }

    /// Returns `true` if a reply may contain leases from before a stall of this worker.
    pub(crate) fn is_stalled(&self) -> bool {
        self.stalled
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

    /// Records how many requests of a poll were refused, of all that it leased. A flood of them
    /// must not cost a poll for each.
    pub(crate) fn note_refusals(&mut self, refused: usize, leased: usize) {
        let all = refused > 0 && refused == leased;
        self.surplus = if all { (2 * self.surplus).clamp(1, SURPLUS_MAX) } else { 0 };
    }

    /// Marks its length as unknown: requests were added.
    pub(crate) fn forget_length(&mut self) {
        self.length = None;
    }

    /// Returns `true` if the next poll reads back this worker's leases. Not while a pop is in
    /// flight: a request that it has leased would be found before its reply comes, and started
    /// twice.
    fn must_resync(&self) -> bool {
        self.needs_resync && !self.popping
    }

    /// Returns `true` if a poll may find requests to lease.
    pub(crate) fn may_have_work(&self) -> bool {
        let is_open = self.paused.is_none() && self.refused.is_none();
        // While its lane works, the lane takes the requests of the list.
        let waits = self.length != Some(0) && !self.lane_pops;
        is_open && (waits || self.ready || !self.parked.is_empty())
    }

    /// Returns `true` while its lane takes requests that wait.
    pub(crate) fn lane_has_backlog(&self) -> bool {
        self.lane_pops && self.priority.waits(self.index)
    }

    /// Has the next poll lease partitioned requests, regardless of replies in flight.
    pub(crate) fn wake(&mut self) {
        self.ready = true;
        self.needs_poll = true;
    }

    /// Returns `true` while a blocked pop is in flight.
    pub(crate) fn is_popping(&self) -> bool {
        self.popping
    }

    /// Sends a blocked pop, if none is in flight and a poll would find nothing; `others` as in
    /// [`Queue::rules`].
    pub(crate) fn pop(&mut self, others: &Arc<[LimitRule]>, mapping: &Arc<Mapping>) {
        // A pop must not empty a queue whose polls Redis stops: it is polled after a pause.
        let may_pop = self.paused.is_none() && self.refused.is_none();
        let idle = !self.needs_resync && may_pop && !self.may_have_work();
        if !self.popping && idle && !self.arm_lane(false, others, mapping) {
            self.popping = true;
            let block = self.fetch.pops();
            self.pops.arm(self.rules(others), block, self.more);
        }
    }

    /// Has its lane take the requests that wait, if all of them may be plain, and no queue before
    /// it has any.
    pub(crate) fn take_by_lane(&mut self, others: &Arc<[LimitRule]>, mapping: &Arc<Mapping>) {
        let is_open = !self.popping && self.paused.is_none() && self.refused.is_none();
        let waits = self.length.is_some_and(|length| length > 0);
        let is_list_only = !self.ready && self.parked.is_empty() && !self.needs_resync;
        if is_open && waits && is_list_only && self.priority.is_first(self.index) {
            self.arm_lane(true, others, mapping);
        }
    }

    /// Arms its lane, if its requests may run there and it is ready; `waits`: some are known.
    fn arm_lane(&mut self, waits: bool, others: &Arc<[LimitRule]>, mapping: &Arc<Mapping>) -> bool {
        let arms = self.is_plain(others, mapping) && self.lane.is_ready();
        if arms {
            (self.popping, self.lane_pops) = (true, true);
            let block = self.fetch.pops();
            self.lane.arm(block, waits, mapping);
        }
        arms
    }

    /// Returns `true` if its requests may run in a lane: no rule partitions or verifies them.
    fn is_plain(&self, others: &[LimitRule], mapping: &Mapping) -> bool {
        let is_sorted = self.service.is_some() || !others.is_empty();
        !is_sorted && !self.more && mapping.keyring().is_none()
    }

    /// Returns its lane.
    pub(crate) fn lane(&mut self) -> &mut Lane {
        &mut self.lane
    }

    /// Has the lane know how long the worker's lease lasts.
    pub(crate) fn lane_renewed(&self, heartbeat: &Heartbeat) {
        self.lane.renewed(heartbeat.ends_ms);
    }

    /// Records that the lane is at rest, and its inbox empty.
    pub(crate) fn lane_rests(&mut self) {
        if std::mem::take(&mut self.lane_pops) {
            self.popping = false;
        }
    }

    /// Returns `true` if the lane's task has to be checked; `is_busy`: a job runs in this worker,
    /// which may block a thread.
    pub(crate) fn watches_lane(&self, is_busy: bool) -> bool {
        self.lane_pops && (is_busy || self.lane.is_watched())
    }

    /// Checks the lane's task.
    pub(crate) fn check_lane(&mut self, is_busy: bool, setup: &Setup) {
        if self.watches_lane(is_busy) {
            self.lane.check(is_busy, &setup.shared.link);
        }
    }

    /// Unblocks the pop in flight, if there is one.
    pub(crate) fn unblock(&self, link: &Arc<Connection>) {
        match self.popping {
            true if self.lane_pops => self.lane.recall(link),
            true => self.pops.unblock(link),
            false => {}
        }
    }

    /// Ends its pops; none of their commands is executed later.
    pub(crate) async fn close(&mut self, link: &Connection) -> Result<(), StoreError> {
        self.pops.close(link).await
    }

    /// Has the next poll settle an outcome.
    pub(crate) fn settle(&mut self, settlement: PendingSettlement) {
        self.to_settle.push(settlement);
    }

    /// Returns `true` if there are outcomes to settle.
    pub(crate) fn has_outcomes(&self) -> bool {
        !self.to_settle.is_empty() || self.resend.is_some()
    }

    /// Returns `true` if the next poll settles outcomes here. Not while Redis refuses polls.
    pub(crate) fn waits_for_poll(&self) -> bool {
        self.refused.is_none() && self.has_outcomes()
    }

    /// Returns `true` if a stopping worker has nothing more to do here.
    pub(crate) fn is_drained(&self) -> bool {
        !self.popping && !self.has_outcomes() && self.failed.is_empty()
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

    /// Records that a request becomes due at `at`, unless another is due earlier.
    fn note_due(&mut self, at: Instant) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// Records whether the queue is paused.
    fn note_paused(&mut self, paused: bool) {
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

    /// Ends the pause after a refused poll: the worker stops, and settles what it can.
    pub(crate) fn end_refusal(&mut self) {
        self.refused = None;
    }

    /// Returns why it delivers no requests, if so. `has_room`: the worker has free capacity.
    pub(crate) fn problem(&self, has_room: bool, lease: Duration) -> Option<String> {
        // Only a blocked pop could deliver requests now: there are none to poll, and no pause.
        let by_pops = has_room && self.paused.is_none() && self.length.unwrap_or(0) == 0;
        self.fetch.problem(by_pops, lease)
    }

    /// Returns the time since its last reply.
    pub(crate) fn seen_ago(&self) -> Duration {
        self.fetch.seen_ago()
    }

    /// Returns the time at which this queue must be checked.
    pub(crate) fn next_check(&self) -> Option<Instant> {
        let again = self.paused.map(|since| since + RETRY_PAUSE);
        let reads = self.reads.next();
        [again, self.due, self.refused, self.settle_again, reads].into_iter().flatten().min()
    }

    /// Ends pauses that are over; returns `true` if requests are due.
    fn end_pauses(&mut self) -> bool {
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
    use redcall_store::{Connector, PollReply, Settlement};

    use super::*;

    fn queue() -> Queue {
        let keys = Arc::new(WorkerKeys::probe(&Keys::new("redcall").of("default"), "w"));
        // It connects at the first pop, and there is none.
        let connector = Connector::new(&RedisSettings::default(), "test").unwrap();
        let (popped, _) = tokio::sync::mpsc::unbounded_channel();
        {
            let lane = Lane::unused(&keys);
            Queue::new(
                0,
                keys.clone(),
                Pops::spawn(0, connector, keys, popped),
                lane,
                Arc::new(Priority::new(1)),
            )
        }
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
        queue.end_pauses();
        assert_eq!(queue.to_settle.len(), 2);
        assert_eq!((!queue.failed.is_empty(), queue.next_check()), (false, None));
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
