//! A worker's poll: settlements and leases.

use std::time::Duration;

use redcall_common::frame::FrameType;
use redcall_common::frame_head::FrameHead;
use redcall_common::request::ReplyTo;
use redcall_common::settings::Limit;
use redcall_store::benching::{self, Reply};
use redcall_store::{EndedCall, LimitRule, Outcome, PollReply, QueuePoll, Settlement, WorkerKeys};
use serde_json::value::RawValue;

use crate::calls::{Calls, With};
use crate::{BATCH, ids, queue};

/// Answers that have not been written yet.
pub struct Answers {
    ids: Vec<String>,
    response_keys: Vec<String>,
    data: Box<RawValue>,
}

impl Answers {
    /// `{"answer":3}` to each call.
    #[must_use]
    pub fn new() -> Self {
        let (ids, queue) = (ids(), queue());
        let response_keys = ids.iter().map(|id| queue.response(id)).collect();
        let data = RawValue::from_string(r#"{"answer":3}"#.to_owned()).unwrap();
        Self { ids, response_keys, data }
    }

    /// Measured: writes the final frames.
    #[must_use]
    pub fn encode(&self) -> Vec<String> {
        let answers = self.ids.iter().zip(&self.response_keys);
        let frames = answers.map(|(id, response_key)| {
            let head = FrameHead { id, response_key, attempt: 1, signer: None };
            head.data(FrameType::Result, 1, Some(&self.data))
        });
        frames.collect()
    }
}

/// How the calls that a poll settles have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutcomeKind {
    /// Fire and forget.
    Done,
    /// Answered.
    Answered,
    /// Answered, and their end is kept under their idempotency key.
    Kept,
    /// Answered; and the poll leases a name with a concurrency limit.
    Limited,
    /// Failed, and to be tried again.
    Retried,
}

impl OutcomeKind {
    /// All of them, by name.
    pub const ALL: [(&str, Self); 5] = [
        ("done", Self::Done),
        ("answered", Self::Answered),
        ("kept", Self::Kept),
        ("limited", Self::Limited),
        ("retried", Self::Retried),
    ];
}

/// A poll that settles.
pub struct WorkerPoll {
    keys: WorkerKeys,
    rules: Vec<LimitRule>,
    outcomes: Vec<Outcome>,
}

impl WorkerPoll {
    /// A poll that settles calls that have ended so.
    #[must_use]
    pub fn new(kind: OutcomeKind) -> Self {
        let dead_age = Duration::from_secs(30 * 86_400);
        let keys = WorkerKeys::new(queue(), "0199a2b47c1e70008000", 10_000, dead_age);
        let frames = ids().into_iter().zip(Answers::new().encode());
        let outcomes = frames.map(|(id, frame)| outcome(kind, id, frame)).collect();
        let limit = Limit { key: None, concurrency: Some(10), rate: None };
        let rule = LimitRule { name: "add".to_owned(), limit, room: None };
        let is_limited = kind == OutcomeKind::Limited;
        Self { keys, rules: is_limited.then_some(rule).into_iter().collect(), outcomes }
    }

    /// Measured: the command, as bytes.
    #[must_use]
    pub fn command(&self) -> Vec<u8> {
        let poll =
            QueuePoll { rules: &self.rules, serial: 7, ..QueuePoll::take(&self.keys, BATCH) };
        benching::poll_command(&QueuePoll { outcomes: &self.outcomes, ..poll })
    }
}

fn outcome(kind: OutcomeKind, id: String, frame: String) -> Outcome {
    let queue = queue();
    let reply = ReplyTo {
        response_key: queue.response(&id),
        ttl_ms: 60_000,
        notify: Some(queue.notify("0199a2b47c1e70008000000000000000")),
    };
    let call = EndedCall {
        digest: format!("{id:0>64}"),
        keep: Some(Duration::from_secs(86_400)),
        frame: frame.clone(),
    };
    match kind {
        OutcomeKind::Done => Outcome::new(id, Settlement::Done),
        OutcomeKind::Answered | OutcomeKind::Limited => {
            Outcome::new(id, Settlement::Answer { reply, frame })
        }
        OutcomeKind::Kept => {
            Outcome { call: Some(call), ..Outcome::new(id, Settlement::Answer { reply, frame }) }
        }
        OutcomeKind::Retried => {
            let run = r#"{"attempt":1,"worker":"0199a2b47c1e70008000","code":"handler_failed"}"#;
            let delay = Duration::from_millis(500);
            let settlement = Settlement::Retry { delay, notice: Some((reply, frame)) };
            Outcome { run: run.to_owned(), ..Outcome::new(id, settlement) }
        }
    }
}

/// The answer of Redis to a poll that settled and leased.
pub struct Leases {
    wire: Vec<u8>,
}

impl Leases {
    /// Every outcome took effect, and as many calls were leased, each with this record. Without a
    /// record, `poll_fast.lua` answers.
    #[must_use]
    pub fn new(record: &str) -> Self {
        let text = |text: &str| format!("${}\r\n{text}\r\n", text.len());
        let elements = ids().into_iter().zip(Calls::new(With::Answer).encode());
        let settled = text(&"1".repeat(BATCH));
        let notes = "$-1\r\n:20000\r\n";
        let wire = if record.is_empty() {
            let taken: String = elements.map(|(id, raw)| text(&id) + &text(&raw)).collect();
            format!("*5\r\n{settled}:1000\r\n*{}\r\n{taken}{notes}", 2 * BATCH)
        } else {
            let taken = elements.map(|(id, raw)| text(&id) + &text(&raw) + &text(record));
            let taken: String = taken.collect();
            let head = format!("*10\r\n{settled}:1000\r\n:0\r\n*{}\r\n", 3 * BATCH);
            format!("{head}{taken}:0\r\n:0\r\n:0\r\n:1\r\n{notes}")
        };
        Self { wire: wire.into_bytes() }
    }

    /// As the driver returns it. Measured if it is part of a measured function.
    #[must_use]
    pub fn parse(&self) -> Reply {
        Reply::parse(&self.wire).unwrap()
    }
}

/// The record of a request that failed once.
pub const FAILED_ONCE: &str = r#"{"attempt":1,"fails":1,"crashes":0,"runs":[]}"#;

/// Measured: reads the results of the outcomes, and the leased requests.
#[must_use]
pub fn read(reply: Reply) -> PollReply {
    let read = benching::poll_reply(reply, BATCH).unwrap();
    assert_eq!(read.leased.len(), BATCH);
    read
}
