//! The same moves on a real Redis, by the calls that workers and clients use.

use std::sync::Arc;
use std::time::Duration;

use redcall_common::error::Code;
use redcall_common::keys::{Keys, QueueKeys};
use redcall_common::request::ReplyTo;
use redcall_model::store::{
    Adopt, Adopted, Beat, Cancelled, EnqueueExt, EnqueueExtResult, Frame, Gate, HeartbeatReply, Id,
    Inbox, LanePoll, LaneReply, LeaseInfo, Leased, Op, PollStep, Pushed, Record, Reply, RunOutcome,
    SettleResult, State, UNREADABLE, WorkerId,
};
use redcall_store::dead::DeadSelection;
use redcall_store::inspect::Inspector;
use redcall_store::{
    self as real, Connection, Connector, LaneKeys, LaneOps as _, Outcome, PauseOps as _,
    PollOps as _, PollReply, QueuePoll, RunOps as _, SendOps as _, Session as _, Settlement,
    StoreError, UpkeepOps as _, WorkerKeys,
};
use redcall_testkit::TestRedis;
use redcall_testkit::redis::aio::MultiplexedConnection;
use redcall_testkit::redis::{AsyncCommands, cmd};

use super::WORKERS;

pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);
/// Longer than a test.
const LONG: Duration = Duration::from_secs(3600);
/// The name that not every worker maps.
pub(crate) const NAME: &str = "special";
/// Ticks are long past.
pub(crate) const START: u64 = 1_700_000_000_000;

/// A private server, and the calls.
pub(crate) struct Real {
    pub(crate) conn: MultiplexedConnection,
    pub(crate) keys: QueueKeys,
    pub(crate) link: Connection,
    pub(crate) inspector: Inspector,
    workers: Vec<WorkerKeys>,
    /// How many requests have become due: their order.
    due: u64,
    _redis: TestRedis,
}

/// The id of a request, as callers write it.
pub(crate) fn id_of(id: Id) -> String {
    format!("r{id}")
}

/// The other way.
pub(crate) fn number_of(id: &str) -> Id {
    id.strip_prefix('r').map_or(UNREADABLE, |number| number.parse().unwrap())
}

pub(crate) fn worker_of(worker: WorkerId) -> String {
    format!("w{worker}")
}

pub(crate) fn worker_number(worker: &str) -> WorkerId {
    worker.strip_prefix('w').unwrap().parse().unwrap()
}

