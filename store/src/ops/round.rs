//! One round trip of polls: each goes to the fast script first, if that can serve it.

use std::time::Duration;

use redis::{Cmd, Value};

use super::poll::{PollReply, QueuePoll, reply};
use super::poll_fast;
use crate::error::StoreError;
use crate::link::Link;
use crate::script::{POLL, POLL_FAST, Script};

impl QueuePoll<'_> {
    /// The script to ask first, and its call.
    pub(super) fn call(&self) -> (&'static Script, Cmd) {
        match self.fast_call() {
            Some(call) => (&POLL_FAST, call),
            None => (&POLL, self.full_call()),
        }
    }
}

/// Reads what `script`, the first that a poll is sent to, answers. None: nothing was done, and it
/// takes the whole one.
pub(super) fn first_reply(
    script: &Script,
    value: Value,
    outcomes: usize,
) -> Result<Option<PollReply>, StoreError> {
    match std::ptr::eq(script, &*POLL_FAST) {
        true => poll_fast::reply(value, outcomes),
        false => reply(value, outcomes).map(Some),
    }
}

impl Link {
    /// One poll on each of several queues, in this order, in one write; one result each.
    ///
    /// # Errors
    ///
    /// After [`StoreError::Lost`] any of the polls may have taken effect: what they leased is
    /// this worker's, what they settled is settled. Sent `again` under the same serial, a poll
    /// says what it said then. Within the results: Redis has refused that one as a whole.
    pub async fn poll(
        &self,
        polls: &[QueuePoll<'_>],
        within: Duration,
    ) -> Result<Vec<Result<PollReply, StoreError>>, StoreError> {
        let calls: Vec<_> = polls.iter().map(QueuePoll::call).collect();
        let values = self.run_all(&calls, within).await?;
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
            let values = self.run_all(&calls.collect::<Vec<_>>(), within).await?;
            for (at, value) in left.into_iter().zip(values) {
                let outcomes = polls[at].outcomes.len();
                replies[at] = value.and_then(|value| reply(value, outcomes)).map(Some);
            }
        }
        let missing = || StoreError::Unexpected("poll_fast");
        Ok(replies.into_iter().map(|reply| reply?.ok_or_else(missing)).collect())
    }
}
