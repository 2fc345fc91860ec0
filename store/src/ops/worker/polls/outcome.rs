//! The outcome of a request's run, as a settling poll sends it to the script.

use std::borrow::Cow;
use std::time::Duration;

use redis::Cmd;

use crate::ops::deferred::DeferredRecord;

use redcall_common::error::Code;
use redcall_common::keys::QueueKeys;
use redcall_common::request::ReplyTo;
use redcall_common::status::StatusEnd;
use redcall_common::time::millis;

/// The outcome of one run of a request.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The request's id, as it was leased.
    pub id: String,
    /// How the request is settled.
    pub settlement: Settlement,
    /// The error with which it ended; `None` if it was answered or continues. Not sent to the
    /// script.
    pub code: Option<Code>,
    /// This run as JSON for the request's history; empty if no history is kept.
    pub run: String,
    /// The call that has ended with it, if it has an idempotency key.
    pub call: Option<EndedCall>,
    /// Further writes of the same step; usually none.
    pub side_effects: Vec<SideEffect>,
    /// For a signed request that was started and will not run again: the Redis time, ms, until
    /// which its id is remembered.
    pub spent: Option<u64>,
}

/// A write of an outcome besides the end of its request; skipped if the lease is lost.
#[derive(Debug, Clone)]
pub enum SideEffect {
    /// The new state of a service instance.
    State(StateChange),
    /// The end of a tracked job; skipped unless the request has ended.
    Status(StatusEnd),
}

/// A change of a service instance's state.
#[derive(Debug, Clone)]
pub struct StateChange {
    /// The instance's key.
    pub instance: String,
    /// The version from which the change was made; 0 for none. If Redis has another version, the
    /// outcome is refused and the request runs again.
    pub version: u64,
    /// The new state, as JSON; `None` to delete the instance.
    pub state: Option<String>,
    /// The TTL without another change.
    pub keep: Duration,
    /// Its signature, see [`redcall_common::auth::Signer::seal_state`].
    pub seal: Option<String>,
}

/// The end of a call under an idempotency key, for the callers that join it or call later.
#[derive(Debug, Clone)]
pub struct EndedCall {
    /// The digest that names the call's record.
    pub digest: String,
    /// The TTL of the end; `None`: the next caller starts the call again.
    pub keep: Option<Duration>,
    /// The encoded final frame, as for the request's own response key.
    pub frame: String,
}

/// How the script settles a request whose lease it finds.
#[derive(Debug, Clone)]
pub enum Settlement {
    /// Push the final frame.
    Answer {
        /// Its response key.
        reply: ReplyTo,
        /// The encoded frame.
        frame: String,
    },
    /// Answer a request that failed verification. It becomes a dead letter if it has no response
    /// key, or if `dead_letter` is set. It becomes only a dead letter if its id belongs to another
    /// request that is scheduled, or whose answer waits for its caller: that request stays
    /// unchanged.
    Refuse {
        /// The error.
        code: Code,
        /// The reason, human-readable.
        reason: String,
        /// The final frame for a waiting caller.
        answer: Option<(ReplyTo, String)>,
        /// `true` to write a dead letter in any case.
        dead_letter: bool,
    },
    /// End without an answer: no caller wants one.
    Done,
    /// Write a dead letter, and push the frame, if there is one.
    DeadLetter {
        /// The error.
        code: Code,
        /// The reason, human-readable.
        reason: String,
        /// The final frame for a waiting caller.
        answer: Option<(ReplyTo, String)>,
    },
    /// Return to the head of the queue, as if never leased.
    Back,
    /// Return to the head of the queue after a start: counts as a run, not as a failure; as a crash
    /// if [`Outcome::run`] is not empty.
    Rerun {
        /// Number of the run that was started.
        attempt: u32,
    },
    /// Schedule another attempt, and push the frame, if there is one.
    Retry {
        /// The delay from now.
        delay: Duration,
        /// A frame for callers that follow the request.
        notice: Option<(ReplyTo, String)>,
    },
    /// Defer: drop the lease until a completion token settles the request, and push the frame, if
    /// there is one.
    Deferred {
        /// The timeout of the deferred answer, from now.
        timeout: Duration,
        /// The record that its settlement needs.
        record: Box<DeferredRecord>,
        /// A frame for a waiting caller.
        notice: Option<(ReplyTo, String)>,
    },
    /// Park the request if a live worker handles `name`; otherwise answer it, or dead-letter it if
    /// no caller waits.
    Unknown {
        /// The job's name.
        name: String,
        /// The final frame for a waiting caller.
        answer: Option<(ReplyTo, String)>,
    },
}

