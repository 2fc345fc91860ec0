//! A broker in memory, outside of the store: it enqueues, leases, settles and announces.
//!
//! Not covered, and refused as unexpected: outcomes other than answers, dead letters and ends
//! without an answer; placements, cancels, deferred requests, states, take-overs, limits, events.
//! Leases never end, and answers have no TTL.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use redcall_common::durability::Durability;
use redcall_common::error::Code;
use redcall_common::event::EventId;
use redcall_common::keys::QueueKeys;
use redcall_common::request::ReplyTo;
use redcall_store::dead::DeadLetter;
use redcall_store::{
    AnswerOps, CancelRequest, Cancellation, Covered, DeferredRun, DeferredSettled, EndedDeferred,
    EnqueueExt, EnqueueExtResult, Enqueued, Heartbeat, HeartbeatRequest, HeldRequests, Item,
    KeptAnswers, LeaseInfo, Leased, LimitFault, LimitRule, PollOps, PollReply, Promoted,
    PushChecks, PushHandler, PushReply, QueuePoll, QueueState, Released, RequestPop, SendOps,
    Session, Settled, Settlement, States, StoreError, Tick, Ticked, TimeAhead, TopicRead,
    TopicWatch, UpkeepOps, Waited, WorkerKeys,
};
use serde_json::Value as Json;
use tokio::sync::Notify;
use tokio::time::timeout;

/// The error of operations that this broker cannot do.
pub(crate) const MISSING: StoreError = StoreError::Unexpected("the broker in memory");

/// The data of all queues, shared by all connections.
#[derive(Clone, Default)]
pub(crate) struct Hub(Arc<Shared>);

#[derive(Default)]
struct Shared {
    data: Mutex<Data>,
    /// Notified when a request is enqueued.
    arrived: Notify,
}

/// All by their keys.
#[derive(Default)]
pub(crate) struct Data {
    pub(crate) queues: HashMap<String, VecDeque<String>>,
    /// Oldest first.
    pub(crate) dead: HashMap<String, Vec<DeadLetter>>,
    /// The number of dead letters so far.
    letters_written: u64,
    leases: HashMap<String, HashMap<String, Vec<u8>>>,
    frames: HashMap<String, Vec<Vec<u8>>>,
    /// Live workers, by the key of their queue's registry.
    workers: HashSet<String>,
    subscribed: Vec<(String, PushHandler)>,
}

impl Hub {
    pub(crate) fn data(&self) -> MutexGuard<'_, Data> {
        self.0.data.lock().unwrap()
    }
}

impl Data {
    /// Leases the next request of a queue.
    fn lease(&mut self, keys: &WorkerKeys) -> Option<Leased> {
        let envelope = self.queues.get_mut(&keys.queue.queue())?.pop_front()?;
        let json: Json = serde_json::from_str(&envelope).unwrap();
        let (id, raw) = (json["id"].as_str().unwrap().to_owned(), envelope.into_bytes());
        self.leases.entry(keys.leases.clone()).or_default().insert(id.clone(), raw.clone());
        Some(Leased { id, raw, mark: LeaseInfo::default() })
    }

    /// Pushes a frame, and announces it.
    fn push(&mut self, reply: &ReplyTo, frame: &str) {
        self.frames.entry(reply.response_key.clone()).or_default().push(frame.into());
        let subscribed = self.subscribed.iter();
        for (channel, handler) in subscribed.filter(|one| Some(&one.0) == reply.notify.as_ref()) {
            handler(channel.as_bytes(), reply.response_key.as_bytes());
        }
    }

    fn dead_letter(
        &mut self,
        keys: &QueueKeys,
        id: &str,
        (code, reason): (Code, &str),
        request: Vec<u8>,
    ) {
        self.letters_written += 1;
        let (entry, code) = (format!("{}-0", self.letters_written), code.as_str().to_owned());
        let (id, reason) = (id.to_owned(), reason.to_owned());
        self.dead.entry(keys.dead()).or_default().push(DeadLetter {
            entry,
            at_ms: self.letters_written,
            id,
            name: None,
            code,
            reason,
            worker: "own".to_owned(),
            history: Vec::new(),
            request,
        });
    }

