//! Pushing requests by plain commands, without a script. Checks of the queue follow in the
//! same write, and a request that should not have been pushed is removed again.

use std::time::Duration;

use futures_util::TryFutureExt;
use redis::{Pipeline, RedisResult, Value};

use crate::connection::Connection;
use crate::error::StoreError;
use crate::ops::reply::{Whole, read};
use crate::ops::worker::upkeep::times::LONGEST_LEASE;
use redcall_common::keys::QueueKeys;
use redcall_common::limits::batch_len;
use redcall_common::time::millis;

/// Maximum number of elements in one RPUSH: Redis serves others between two.
const ELEMENTS_MAX: usize = 256;
/// How often the mark that the answers are at their limit is counted, so that it stands out among
/// the other keys of one EXISTS.
const MARK_WEIGHT: usize = 5;

/// The checks in Redis after the pushes of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PushChecks {
    /// The number of live workers, for callers that wait.
    pub workers: bool,
    /// Whether requests wait outside of the list, and whether the answers are at their limit.
    pub marks: bool,
}

impl PushChecks {
    /// No check.
    pub const NONE: Self = Self { workers: false, marks: false };
}

/// The result of pushing requests by plain commands.
#[derive(Debug, Clone)]
pub struct PushReply {
    /// One per command, in order: its number of requests, and the length of the queue right after
    /// it, or the reason why none of them was pushed.
    pub commands: Vec<(usize, Result<u64, StoreError>)>,
    /// `true` if a live worker serves the queue; `None` if that is unknown.
    pub served: Option<bool>,
    /// `true` if requests may wait outside of the list: scheduled, partitioned, parked or deferred.
    pub outside: bool,
    /// `true` if the answers kept on the queue are known to be at their limit.
    pub answers_full: bool,
}

/// The requests that a queue holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldRequests {
    /// Those in the list.
    pub queued: u64,
    /// Those that are scheduled, partitioned, parked or deferred.
    pub outside: u64,
}

impl Connection {
    pub(crate) async fn push(
        &self,
        keys: &QueueKeys,
        elements: &[&str],
        checks: PushChecks,
        forget: &[String],
        timeout: Duration,
    ) -> Result<PushReply, StoreError> {
        let (mut conn, generation) = self.connection(timeout).await?;
        let mut pipe = redis::pipe();
        pipe.ignore_errors();
        if !forget.is_empty() {
            pipe.cmd("UNLINK").arg(forget);
        }
        let counts = add_pushes(&mut pipe, &keys.queue(), elements);
        add_checks(&mut pipe, keys, checks, self.now_ms());
        let sending = pipe.query_async::<Vec<RedisResult<Value>>>(&mut conn);
        let replies = self.during(generation, sending.map_err(StoreError::of_driver)).await?;
        let mut replies = replies.into_iter().map(|reply| reply.map_err(StoreError::of_driver));
        if !forget.is_empty() {
            // On failure, the keys expire by their TTL.
            replies.next();
        }
        push_reply(counts, checks, &mut replies)
    }

    pub(crate) async fn unpush(
        &self,
        keys: &QueueKeys,
        elements: &[&str],
        timeout: Duration,
    ) -> Result<Vec<bool>, StoreError> {
        let mut pipe = redis::pipe();
        // From the tail: near it if no worker has taken them, and a worker that has taken them has
        // taken most of the queue.
        for element in elements {
            pipe.cmd("LREM").arg(keys.queue()).arg(-1).arg(*element);
        }
        let removed: Vec<u64> =
            self.with(timeout, async |conn| pipe.query_async(conn).await).await?;
        Ok(removed.into_iter().map(|count| count > 0).collect())
    }

    pub(crate) async fn held_by(
        &self,
        keys: &QueueKeys,
        timeout: Duration,
    ) -> Result<HeldRequests, StoreError> {
        let mut pipe = redis::pipe();
        pipe.cmd("LLEN").arg(keys.queue()).cmd("ZCARD").arg(keys.schedule());
        pipe.cmd("ZCARD").arg(keys.deferred_ids()).cmd("HVALS").arg(keys.limited_names());
        pipe.cmd("SMEMBERS").arg(keys.parked_names());
        let counted = self.with(timeout, async |conn| pipe.query_async(conn).await).await?;
        let (mut held, parked) = held(counted)?;
        if !parked.is_empty() {
            let mut pipe = redis::pipe();
            for name in parked {
                pipe.cmd("LLEN").arg(keys.parked(&name));
            }
            let lengths = self.with(timeout, async |conn| pipe.query_async(conn).await).await?;
            let lengths: Vec<Whole> = read("LLEN", lengths)?;
            held.outside = lengths.iter().fold(held.outside, |sum, one| sum.saturating_add(one.0));
        }
        Ok(held)
    }
}