impl Outcome {
    /// Creates an outcome without history, idempotency key and error.
    #[must_use]
    pub fn new(id: impl Into<String>, settlement: Settlement) -> Self {
        Self {
            id: id.into(),
            settlement,
            code: None,
            run: String::new(),
            call: None,
            side_effects: Vec::new(),
            spent: None,
        }
    }

    /// Returns `true` if it is an answer or nothing, without side effects: a lane may settle it.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.spent.is_none() && self.plain_answer().is_some()
    }

    /// Returns the response key and frame of a plain outcome, if it has one; `None` if it is not
    /// plain.
    #[inline]
    pub(crate) fn plain_answer(&self) -> Option<Option<(&ReplyTo, &str)>> {
        match &self.settlement {
            _ if self.call.is_some() || !self.side_effects.is_empty() => None,
            Settlement::Answer { reply, frame } => Some(Some((reply, frame))),
            Settlement::Done => Some(None),
            Settlement::Refuse { .. }
            | Settlement::DeadLetter { .. }
            | Settlement::Back
            | Settlement::Rerun { .. }
            | Settlement::Retry { .. }
            | Settlement::Deferred { .. }
            | Settlement::Unknown { .. } => None,
        }
    }

    /// Returns its approximate size as a command, bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        let of = |answer: &Option<(ReplyTo, String)>| answer.as_ref().map_or(0, |a| a.1.len());
        let call = self.call.as_ref().map_or(0, |call| call.frame.len());
        let settlement = match &self.settlement {
            Settlement::Answer { frame, .. } => frame.len(),
            Settlement::Refuse { reason, answer, .. }
            | Settlement::DeadLetter { reason, answer, .. } => reason.len() + of(answer),
            Settlement::Unknown { name, answer } => name.len() + of(answer),
            Settlement::Retry { notice, .. } => of(notice),
            Settlement::Deferred { record, notice, .. } => record.size() + of(notice),
            Settlement::Done | Settlement::Back | Settlement::Rerun { .. } => 0,
        };
        let side_effects = self.side_effects.iter().map(SideEffect::size).sum::<usize>();
        200 + self.run.len() + settlement.max(call) + side_effects
    }
}

impl SideEffect {
    fn size(&self) -> usize {
        match self {
            Self::Status(end) => 200 + end.error.as_ref().map_or(0, |(_, message)| message.len()),
            Self::State(change) => 100 + change.state.as_ref().map_or(0, String::len),
        }
    }
}

/// An outcome as arguments. Keys are positions among the script's keys, from 1; 0 for none.
pub(crate) struct OutcomeArgs<'a> {
    op: &'static str,
    id: &'a str,
    key: usize,
    frame: &'a str,
    ttl_ms: u64,
    channel: usize,
    note: Cow<'a, str>,
    reason: Cow<'a, str>,
    run: Cow<'a, str>,
    record: usize,
    keep_ms: u64,
    side_effects: Vec<SideEffectArgs<'a>>,
}

/// Kind, key and two texts.
type SideEffectArgs<'a> = (&'static str, usize, Cow<'a, str>, String);

