//! One round trip of polls: each goes to the fast script first, if that can serve it.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, Value};

use crate::connection::Connection;
use crate::error::StoreError;
use crate::ops::worker::polls::poll::{POLL, PollReply, QueuePoll, reply};
use crate::ops::worker::polls::poll_fast::{self, POLL_FAST};
use crate::script::{self, Script};

impl QueuePoll<'_> {
    /// Returns the script to call first, with its call.
    pub(crate) fn call(&self) -> (&'static Script, Cmd) {
        match self.fast_call() {
            Some(call) => (&POLL_FAST, call),
            None => (&POLL, self.full_call()),
        }
    }
}

impl QueuePoll<'_> {
    /// Adds the script's name, and the keys of a wrong type, to the problems of its reply.
    pub(crate) async fn explain(
        &self,
        conn: &mut MultiplexedConnection,
        script: &Script,
        reply: &mut PollReply,
    ) {
        let (trouble, unsettled) = (reply.trouble.as_mut(), reply.unsettled.as_mut());
        for problem in trouble.into_iter().chain(unsettled) {
            let keys = match problem.starts_with("WRONGTYPE") {
                true => script::wrong_types(conn, &self.full_call()).await,
                false => String::new(),
            };
            problem.push_str(&format!("; script `{}`{keys}", script.name()));
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
        let mut ran: Vec<&Script> = calls.iter().map(|(script, _)| *script).collect();
        if !left.is_empty() {
            left.iter().for_each(|at| ran[*at] = &POLL);
            let calls = left.iter().map(|at| (&*POLL, polls[*at].full_call()));
            let values = self.run_all(&calls.collect::<Vec<_>>(), timeout).await?;
            for (at, value) in left.into_iter().zip(values) {
                let outcomes = polls[at].outcomes.len();
                replies[at] = value.and_then(|value| reply(value, outcomes)).map(Some);
            }
        }
        let missing = || StoreError::Unexpected("poll_fast");
        let replies = replies.into_iter().map(|reply| reply?.ok_or_else(missing));
        let mut replies: Vec<Result<PollReply, StoreError>> = replies.collect();
        self.explain(polls, &ran, &mut replies, timeout).await;
        Ok(replies)
    }

    /// Explains the problems of replies; most polls have none.
    async fn explain(
        &self,
        polls: &[QueuePoll<'_>],
        ran: &[&Script],
        replies: &mut [Result<PollReply, StoreError>],
        timeout: Duration,
    ) {
        let all = polls.iter().zip(ran).zip(replies);
        for ((poll, script), reply) in all {
            let Ok(reply) = reply else { continue };
            if (reply.trouble.is_some() || reply.unsettled.is_some())
                && let Ok((mut conn, _)) = self.connection(timeout).await
            {
                poll.explain(&mut conn, script, reply).await;
            }
        }
    }
}
