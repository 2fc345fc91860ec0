//! What the dispatcher knows of one queue.

use std::sync::Arc;
use std::time::Duration;

use redcall_store::{Outcome, PollReply, Rule, Settled, WorkerKeys};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::fetch::Fetch;
use super::notices::Looks;
use super::pops::Pops;
use crate::mapping::Mapping;
use crate::metrics::Tally;

/// How often it is looked whether a paused queue goes on, in case nobody said so, and whether one
/// that Redis does not let us serve can be served again.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// An outcome on its way, who wants to hear how it went, and what is counted of it then.
pub(crate) struct Leaving {
    pub(crate) outcome: Outcome,
    pub(crate) heard: Option<oneshot::Sender<Settled>>,
    pub(crate) tally: Tally,
}

impl Leaving {
    /// One that nobody waits for. `job` is its job, if that is mapped.
    pub(crate) fn unheard(outcome: Outcome, job: Option<String>) -> Self {
        Self { outcome, heard: None, tally: Tally { job, ran: None } }
    }
}

/// A settling poll whose reply was lost: sent again as it was.
pub(crate) struct Resend {
    pub(crate) serial: u64,
    pub(crate) leaving: Vec<Leaving>,
}

/// One queue, as the dispatcher last saw it. Read and written by the dispatcher alone.
pub(crate) struct Queue {
    pub(crate) keys: Arc<WorkerKeys>,
    pub(crate) pops: Pops,
    /// Of a service: how its requests are sorted.
    pub(crate) service: Option<Arc<[Rule]>>,
    /// Its length at the last look; `None` before the first and after a failure.
    pub(crate) length: Option<usize>,
    /// Whether it has more than plain requests, as the last poll or pop said.
    pub(crate) more: bool,
    /// Whether a blocked pop is out.
    pub(crate) popping: bool,
    /// Whether its fetch loop goes round.
    pub(crate) fetch: Fetch,
    /// Whether a reply was lost, so that it may hold leases that nobody here knows.
    pub(crate) unsure: bool,
    /// Whether what comes in may have been leased before the worker stood still.
    pub(crate) stood_still: bool,
    /// How many heartbeats in a row found other leases than are known here.
    pub(crate) odd: u32,
    /// What the next poll settles.
    pub(crate) leaving: Vec<Leaving>,
    /// What is settled before that.
    pub(crate) resend: Option<Resend>,
    /// Outcomes that Redis could not store, and when they are settled again: their leases are kept.
    failed: Vec<Leaving>,
    settle_again: Option<Instant>,
    /// Number of the last poll.
    pub(crate) serial: u64,
    /// Names whose parked requests the next poll takes first.
    pub(crate) parked: Vec<String>,
    /// Limited names that have sorted requests, as the last heartbeat said.
    pub(crate) limited: Vec<String>,
    /// Whether sorted requests of limited names could go on.
    pub(crate) ready: bool,
    /// Whether that became so after the last poll was sent: its reply cannot know.
    stirred: bool,
    /// Since when nothing is leased there: it is paused, or this worker has to say first that it
    /// lives. Looked at again now and then.
    pub(crate) paused: Option<Instant>,
    /// Until when no poll goes there, since Redis has refused the last one.
    pub(crate) refused: Option<Instant>,
    /// When something becomes due there.
    pub(crate) due: Option<Instant>,
    /// The state that control messages have named.
    pub(crate) looks: Looks,
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
            unsure: false,
            stood_still: false,
            odd: 0,
            leaving: Vec::new(),
            resend: None,
            failed: Vec::new(),
            settle_again: None,
            serial: 0,
            parked: Vec::new(),
            limited: Vec::new(),
            ready: false,
            stirred: false,
            paused: None,
            refused: None,
            due: None,
            looks: Looks::new(),
        }
    }

    /// How its requests are sorted; `others`: in queues that are no service's.
    pub(crate) fn rules<'a>(&'a self, others: &'a Arc<[Rule]>) -> &'a Arc<[Rule]> {
        self.service.as_ref().unwrap_or(others)
    }

    /// Another mapping counts from now on.
    pub(crate) fn is_mapped_by(&mut self, mapping: &Mapping) {
        let service = self.keys.queue.service();
        self.service = service.map(|service| [mapping.service_rule(service)].into());
    }

    pub(crate) fn name(&self) -> &str {
        self.keys.queue.name()
    }

    /// Its last reply was lost or is out of date.
    pub(crate) fn doubt(&mut self) {
        self.length = None;
        self.unsure = true;
    }

    /// What it holds was read back.
    pub(crate) fn was_read_back(&mut self) {
        self.unsure = false;
        self.stood_still = false;
    }

    /// Another connection: what was held against the last one is forgotten.
    pub(crate) fn connected_anew(&mut self) {
        self.refused = None;
        self.doubt();
    }

    /// Whether the next poll reads back what this worker holds. Not while a pop is out: what it
    /// has leased would be found there before its reply comes, and started twice.
    pub(crate) fn to_read_back(&self) -> bool {
        self.unsure && !self.popping
    }

    /// Whether a poll may find something to take.
    pub(crate) fn may_have_work(&self) -> bool {
        let is_open = self.paused.is_none() && self.refused.is_none();
        is_open && (self.length != Some(0) || self.ready || !self.parked.is_empty())
    }

    /// Sorted requests of limited names may go on, whatever a reply says that is on its way.
    pub(crate) fn stir(&mut self) {
        self.ready = true;
        self.stirred = true;
    }

    /// A poll that takes goes out: it sees all that has happened before.
    pub(crate) fn poll_goes_out(&mut self) {
        self.stirred = false;
    }

    /// What a reply said of sorted requests.
    pub(crate) fn note_ready(&mut self, ready: bool) {
        self.ready = ready || self.stirred;
    }

    /// Whether something is to be settled.
    pub(crate) fn has_outcomes(&self) -> bool {
        !self.leaving.is_empty() || self.resend.is_some()
    }

    /// Whether the next poll settles something here. Not while Redis has refused the last one.
    pub(crate) fn waits_for_poll(&self) -> bool {
        self.refused.is_none() && self.has_outcomes()
    }

    /// How many outcomes are on their way that no poll carries yet, or again.
    pub(crate) fn outcomes(&self) -> impl Iterator<Item = &Outcome> {
        let again = self.resend.iter().flat_map(|resend| &resend.leaving);
        again.chain(&self.leaving).chain(&self.failed).map(|leaving| &leaving.outcome)
    }

    /// Keeps outcomes that Redis could not store, to settle them again in a while; the queue goes
    /// on meanwhile.
    pub(crate) fn keep_failed(&mut self, failed: Vec<Leaving>) {
        if !failed.is_empty() {
            self.failed.extend(failed);
            self.settle_again.get_or_insert(Instant::now() + LOOK_AGAIN);
        }
    }

    /// Whether outcomes wait that Redis could not store.
    pub(crate) fn has_failed(&self) -> bool {
        !self.failed.is_empty()
    }

    /// Something becomes due at `at`, unless something does before.
    pub(crate) fn note_due(&mut self, at: Instant) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// What a poll or a pop said of a pause; `leases`: whether it looked at more than its outcomes.
    /// Returns `true` if the worker's own lease has ended, at the first reply that says so.
    pub(crate) fn note_stopped(&mut self, reply: &PollReply, leases: bool) -> bool {
        // It stood still, or was cut off: others may have taken over what it held. Once: whoever
        // reads back hears the same.
        let is_news = reply.expired && self.paused.is_none();
        self.unsure |= is_news;
        let stopped = reply.paused || reply.expired;
        // A poll that only settles does not see whether the worker's lease has ended.
        if stopped || leases {
            self.note_paused(stopped);
        }
        is_news
    }

    /// What Redis said about a pause.
    pub(crate) fn note_paused(&mut self, paused: bool) {
        if paused {
            self.paused = Some(Instant::now());
        } else if self.paused.take().is_some() {
            self.length = None;
        }
    }

    /// Redis has refused its poll. It is left alone for a while: other queues go on meanwhile.
    pub(crate) fn note_refused(&mut self) {
        self.refused = Some(Instant::now() + LOOK_AGAIN);
    }

    /// When this queue wants to be looked at.
    pub(crate) fn next_look(&self) -> Option<Instant> {
        let again = self.paused.map(|since| since + LOOK_AGAIN);
        let looks = self.looks.next();
        [again, self.due, self.refused, self.settle_again, looks].into_iter().flatten().min()
    }

    /// Whether something is due. Has a paused queue looked at when it is time.
    pub(crate) fn look(&mut self) -> bool {
        let now = Instant::now();
        if self.paused.is_some_and(|since| since + LOOK_AGAIN <= now) {
            self.note_paused(false);
        }
        self.refused.take_if(|until| *until <= now);
        if self.settle_again.take_if(|until| *until <= now).is_some() {
            self.leaving.append(&mut self.failed);
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

    fn failed(id: &str) -> Vec<Leaving> {
        vec![Leaving::unheard(Outcome::new(id, Settlement::Done), None)]
    }

    #[tokio::test]
    async fn later_failure_keeps_the_time_of_the_first_retry() {
        let mut queue = queue();
        queue.keep_failed(failed("a"));
        let at = queue.next_look().unwrap();
        assert!(at <= Instant::now() + LOOK_AGAIN);
        queue.keep_failed(failed("b"));
        assert_eq!(queue.next_look(), Some(at));
        queue.settle_again = Some(Instant::now());
        queue.look();
        assert_eq!(queue.leaving.len(), 2);
        assert_eq!((queue.has_failed(), queue.next_look()), (false, None));
    }

    #[tokio::test]
    async fn poll_that_only_settles_ends_no_pause() {
        let mut queue = queue();
        let said = |paused, expired| PollReply { paused, expired, ..PollReply::default() };
        for (paused, expired) in [(true, false), (false, true)] {
            assert_eq!(queue.note_stopped(&said(paused, expired), true), expired);
            assert!(queue.paused.is_some());
            assert!(!queue.note_stopped(&said(false, false), false));
            assert!(queue.paused.is_some(), "paused {paused}, expired {expired}");
            assert!(!queue.note_stopped(&said(false, false), true));
            assert!(queue.paused.is_none());
        }
        // It may begin one.
        queue.note_stopped(&said(true, false), false);
        assert!(queue.paused.is_some());
    }
}