impl<'a> OutcomeArgs<'a> {
    /// Adds the keys of `outcome` to `keys`.
    pub(crate) fn new(
        outcome: &'a Outcome,
        queue: &QueueKeys,
        keys: &mut Vec<Cow<'a, str>>,
    ) -> Self {
        let (op, answer, note, reason) = describe(outcome, queue, keys);
        let mut row = OutcomeArgs {
            op,
            id: &outcome.id,
            key: 0,
            frame: "",
            ttl_ms: 0,
            channel: 0,
            note,
            reason,
            run: match &outcome.settlement {
                Settlement::Deferred { record, .. } => record.fields(queue, &outcome.id).into(),
                _ => outcome.run.as_str().into(),
            },
            record: 0,
            keep_ms: 0,
            side_effects: Vec::new(),
        };
        if let Some((reply, frame)) = answer {
            keys.push(reply.response_key.as_str().into());
            (row.key, row.frame, row.ttl_ms) = (keys.len(), frame, reply.ttl_ms);
            if let Some(channel) = &reply.notify {
                keys.push(channel.as_str().into());
                row.channel = keys.len();
            }
        }
        if let Some(call) = &outcome.call {
            keys.push(queue.idem(&call.digest).into());
            (row.record, row.frame) = (keys.len(), &call.frame);
            row.keep_ms = call.keep.map_or(0, millis);
        }
        let side_effects = outcome.side_effects.iter();
        let args =
            side_effects.map(|effect| describe_side_effect(&outcome.id, effect, queue, keys));
        row.side_effects.extend(args);
        if let Some(until_ms) = outcome.spent {
            keys.push(queue.seen(&outcome.id).into());
            row.side_effects.push(("seen", keys.len(), "".into(), until_ms.to_string()));
        }
        row
    }

    /// Returns the number of arguments of its side effects.
    pub(crate) fn extras(&self) -> usize {
        4 * self.side_effects.len()
    }

    pub(crate) fn add_to(&self, call: &mut Cmd) {
        match self.side_effects.len() {
            0 => call.arg(self.op),
            some => call.arg(format!("{}+{some}", self.op)),
        };
        call.arg(self.id).arg(self.key).arg(self.frame).arg(self.ttl_ms);
        call.arg(self.channel).arg(&*self.note).arg(&*self.reason).arg(&*self.run);
        call.arg(self.record).arg(self.keep_ms);
        for (kind, key, text, more) in &self.side_effects {
            call.arg(*kind).arg(*key).arg(&**text).arg(more);
        }
    }
}

fn describe_side_effect<'a>(
    id: &str,
    effect: &'a SideEffect,
    queue: &QueueKeys,
    keys: &mut Vec<Cow<'a, str>>,
) -> SideEffectArgs<'a> {
    match effect {
        SideEffect::State(change) => {
            keys.push(queue.state(&change.instance).into());
            let state = change.state.as_deref().unwrap_or_default();
            let seal = change.seal.as_deref().unwrap_or_default();
            let more = format!("{} {} {seal}", change.version, millis(change.keep));
            ("state", keys.len(), state.into(), more)
        }
        SideEffect::Status(end) => {
            keys.push(queue.status(id).into());
            ("status", keys.len(), end.text().into(), end.ttl_ms.to_string())
        }
    }
}

type Described<'a> = (&'static str, Option<(&'a ReplyTo, &'a str)>, Cow<'a, str>, Cow<'a, str>);

/// Returns operation, frame, note and reason.
fn describe<'a>(
    outcome: &'a Outcome,
    queue: &QueueKeys,
    keys: &mut Vec<Cow<'a, str>>,
) -> Described<'a> {
    let of = |answer: &'a Option<(ReplyTo, String)>| {
        answer.as_ref().map(|(reply, frame)| (reply, frame.as_str()))
    };
    match &outcome.settlement {
        Settlement::Answer { reply, frame } => {
            ("answer", Some((reply, frame)), "".into(), "".into())
        }
        Settlement::Refuse { code, reason, answer, dead_letter } => {
            let op = if *dead_letter { "reject" } else { "refuse" };
            (op, of(answer), code.as_str().into(), reason.into())
        }
        Settlement::Done => ("done", None, "".into(), "".into()),
        Settlement::DeadLetter { code, reason, answer } => {
            ("dead_letter", of(answer), code.as_str().into(), reason.into())
        }
        Settlement::Back => ("back", None, "".into(), "".into()),
        Settlement::Rerun { attempt } => ("rerun", None, attempt.to_string().into(), "".into()),
        Settlement::Retry { delay, notice } => {
            ("retry", of(notice), millis(*delay).to_string().into(), "".into())
        }
        Settlement::Deferred { timeout, notice, .. } => {
            keys.push(queue.deferred(&outcome.id).into());
            let timeout = millis(*timeout).to_string();
            ("defer", of(notice), timeout.into(), keys.len().to_string().into())
        }
        Settlement::Unknown { name, answer } => {
            keys.push(queue.parked(name).into());
            ("unknown", of(answer), name.into(), keys.len().to_string().into())
        }
    }
}