pub(crate) fn envelope(id: Id) -> String {
    match id {
        UNREADABLE => "unreadable".to_owned(),
        id => format!(r#"{{"id":"{}","name":"add","data":null}}"#, id_of(id)),
    }
}

/// The request that an element is.
pub(crate) fn element(raw: &[u8]) -> Id {
    let text = std::str::from_utf8(raw).unwrap();
    text.split('"').nth(3).map_or(UNREADABLE, number_of)
}

impl Real {
    pub(crate) async fn new() -> Self {
        let redis = TestRedis::start().await;
        let connector = Connector::new(&redis.settings(), "walk").unwrap();
        let link = Connection::connect(connector.clone(), Arc::new(|_: &[u8], _: &[u8]| {})).await;
        let (link, conn) = (link.unwrap(), redis.connection().await);
        let inspector = Inspector::new(&connector, Keys::new("redcall"));
        let keys = Keys::new("redcall").of("q");
        let worker = |worker| WorkerKeys::new(keys.clone(), &worker_of(worker), 10_000, LONG);
        let workers = (0..WORKERS).map(worker).collect();
        Self { conn, keys, link, inspector, workers, due: 0, _redis: redis }
    }

    pub(crate) async fn clear(&mut self) {
        self.due = 0;
        let () = cmd("FLUSHALL").query_async(&mut self.conn).await.unwrap();
    }

    /// Half an hour from now, in Redis ms: later times have not been reached.
    pub(crate) fn now(&self) -> f64 {
        (self.link.now_ms() + 1_800_000) as f64
    }

    fn reply(&self, id: Id) -> ReplyTo {
        let response_key = self.keys.response(&id_of(id));
        ReplyTo { response_key, ttl_ms: 3_600_000, notify: None }
    }

    pub(crate) async fn enqueue(&mut self, cap: usize, items: &[(Id, bool)]) -> (bool, usize) {
        let items = items.iter();
        let item =
            |(id, waited): &(Id, bool)| real::Item { waited: *waited, envelope: envelope(*id) };
        let items: Vec<_> = items.map(item).collect();
        let done = self.link.enqueue(&self.keys, cap as u64, &items, &[], TIMEOUT).await.unwrap();
        (done.waited == real::Waited::Taken, done.accepted)
    }

    pub(crate) async fn enqueue_ext(
        &mut self,
        cap: usize,
        request: &EnqueueExt,
    ) -> EnqueueExtResult {
        let EnqueueExt { id, waited, later, pending } = *request;
        let extended = real::EnqueueExt {
            tracking: None,
            waited,
            id: id_of(id),
            envelope: envelope(id),
            due_ms: if later { self.link.now_ms() + 3_600_000 } else { 0 },
            reply: pending.map(|_| self.reply(id)),
            pending: pending.map(|frame| frame.to_string()),
            idempotency: None,
        };
        let results =
            self.link.enqueue_ext(&self.keys, cap as u64, &[extended], TIMEOUT).await.unwrap();
        match results.into_iter().next().unwrap().unwrap() {
            real::EnqueueExtResult::Queued => EnqueueExtResult::Queued,
            real::EnqueueExtResult::NoWorkers => EnqueueExtResult::NoWorkers,
            real::EnqueueExtResult::Full => EnqueueExtResult::Full,
            other => panic!("{other:?} without an idempotency key"),
        }
    }

    pub(crate) async fn push(&mut self, id: Id) -> String {
        let () = self.conn.rpush(self.keys.queue(), envelope(id)).await.unwrap();
        String::new()
    }

    /// The first half of a blocked pop while the queue has a request.
    pub(crate) async fn pop(&mut self, worker: WorkerId) -> bool {
        let mut call = cmd("LMOVE");
        call.arg(self.keys.queue()).arg(self.keys.inbox(&worker_of(worker)));
        let moved: Option<Vec<u8>> =
            call.arg("LEFT").arg("RIGHT").query_async(&mut self.conn).await.unwrap();
        moved.is_some()
    }

    /// A poll as the worker sends it.
    pub(crate) async fn send_poll(&self, poll: &PollStep) -> Result<PollReply, StoreError> {
        let outcomes = poll.outcomes.iter();
        let outcomes: Vec<Outcome> = outcomes.map(|outcome| self.outcome(*outcome)).collect();
        let parked = if poll.parked { vec![NAME.to_owned()] } else { Vec::new() };
        let keys = &self.workers[usize::from(poll.worker)];
        let poll = QueuePoll {
            parked: &parked,
            outcomes: &outcomes,
            serial: poll.serial.into(),
            again: poll.again,
            more: poll.serial % 2 == 1,
            ..QueuePoll::take(keys, poll.take)
        };
        self.link.poll(&[poll], TIMEOUT).await?.remove(0)
    }

    pub(crate) async fn poll(&mut self, poll: &PollStep) -> Reply {
        let reply = self.send_poll(poll).await.unwrap();
        let state = match (reply.paused, reply.expired) {
            (true, _) => State::Paused,
            (false, true) => State::Expired,
            (false, false) => State::Open,
        };
        Reply {
            results: results(&reply.settled),
            leased: reply.leased.iter().map(leased).collect(),
            length: reply.length.unwrap_or_default(),
            parked: reply.parked > 0,
            state,
        }
    }

    pub(crate) async fn open_lane(&mut self, worker: WorkerId) -> String {
        let keys = &self.workers[usize::from(worker)];
        self.link.open_lane(keys, LONG, TIMEOUT).await.unwrap();
        String::new()
    }

    /// The last pop of a lane has ended: unless it sends heartbeats, its entry goes.
    pub(crate) async fn end_lane(&mut self, worker: WorkerId) -> String {
        let () = self.conn.zadd(self.keys.lanes(), worker_of(worker), 1000).await.unwrap();
        String::new()
    }

    /// The first half of a lane's blocked pop while the queue has a request.
    pub(crate) async fn lane_pop(&mut self, worker: WorkerId, inbox: Inbox) -> Option<Id> {
        let mut call = cmd("LMOVE");
        call.arg(self.keys.queue()).arg(self.keys.lane_inbox(&worker_of(worker), inbox));
        let moved: Option<Vec<u8>> =
            call.arg("LEFT").arg("RIGHT").query_async(&mut self.conn).await.unwrap();
        moved.map(|raw| element(&raw))
    }

    fn lane_keys(&self, worker: WorkerId, inbox: Inbox) -> LaneKeys {
        LaneKeys::new(self.workers[usize::from(worker)].clone(), inbox)
    }

    /// A lane's poll as the worker sends it.
    pub(crate) async fn send_lane(&self, poll: &LanePoll) -> Result<real::LaneReply, StoreError> {
        let outcomes = poll.outcomes.iter();
        let outcomes: Vec<Outcome> = outcomes.map(|outcome| self.outcome(*outcome)).collect();
        let keys = self.lane_keys(poll.worker, poll.inbox);
        let (serial, take) = (poll.serial.into(), poll.take);
        let poll = real::LanePoll { keys: &keys, outcomes: &outcomes, serial, take };
        self.link.lane_poll(&poll, TIMEOUT).await
    }

    pub(crate) async fn lane_poll(&mut self, poll: &LanePoll) -> LaneReply {
        let reply = self.send_lane(poll).await.unwrap();
        let gate = reply.gate.map(|gate| match gate {
            real::Gate::Open => Gate::Open,
            real::Gate::Closed => Gate::Closed,
            real::Gate::Expired => Gate::Expired,
        });
        let taken = reply.taken.iter().map(|raw| element(raw)).collect();
        LaneReply { results: results(&reply.settled), taken, gate }
    }

    /// An adoption as the worker sends it.
    pub(crate) async fn send_adoption(&self, adopt: &Adopt) -> Result<real::Adopted, StoreError> {
        let outcomes = adopt.outcomes.iter();
        let outcomes: Vec<Outcome> = outcomes.map(|outcome| self.outcome(*outcome)).collect();
        let started: Vec<String> = adopt.started.iter().map(|id| id_of(*id)).collect();
        let adoption = real::Adoption {
            keys: &self.lane_keys(adopt.worker, adopt.inbox),
            outcomes: &outcomes,
            started: &started,
            serial: adopt.serial.into(),
            again: adopt.again,
            large: false,
        };
        self.link.adopt(&adoption, TIMEOUT).await
    }

    pub(crate) async fn adopt(&mut self, adopt: &Adopt) -> Adopted {
        let reply = self.send_adoption(adopt).await.unwrap();
        let leased = reply.leased.iter().map(leased).collect();
        Adopted { results: results(&reply.settled), leased, back: reply.back }
    }

    fn outcome(&self, outcome: RunOutcome) -> Outcome {
        let RunOutcome { id, op } = outcome;
        let answer = |frame: Option<Frame>| frame.map(|frame| (self.reply(id), frame.to_string()));
        let settlement = match op {
            Op::Answer(frame) => {
                Settlement::Answer { reply: self.reply(id), frame: frame.to_string() }
            }
            Op::Done => Settlement::Done,
            Op::DeadLetter(frame) => {
                let (code, reason) = (Code::HandlerFailed, String::new());
                Settlement::DeadLetter { code, reason, answer: answer(frame) }
            }
            Op::Back => Settlement::Back,
            Op::Rerun(attempt) => Settlement::Rerun { attempt: attempt.into() },
            Op::Retry(_, notice) => Settlement::Retry { delay: LONG, notice: answer(notice) },
            Op::Unknown(frame) => {
                Settlement::Unknown { name: NAME.to_owned(), answer: answer(frame) }
            }
        };
        let run = match op {
            Op::Retry(attempt, _) => format!(r#"{{"attempt":{attempt},"code":"timeout"}}"#),
            _ => String::new(),
        };
        Outcome { run, ..Outcome::new(id_of(id), settlement) }
    }

    pub(crate) async fn held(&mut self, worker: WorkerId) -> Vec<Leased> {
        let held = self.link.held(&self.workers[usize::from(worker)], TIMEOUT).await.unwrap();
        held.iter().map(leased).collect()
    }

    pub(crate) async fn frame(
        &mut self,
        worker: WorkerId,
        id: Id,
        frame: Frame,
        window: usize,
    ) -> Pushed {
        let leases = &self.workers[usize::from(worker)].leases;
        let (reply, frame) = (self.reply(id), frame.to_string());
        let id = id_of(id);
        let pushing = self.link.push_frame(leases, &id, &reply, &frame, window, TIMEOUT);
        match pushing.await.unwrap() {
            real::Pushed::Yes => Pushed::Yes,
            real::Pushed::LeaseLost => Pushed::LeaseLost,
            real::Pushed::Full => Pushed::Full,
        }
    }

    pub(crate) async fn heartbeat(&mut self, beat: Beat) -> HeartbeatReply {
        let names = if beat.maps { vec![NAME.to_owned()] } else { Vec::new() };
        let worker = worker_of(beat.worker);
        let beat =
            real::HeartbeatRequest { worker: &worker, lease: LONG, info: "{}", names: &names };
        let registry_reply = self.link.heartbeat(&self.keys, &beat, TIMEOUT).await.unwrap();
        let mut dead: Vec<_> =
            registry_reply.dead.iter().map(|worker| worker_number(worker)).collect();
        dead.sort_unstable();
        let mapped: bool =
            self.conn.zscore::<_, _, Option<f64>>(self.keys.names(), NAME).await.unwrap().is_some();
        if let [(name, live)] = registry_reply.parked.as_slice() {
            assert_eq!((name.as_str(), *live), (NAME, mapped));
        }
        HeartbeatReply {
            dead,
            parked: !registry_reply.parked.is_empty(),
            mapped,
            held: registry_reply.held,
            known: registry_reply.known,
            paused: registry_reply.paused,
            due: registry_reply.due_ms.is_some(),
            cancelled: registry_reply.cancelled.iter().map(|id| number_of(id)).collect(),
        }
    }

    pub(crate) async fn end_lease(&mut self, worker: WorkerId) -> String {
        let () = self.conn.zadd(self.keys.workers(), worker_of(worker), 1000).await.unwrap();
        String::new()
    }

    pub(crate) async fn lose_registry(&mut self, whose: Option<WorkerId>) -> String {
        let key = self.keys.workers();
        let () = match whose {
            None => self.conn.del(key).await.unwrap(),
            Some(worker) => self.conn.zrem(key, worker_of(worker)).await.unwrap(),
        };
        String::new()
    }

    pub(crate) async fn release(&mut self, worker: WorkerId, by_itself: bool) -> Option<usize> {
        let worker = worker_of(worker);
        match self.link.release(&self.keys, &worker, by_itself, TIMEOUT).await.unwrap() {
            real::Released::Back(count) => Some(count),
            real::Released::StillAlive => None,
        }
    }

    pub(crate) async fn make_due(&mut self, id: Id) -> String {
        self.due += 1;
        let () = self.conn.zadd(self.keys.schedule(), id_of(id), self.due).await.unwrap();
        String::new()
    }

    pub(crate) async fn promote(&mut self) -> usize {
        self.link.promote(&self.keys, TIMEOUT).await.unwrap().moved
    }

    pub(crate) async fn cancel(&mut self, id: Id) -> Cancelled {
        let withdrawn = real::CancelRequest { id: id_of(id), ttl_ms: 3_600_000, record: None };
        let (found, _) = self.link.cancel(&self.keys, &[withdrawn], TIMEOUT).await.unwrap();
        match found[0] {
            real::Cancellation::Running => Cancelled::Running,
            real::Cancellation::Delayed => Cancelled::Delayed,
            real::Cancellation::Unseen => Cancelled::Unseen,
            real::Cancellation::Deferred => panic!("nothing is answered later"),
            real::Cancellation::Kept => panic!("kept without an idempotency key"),
        }
    }

    pub(crate) async fn revive(&mut self, cap: usize) -> (Vec<Id>, bool) {
        let letters = self.inspector.dead("q", cap as u64);
        let report = letters.retry(&DeadSelection::default(), false).await.unwrap();
        let done = report.done.iter().map(|letter| number_of(&letter.id));
        (done.collect(), report.full)
    }

    pub(crate) async fn pause(&mut self, paused: bool) -> bool {
        self.link.set_paused(&self.keys, paused, TIMEOUT).await.unwrap()
    }

    pub(crate) async fn tick(&mut self, cap: usize, at: u8, id: Id) -> bool {
        let tick = real::Tick { at_ms: START + u64::from(at), envelope: envelope(id) };
        let ticking =
            self.link.tick(&self.keys, cap as u64, "t", Some(START), &[tick], TIMEOUT).await;
        ticking.unwrap().enqueued == 1
    }

    pub(crate) async fn unique(&mut self, id: Id) -> bool {
        self.link.is_first(&self.keys, "kind", &id_of(id), None, LONG, TIMEOUT).await.unwrap()
    }

    /// The dead letters, by the script that reads them.
    pub(crate) async fn letters(&mut self) -> Vec<(String, String)> {
        let page = self.inspector.dead("q", 0).list(&DeadSelection::default()).await.unwrap();
        page.letters.into_iter().map(|letter| (letter.id, letter.code)).collect()
    }
}

/// The number of a tick.
pub(crate) fn tick_of(at_ms: u64) -> u8 {
    u8::try_from(at_ms - START).unwrap()
}

fn results(settled: &[real::Settled]) -> Vec<SettleResult> {
    let results = settled.iter().map(|settled| match settled {
        real::Settled::Yes => SettleResult::Yes,
        real::Settled::LeaseLost => SettleResult::LeaseLost,
        real::Settled::Failed => SettleResult::Kept,
        real::Settled::Parked => SettleResult::Parked,
    });
    results.collect()
}

fn leased(leased: &real::Leased) -> Leased {
    assert_eq!(element(&leased.raw), number_of(&leased.id));
    let real::Record { attempt, fails, crashes } = leased.mark.record;
    let small = |number: u32| u8::try_from(number).unwrap();
    let record = Record { attempt: small(attempt), fails: small(fails), crashes: small(crashes) };
    Leased {
        id: number_of(&leased.id),
        info: LeaseInfo { cancelled: leased.mark.cancelled, record },
    }
}
