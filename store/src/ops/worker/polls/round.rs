//! One round trip of polls: each goes to the fast script first, if that can serve it.

use std::time::Duration;

use redis::{Cmd, Value};

use crate::connection::Connection;
use crate::error::StoreError;
use crate::ops::worker::polls::poll::{POLL, PollReply, QueuePoll, reply};
use crate::ops::worker::polls::poll_fast::{self, POLL_FAST};
use crate::script::Script;

impl QueuePoll<'_> {
    /// Returns the script to call first, with its call.
    pub(crate) fn call(&self) -> (&'static Script, Cmd) {
        match self.fast_call() {
            Some(call) => (&POLL_FAST, call),
            None => (&POLL, self.full_call()),
        }
    }
}

/// Reads the reply of `script`, the first that a poll calls. `None`: it did nothing, and the poll
/// needs `poll.lua`.
pub(crate) fn first_reply(
    script: &Script,
    value: Value,
    outcomes: usize,
) -> Result<Option<PollReply>, StoreError> {
    match std::ptr::eq(script, &*POLL_FAST) {
        true => poll_fast::reply(value, outcomes),
        false => reply(value, outcomes).map(Some),
    }
}

impl Connection {
    pub(crate) async fn poll(
        &self,
        polls: &[QueuePoll<'_>],
        timeout: Duration,
    ) -> Result<Vec<Result<PollReply, StoreError>>, StoreError> {
        let calls: Vec<_> = polls.iter().map(QueuePoll::call).collect();
        let values = self.run_all(&calls, timeout).await?;
        let mut replies = Vec::with_capacity(polls.len());
        let mut left = Vec::new();
        for (at, (value, poll)) in values.into_iter().zip(polls).enumerate() {
            let read = |value| first_reply(calls[at].0, value, poll.outcomes.len());
            replies.push(value.and_then(read).inspect(|reply| {
                left.extend(reply.is_none().then_some(at));
            }));
        }
        if !left.is_empty() {
            let calls = left.iter().map(|at| (&*POLL, polls[*at].full_call()));
            let values = self.run_all(&calls.collect::<Vec<_>>(), timeout).await?;
            for (at, value) in left.into_iter().zip(values) {
                let outcomes = polls[at].outcomes.len();
                replies[at] = value.and_then(|value| reply(value, outcomes)).map(Some);
            }
        }
        let missing = || StoreError::Unexpected("poll_fast");
        Ok(replies.into_iter().map(|reply| reply?.ok_or_else(missing)).collect())
    }
}