/// Adds the pushes; returns the number of elements of each.
pub(super) fn add_pushes(pipe: &mut Pipeline, queue: &str, mut elements: &[&str]) -> Vec<usize> {
    let mut counts = Vec::with_capacity(elements.len() / ELEMENTS_MAX + 1);
    while !elements.is_empty() {
        let count = batch_len(elements.iter().take(ELEMENTS_MAX).map(|element| element.len()));
        let (now, rest) = elements.split_at(count);
        pipe.cmd("RPUSH").arg(queue).arg(now);
        counts.push(count);
        elements = rest;
    }
    counts
}

pub(super) fn add_checks(pipe: &mut Pipeline, keys: &QueueKeys, checks: PushChecks, now_ms: u64) {
    if checks.workers {
        let ends = now_ms.saturating_add(2 * millis(LONGEST_LEASE));
        pipe.cmd("ZCOUNT").arg(keys.workers()).arg(now_ms).arg(ends);
    }
    if checks.marks {
        let exists = pipe.cmd("EXISTS");
        exists.arg(keys.schedule()).arg(keys.limited_names()).arg(keys.parked_names());
        exists.arg(keys.deferred_ids());
        let mark = keys.answers_full();
        for _ in 0..MARK_WEIGHT {
            exists.arg(&mark);
        }
    }
}

/// Reads the replies to the pushes and the checks.
pub(crate) fn push_reply(
    counts: Vec<usize>,
    checks: PushChecks,
    replies: &mut impl Iterator<Item = Result<Value, StoreError>>,
) -> Result<PushReply, StoreError> {
    let mut next = || replies.next().ok_or(StoreError::Unexpected("RPUSH"));
    let mut commands = Vec::with_capacity(counts.len());
    for count in counts {
        let length = match next()? {
            Ok(length) => Ok(read::<Whole>("RPUSH", length)?.0),
            Err(error) => Err(error),
        };
        commands.push((count, length));
    }
    let mut reply = PushReply { commands, served: None, outside: true, answers_full: false };
    // A refused check leaves its answer unknown.
    if checks.workers {
        let live = next()?.ok();
        reply.served = live.map(|live| read::<Whole>("ZCOUNT", live)).transpose()?.map(|n| n.0 > 0);
    }
    if checks.marks {
        match next()?.ok().map(|count| read::<Whole>("EXISTS", count)).transpose()? {
            Some(count) => {
                let count = count.count();
                reply.answers_full = count >= MARK_WEIGHT;
                reply.outside = count % MARK_WEIGHT > 0;
            }
            None => reply.served = None,
        }
    }
    Ok(reply)
}

/// Reads the counts, without the parked requests, and the names of those.
pub(crate) fn held(value: Value) -> Result<(HeldRequests, Vec<String>), StoreError> {
    type Counts = (Whole, Whole, Whole, Vec<Whole>, Vec<String>);
    let (queued, scheduled, deferred, partitioned, parked): Counts = read("LLEN, ZCARD", value)?;
    let outside = scheduled.0.saturating_add(deferred.0);
    let outside = partitioned.iter().fold(outside, |sum, one| sum.saturating_add(one.0));
    Ok((HeldRequests { queued: queued.0, outside }, parked))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHECKS: PushChecks = PushChecks { workers: true, marks: true };

    fn refused() -> StoreError {
        let reply = redis::parse_redis_value(b"-NOPERM no\r\n").unwrap();
        StoreError::of_driver(reply.extract_error().unwrap_err())
    }

    fn reply(counts: &[usize], replies: Vec<Result<i64, StoreError>>) -> PushReply {
        let mut replies = replies.into_iter().map(|reply| reply.map(Value::Int));
        push_reply(counts.to_vec(), CHECKS, &mut replies).unwrap()
    }

    #[test]
    fn mark_and_other_keys_are_told_apart() {
        for (exists, outside, full) in [
            (0, false, false),
            (1, true, false),
            (4, true, false),
            (5, false, true),
            (9, true, true),
        ] {
            let reply = reply(&[1], vec![Ok(7), Ok(1), Ok(exists)]);
            assert_eq!((reply.outside, reply.answers_full), (outside, full), "{exists}");
            assert_eq!(reply.served, Some(true));
        }
    }

    #[test]
    fn refused_command_is_known_and_refused_check_is_not() {
        let some = reply(&[2, 1], vec![Ok(2), Err(refused()), Ok(0), Ok(0)]);
        assert!(matches!(some.commands[0], (2, Ok(2))));
        assert!(matches!(some.commands[1], (1, Err(StoreError::Refused(_)))));
        assert_eq!(some.served, Some(false));
        assert_eq!(reply(&[1], vec![Ok(1), Err(refused()), Ok(0)]).served, None);
        assert_eq!(reply(&[1], vec![Ok(1), Ok(1), Err(refused())]).served, None);
    }

    #[test]
    fn missing_replies_are_an_error() {
        let mut none = std::iter::empty();
        assert!(push_reply(vec![1], CHECKS, &mut none).is_err());
    }

    #[test]
    fn command_has_a_bounded_number_of_elements() {
        let mut pipe = redis::pipe();
        assert_eq!(add_pushes(&mut pipe, "q", &["e"; 600]), [256, 256, 88]);
        assert_eq!(add_pushes(&mut pipe, "q", &[]), [0; 0]);
    }
}