    fn poll(&mut self, poll: &QueuePoll<'_>) -> PollReply {
        let mut reply = PollReply::default();
        for outcome in poll.outcomes {
            let held = self.leases.get_mut(&poll.keys.leases);
            let is_held = held.as_ref().is_some_and(|held| held.contains_key(&outcome.id));
            reply.settled.push(match (&outcome.settlement, is_held) {
                (_, false) => Settled::LeaseLost,
                (Settlement::Answer { reply, frame }, true) => {
                    held.unwrap().remove(&outcome.id);
                    self.push(reply, frame);
                    Settled::Yes
                }
                (Settlement::Done, true) => {
                    held.unwrap().remove(&outcome.id);
                    Settled::Yes
                }
                (Settlement::DeadLetter { code, reason, answer: None }, true) => {
                    let request = held.unwrap().remove(&outcome.id).unwrap();
                    self.dead_letter(&poll.keys.queue, &outcome.id, (*code, reason), request);
                    Settled::Yes
                }
                (_, true) => Settled::Failed,
            });
        }
        reply.leased.extend((0..poll.take).map_while(|_| self.lease(poll.keys)));
        reply.length = self.queues.get(&poll.keys.queue.queue()).map(VecDeque::len);
        reply
    }
}

/// One connection.
pub(crate) struct MemoryBroker {
    hub: Hub,
    handler: PushHandler,
    began: Instant,
}

impl Session for MemoryBroker {
    type Opener = Hub;
    type Id = ();
    type Unblocker = ();
    type Pop = MemoryPop;
    type Watch = NoWatch;

    async fn connect(hub: Hub, handler: PushHandler) -> Result<Self, StoreError> {
        Ok(Self { hub, handler, began: Instant::now() })
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap()
    }

    fn reconnected(&self) -> impl Future<Output = ()> + Send + 'static {
        std::future::pending()
    }

    fn standing(&self) -> Option<()> {
        Some(())
    }

    fn is_up(&self) -> bool {
        true
    }

    async fn wait_up(&self, _: Duration) -> bool {
        true
    }

    async fn subscribe(&self, channel: &str, _: Duration) -> Result<(), StoreError> {
        self.hub.data().subscribed.push((channel.to_owned(), self.handler.clone()));
        Ok(())
    }

    async fn unsubscribe(&self, channel: &str) {
        let is_other = |(other, handler): &(String, PushHandler)| {
            other != channel || !Arc::ptr_eq(handler, &self.handler)
        };
        self.hub.data().subscribed.retain(is_other);
    }

    async fn cut(&self, (): &(), _: Duration) -> Result<(), StoreError> {
        Err(MISSING)
    }

    async fn unblock(&self, (): &(), _: Duration) -> Result<(), StoreError> {
        self.hub.0.arrived.notify_waiters();
        Ok(())
    }
}

/// Waits for requests.
pub(crate) struct MemoryPop {
    hub: Hub,
    keys: Arc<WorkerKeys>,
}

impl RequestPop for MemoryPop {
    type Opener = Hub;
    type Unblocker = ();

    fn new(hub: Hub, keys: Arc<WorkerKeys>) -> Self {
        Self { hub, keys }
    }

    fn unblocker(&self) {}

    async fn next(
        &mut self,
        block: Duration,
        _: &[LimitRule],
        _: bool,
    ) -> Result<PollReply, StoreError> {
        // Before the check: a request that arrives between both would be missed.
        let arrived = self.hub.0.arrived.notified();
        let found = self.hub.data().lease(&self.keys);
        let leased = match found {
            Some(leased) => Some(leased),
            None => {
                let _ = timeout(block, arrived).await;
                self.hub.data().lease(&self.keys)
            }
        };
        Ok(PollReply { leased: leased.into_iter().collect(), ..PollReply::default() })
    }

