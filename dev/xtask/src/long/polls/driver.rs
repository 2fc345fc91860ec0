//! A worker that only polls: each poll settles the requests of the one before, and leases others.

use std::sync::Arc;
use std::time::Duration;

use miette::{IntoDiagnostic as _, miette};
use redcall_common::keys::{Keys, QueueKeys};
use redcall_common::request::ReplyTo;
use redcall_common::settings::{Limit, RedisSettings};
use redcall_store::{
    Connection, Connector, LaneKeys, LaneOps as _, LanePoll, LimitRule, Outcome, PollOps as _,
    PollReply, QueuePoll, Session as _, Settled, Settlement, WorkerKeys,
};

use crate::long::stage::server::PATIENCE;

use super::cases::{Case, Feature, OutcomeKind};
use super::redis::CountedRedis;

const WORKER: &str = "0199a2b47c1e70008000";
const NAME: &str = "add";
/// Further requests in the queue: with over 4,096, a poll estimates the size of the list.
const BACKLOG: u32 = 5000;
/// As of Redis's clock: never.
const FAR: &str = "9999999999999";

/// The worker, and its queue.
pub(super) struct Driver<'a> {
    pub(super) redis: &'a mut CountedRedis,
    case: &'a Case,
    /// The number of requests per poll.
    size: u32,
    connection: Connection,
    keys: WorkerKeys,
    rules: Vec<LimitRule>,
    parked: Vec<String>,
    ended: Vec<Outcome>,
    serial: u64,
    more: bool,
    pushed: u32,
    /// The number of requests that a lane has taken.
    taken: u32,
}

impl<'a> Driver<'a> {
    pub(super) async fn start(
        redis: &'a mut CountedRedis,
        case: &'a Case,
        size: u32,
    ) -> miette::Result<Self> {
        redis.wire.command(&["FLUSHALL"])?;
        let settings = RedisSettings {
            url: redis.url(),
            connect_timeout: PATIENCE,
            response_timeout: PATIENCE,
            ..RedisSettings::default()
        };
        let connector = Connector::new(&settings, "polls").into_diagnostic()?;
        let connection = Connection::connect(connector, Arc::new(|_, _| {})).await;
        let queue = Keys::new("redcall").of("default");
        let day = Duration::from_secs(86_400);
        let mut rules = Vec::new();
        if let Feature::Limited(values) = case.feature {
            let key = (values > 1).then(|| "customer".to_owned());
            let limit = Limit { key, concurrency: Some(1000), rate: None };
            rules.push(LimitRule { name: NAME.to_owned(), limit, room: None });
        }
        let is_parked = case.feature == Feature::Parked;
        Ok(Self {
            redis,
            case,
            size,
            connection: connection.into_diagnostic()?,
            keys: WorkerKeys::new(queue, WORKER, 10_000, day),
            rules,
            parked: is_parked.then(|| NAME.to_owned()).into_iter().collect(),
            ended: Vec::new(),
            serial: 0,
            more: false,
            pushed: 0,
            taken: 0,
        })
    }

    /// Fills the queue for this number of polls.
    pub(super) fn prepare(&mut self, polls: u32) -> miette::Result<()> {
        let queue = self.keys.queue.clone();
        let wire = &mut self.redis.wire;
        wire.command(&["ZADD", &queue.workers(), FAR, WORKER])?;
        match self.case.feature {
            // Its requests are pushed before each poll: a poll partitions all that the queue has.
            Feature::Limited(_) => return Ok(()),
            Feature::None | Feature::RunBefore | Feature::Lane => {}
            Feature::Cancelled => {
                wire.command(&["ZADD", &queue.cancelled(), FAR, "another"])?;
            }
            Feature::Parked => {
                wire.command(&["SADD", &queue.parked_names(), NAME])?;
            }
        }
        self.push(polls * self.size + BACKLOG)
    }

    /// Pushes requests.
    fn push(&mut self, count: u32) -> miette::Result<()> {
        let queue = &self.keys.queue;
        let list = match self.case.feature {
            Feature::Parked => queue.parked(NAME),
            _ => queue.queue(),
        };
        let (attempts, requests) = (queue.attempts(), self.pushed..self.pushed + count);
        let wire = &mut self.redis.wire;
        if self.case.feature == Feature::RunBefore {
            let record = r#"{"attempt":1,"fails":1,"crashes":0,"runs":[]}"#;
            for number in requests.clone() {
                wire.command(&["HSET", &attempts, &id(number), record])?;
            }
        }
        let elements: Vec<Vec<u8>> = requests.map(|number| element(queue, number)).collect();
        self.pushed += count;
        elements.chunks(500).try_for_each(|some| wire.push(&list, some))
    }