    async fn renew(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// There are no events.
pub(crate) struct NoWatch;

impl TopicWatch for NoWatch {
    type Opener = Hub;
    type Unblocker = ();

    fn new(_: Hub) -> Self {
        Self
    }

    fn unblocker(&self) {}

    fn stands(&self) -> bool {
        false
    }

    fn close(&mut self) {}

    async fn read_topic(&mut self, _: &str, _: EventId, _: usize) -> Result<TopicRead, StoreError> {
        Err(MISSING)
    }

    async fn wait(
        &mut self,
        _: &[(String, EventId)],
        _: Duration,
    ) -> Result<Vec<String>, StoreError> {
        Err(MISSING)
    }
}

/// Refuses operations that this broker cannot do.
macro_rules! missing {
    ($(fn $name:ident(&self $(, $type:ty)*) -> $out:ty;)+) => {
        $(async fn $name(&self $(, _: $type)*) -> Result<$out, StoreError> {
            Err(MISSING)
        })+
    };
}
pub(crate) use missing;

impl SendOps for MemoryBroker {
    async fn enqueue(
        &self,
        keys: &QueueKeys,
        _: u64,
        items: &[Item],
        forget: &[String],
        _: Duration,
    ) -> Result<Enqueued, StoreError> {
        let mut data = self.hub.data();
        forget.iter().for_each(|key| drop(data.frames.remove(key)));
        let is_served = data.workers.contains(&keys.workers());
        let taken = items.iter().filter(|item| is_served || !item.waited);
        let taken: Vec<String> = taken.map(|item| item.envelope.clone()).collect();
        let waited = if is_served { Waited::Taken } else { Waited::NoWorkers };
        let enqueued = Enqueued { waited, accepted: taken.len() };
        data.queues.entry(keys.queue()).or_default().extend(taken);
        self.hub.0.arrived.notify_waiters();
        Ok(enqueued)
    }

    async fn push(
        &self,
        keys: &QueueKeys,
        elements: &[&str],
        checks: PushChecks,
        forget: &[String],
        _: Duration,
    ) -> Result<PushReply, StoreError> {
        let mut data = self.hub.data();
        forget.iter().for_each(|key| drop(data.frames.remove(key)));
        let is_served = data.workers.contains(&keys.workers());
        let queue = data.queues.entry(keys.queue()).or_default();
        queue.extend(elements.iter().map(|element| (*element).to_owned()));
        let commands = vec![(elements.len(), Ok(queue.len() as u64))];
        self.hub.0.arrived.notify_waiters();
        let served = checks.workers.then_some(is_served);
        Ok(PushReply { commands, served, outside: false, answers_full: false })
    }

    async fn unpush(
        &self,
        keys: &QueueKeys,
        elements: &[&str],
        _: Duration,
    ) -> Result<Vec<bool>, StoreError> {
        let mut data = self.hub.data();
        let queue = data.queues.entry(keys.queue()).or_default();
        let mut remove = |element: &&str| {
            let enqueue_ext = queue.iter().rposition(|queued| queued == element);
            enqueue_ext.and_then(|enqueue_ext| queue.remove(enqueue_ext)).is_some()
        };
        Ok(elements.iter().map(&mut remove).collect())
    }

    async fn held_by(&self, keys: &QueueKeys, _: Duration) -> Result<HeldRequests, StoreError> {
        let queued = self.hub.data().queues.get(&keys.queue()).map_or(0, VecDeque::len) as u64;
        Ok(HeldRequests { queued, outside: 0 })
    }

    async fn is_served(&self, keys: &QueueKeys, _: Duration) -> Result<bool, StoreError> {
        Ok(self.hub.data().workers.contains(&keys.workers()))
    }

    missing! {
        fn enqueue_ext(&self, &QueueKeys, u64, &[EnqueueExt], Duration)
            -> Vec<Result<EnqueueExtResult, StoreError>>;
        fn cancel(&self, &QueueKeys, &[CancelRequest], Duration)
            -> (Vec<Cancellation>, Vec<EndedDeferred>);
        fn confirm(&self, &QueueKeys, Durability, Duration) -> bool;
        fn supports(&self, Durability, Duration) -> ();
    }
}

impl AnswerOps for MemoryBroker {
    async fn last_frames(
        &self,
        keys: &[String],
        _: Duration,
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let data = self.hub.data();
        Ok(keys.iter().map(|key| data.frames.get(key)?.last().cloned()).collect())
    }

    async fn frame_count(&self, key: &str, _: Duration) -> Result<u64, StoreError> {
        Ok(self.hub.data().frames.get(key).map_or(0, |frames| frames.len() as u64))
    }

    async fn forget(&self, keys: &[String], _: Duration) -> Result<(), StoreError> {
        let mut data = self.hub.data();
        keys.iter().for_each(|key| drop(data.frames.remove(key)));
        Ok(())
    }

    missing! {
        fn channel_of(&self, &QueueKeys, &str, Duration) -> Option<String>;
        fn frames(&self, &str, u64, Duration) -> Vec<Vec<u8>>;
        fn first_frame(&self, &str, Duration) -> Option<Vec<u8>>;
        fn deferred(&self, &QueueKeys, &str, &str, Duration) -> Option<(DeferredRun, Covered)>;
        fn settle_deferred(
            &self,
            &QueueKeys,
            (&str, &str, &str),
            (&str, Option<(&str, &str)>, bool),
            Duration
        ) -> DeferredSettled;
        fn states(&self, &str, Duration) -> States;
        fn first_that_exists(&self, &[String], Duration) -> Option<usize>;
        fn trim(&self, &str, (u32, u64), usize, Duration) -> Option<(u32, u64)>;
    }
}

impl PollOps for MemoryBroker {
    async fn poll(
        &self,
        polls: &[QueuePoll<'_>],
        _: Duration,
    ) -> Result<Vec<Result<PollReply, StoreError>>, StoreError> {
        let mut data = self.hub.data();
        Ok(polls.iter().map(|poll| Ok(data.poll(poll))).collect())
    }

    async fn held(&self, keys: &WorkerKeys, _: Duration) -> Result<Vec<Leased>, StoreError> {
        let data = self.hub.data();
        let held = data.leases.get(&keys.leases).into_iter().flatten();
        let leased = |(id, raw): (&String, &Vec<u8>)| Leased {
            id: id.clone(),
            raw: raw.clone(),
            mark: LeaseInfo::default(),
        };
        Ok(held.map(leased).collect())
    }

    missing! {
        fn put_probe(&self, &WorkerKeys, &str, Duration) -> ();
    }
}

impl UpkeepOps for MemoryBroker {
    async fn heartbeat(
        &self,
        keys: &QueueKeys,
        _: &HeartbeatRequest<'_>,
        _: Duration,
    ) -> Result<Heartbeat, StoreError> {
        let known = !self.hub.data().workers.insert(keys.workers());
        Ok(Heartbeat { known, ..Heartbeat::default() })
    }

    missing! {
        fn release(&self, &QueueKeys, &str, bool, Duration) -> Released;
        fn promote(&self, &QueueKeys, Duration) -> Promoted;
        fn expire(&self, &QueueKeys, Duration) -> (usize, Vec<EndedDeferred>);
        fn queue_state(&self, &QueueKeys, &[String], Duration) -> QueueState;
        fn repair_limits(&self, &QueueKeys, &[LimitRule], Duration) -> Vec<LimitFault>;
        fn tally(&self, &[(QueueKeys, u64)], Duration)
            -> Vec<Result<Option<KeptAnswers>, StoreError>>;
        fn tick(&self, &QueueKeys, u64, &str, Option<u64>, &[Tick], Duration) -> Ticked;
        fn bound_times(&self, &QueueKeys, Duration, Duration) -> Vec<TimeAhead>;
    }
}