    /// Polls this number of times.
    pub(super) async fn poll(&mut self, polls: u32) -> miette::Result<()> {
        for _ in 0..polls {
            if matches!(self.case.feature, Feature::Limited(_)) {
                self.push(self.size)?;
            }
            self.serial += 1;
            if self.case.feature == Feature::Lane {
                self.poll_lane().await?;
                continue;
            }
            let poll = QueuePoll {
                parked: &self.parked,
                rules: &self.rules,
                outcomes: &self.ended,
                serial: self.serial,
                more: self.more,
                ..QueuePoll::take(&self.keys, self.size as usize)
            };
            let replies = self.connection.poll(&[poll], PATIENCE).await.into_diagnostic()?;
            let reply = replies.into_iter().next().ok_or_else(|| miette!("no reply"))?;
            self.read(reply.into_diagnostic()?)?;
        }
        Ok(())
    }

    /// Settles a lane inbox, and takes others; one alone is popped by a command of its own, as an
    /// idle worker's is, which is not counted.
    async fn poll_lane(&mut self) -> miette::Result<()> {
        let (size, keys) = (self.size as usize, LaneKeys::new(self.keys.clone(), 0));
        let take = if size == 1 { 0 } else { size };
        let poll = LanePoll { keys: &keys, outcomes: &self.ended, serial: self.serial, take };
        let reply = self.connection.lane_poll(&poll, PATIENCE).await.into_diagnostic()?;
        let settled = reply.settled.iter().filter(|one| **one == Settled::Yes).count();
        if settled < self.ended.len() || reply.taken.len() < take {
            return Err(miette!("{}: {reply:?}", self.case.name));
        }
        if take == 0 {
            let queue = self.keys.queue.queue();
            self.redis.wire.command(&["LMOVE", &queue, &keys.inbox, "LEFT", "RIGHT"])?;
        }
        let first = self.taken;
        self.taken += self.size;
        self.ended = (first..self.taken).map(|number| self.outcome(id(number))).collect();
        Ok(())
    }

    fn read(&mut self, reply: PollReply) -> miette::Result<()> {
        let settled = reply.settled.iter().filter(|one| **one == Settled::Yes);
        let (settled, leased) = (settled.count(), reply.leased.len());
        if settled < self.ended.len() || leased < self.size as usize {
            return Err(miette!("{}: {settled} settled, {leased} leased", self.case.name));
        }
        self.more = reply.more;
        self.ended = reply.leased.into_iter().map(|one| self.outcome(one.id)).collect();
        Ok(())
    }

    fn outcome(&self, id: String) -> Outcome {
        let settlement = match self.case.outcome {
            OutcomeKind::Done => Settlement::Done,
            OutcomeKind::Answered => {
                let response_key = self.keys.queue.response(&id);
                let head = format!(r#"{{"id":"{id}","response_key":"{response_key}""#);
                let frame = head + r#","type":"result","attempt":1,"data":{"answer":3}}"#;
                let notify = Some(self.keys.queue.notify("0199a2b47c1e70008000000000000000"));
                Settlement::Answer {
                    reply: ReplyTo { response_key, ttl_ms: 60_000, notify },
                    frame,
                }
            }
            OutcomeKind::Retried => {
                Settlement::Retry { delay: Duration::from_secs(3600), notice: None }
            }
        };
        let mut outcome = Outcome::new(id, settlement);
        if self.case.outcome == OutcomeKind::Retried {
            outcome.run = format!(r#"{{"attempt":1,"worker":"{WORKER}","code":"handler_failed"}}"#);
        }
        outcome
    }
}

fn id(number: u32) -> String {
    format!("0199a2b47c1e7000800000000{number:07}")
}

/// Returns the request of that number, whose limit counts by one of 64 customers.
fn element(queue: &QueueKeys, number: u32) -> Vec<u8> {
    let (id, customer) = (id(number), number % 64);
    let response_key = queue.response(&id);
    let head = format!(r#"{{"id":"{id}","name":"{NAME}","data":{{"customer":"c{customer}""#);
    let tail =
        format!(r#","a":1}},"response_key":"{response_key}","response_ttl_ms":60000,"v":1}}"#);
    let request = head + &tail;
    request.into_bytes()
}
