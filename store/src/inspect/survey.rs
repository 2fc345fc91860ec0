//! Finds problems, for `redcall doctor`: leases that no worker takes over, keys without a limit.
//! Reads only, within bounds.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;

use super::inspector::Inspector;
use super::listing::KEYS_PER_SCAN;
use crate::driver::OrStore;
use crate::error::StoreError;
use crate::ops::reply::millis;
use redcall_common::keys::{Bound, QueueKeys};

/// The maximum number of examples.
const MAX_EXAMPLES: usize = 3;
/// The maximum number of lists of partitioned requests.
const MAX_LISTS: usize = 500;
/// The maximum number of states of services.
const MAX_STATES: usize = 500;
/// The maximum number of dead workers per queue.
const MAX_DEAD_WORKERS: usize = 100;

/// A worker that died long ago and still holds requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StuckWorker {
    /// The queue of these requests.
    pub queue: String,
    /// The worker's id.
    pub worker: String,
    /// The number of requests that it holds.
    pub held: u64,
    /// The time since its lease ended.
    pub dead_for: Duration,
}

/// Memory of a queue's data that has a limit in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeptBytes {
    /// Redis memory of dead letters, bytes.
    pub dead: u64,
    /// Answers at response keys and under idempotency keys, bytes, as workers last measured them.
    pub answers: u64,
    /// `true` if requests that want an answer are refused because of the limit.
    pub answers_full: bool,
}

/// The result of a walk over the deployment's keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyCensus {
    /// Number of keys seen.
    pub seen: u64,
    /// Number of keys that should have a TTL and have none.
    pub without_ttl: u64,
    /// Examples of these keys.
    pub examples: Vec<String>,
    /// Number of keys with our prefix that are not ours.
    pub foreign: u64,
    /// An example of these keys.
    pub foreign_example: Option<String>,
    /// `true` if the walk ended before all keys were seen.
    pub cut: bool,
    /// Some lists of partitioned requests of limited names: queue, name and key.
    pub partitioned: Vec<(String, String, String)>,
    /// Some states of services: queue and instance.
    pub states: Vec<(String, String)>,
}

/// Returns the workers that have a lane but are not registered, with the Redis time (ms) until
/// which a pop of theirs could be served. Heartbeats register those that hold requests.
async fn unregistered_lanes(
    conn: &mut MultiplexedConnection,
    keys: &QueueKeys,
) -> Result<Vec<(String, f64)>, StoreError> {
    let mut pipe = redis::pipe();
    pipe.cmd("ZRANGE").arg(keys.lanes()).arg(0).arg(MAX_DEAD_WORKERS).arg("WITHSCORES");
    pipe.cmd("ZRANGE").arg(keys.workers()).arg(0).arg(-1);
    let (mut lanes, registered): (Vec<(String, f64)>, BTreeSet<String>) =
        pipe.query_async(conn).await.or_store()?;
    lanes.retain(|(worker, _)| !registered.contains(worker));
    Ok(lanes)
}

impl Inspector {
    /// Returns workers of `queue` that still hold requests although their lease ended more than
    /// `after` ago.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached or refuses. Cancel-safe.
    pub async fn stuck(
        &self,
        queue: &str,
        after: Duration,
    ) -> Result<Vec<StuckWorker>, StoreError> {
        let keys = self.keys.of(queue);
        let mut conn = self.connection().await?;
        let now = millis(redis::cmd("TIME").query_async(&mut conn).await.or_store()?);
        let limit = now.saturating_sub(u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
        let mut dead = redis::cmd("ZRANGE");
        dead.arg(keys.workers()).arg("-inf").arg(limit).arg("BYSCORE");
        dead.arg("LIMIT").arg(0).arg(MAX_DEAD_WORKERS).arg("WITHSCORES");
        let dead: Vec<(String, f64)> = dead.query_async(&mut conn).await.or_store()?;
        let mut stuck = Vec::new();
        let unregistered = unregistered_lanes(&mut conn, &keys).await?;
        for (worker, ended) in dead.into_iter().chain(unregistered) {
            let mut pipe = redis::pipe();
            pipe.cmd("HLEN").arg(keys.leases(&worker));
            for number in 0..2 {
                pipe.cmd("LLEN").arg(keys.lane_inbox(&worker, number));
            }
            let held: Vec<u64> = pipe.query_async(&mut conn).await.or_store()?;
            let held = held.iter().sum();
            // Times of the registry are whole milliseconds; an invalid one counts as long ago.
            let dead_for = Duration::from_millis(now.saturating_sub(ended as u64));
            if held > 0 && dead_for >= after {
                stuck.push(StuckWorker { queue: queue.to_owned(), worker, held, dead_for });
            }
        }
        Ok(stuck)
    }

    /// Returns how many bytes `queue` keeps.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached or refuses. Cancel-safe.
    pub async fn kept_bytes(&self, queue: &str) -> Result<KeptBytes, StoreError> {
        let keys = self.keys.of(queue);
        let mut conn = self.connection().await?;
        let mut pipe = redis::pipe();
        pipe.cmd("MEMORY").arg("USAGE").arg(keys.dead()).arg("SAMPLES").arg(0);
        pipe.cmd("HGET").arg(keys.answers()).arg(":bytes");
        pipe.cmd("EXISTS").arg(keys.answers_full());
        type Raw = (Option<u64>, Option<u64>, bool);
        let (dead, answers, answers_full): Raw = pipe.query_async(&mut conn).await.or_store()?;
        let (dead, answers) = (dead.unwrap_or_default(), answers.unwrap_or_default());
        Ok(KeptBytes { dead, answers, answers_full })
    }

    /// Walks over the deployment's keys, for about `timeout` and up to `max` keys of the server.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached or refuses. Cancel-safe.
    pub async fn census(&self, timeout: Duration, max: u64) -> Result<KeyCensus, StoreError> {
        let (began, mut steps, mut cursor) = (Instant::now(), 0, 0_u64);
        let mut conn = self.connection().await?;
        // By key: `SCAN` may return one twice.
        let mut seen = BTreeMap::new();
        let mut census = KeyCensus::default();
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(self.keys.pattern()).arg("COUNT").arg(KEYS_PER_SCAN);
            let (next, keys): (u64, Vec<Vec<u8>>) = scan.query_async(&mut conn).await.or_store()?;
            let keys = keys.iter().map(|key| String::from_utf8_lossy(key).into_owned());
            let mut bounded = Vec::new();
            for key in keys {
                let bound = self.keys.bound_of(&key);
                if let Some((queue, name, of)) = self.keys.parse_limited(&key)
                    && census.partitioned.len() < MAX_LISTS
                {
                    census.partitioned.push((queue.to_owned(), name.to_owned(), of.to_owned()));
                }
                if let Some((queue, instance)) = self.keys.parse_state(&key)
                    && census.states.len() < MAX_STATES
                {
                    census.states.push((queue.to_owned(), instance.to_owned()));
                }
                if seen.insert(key.clone(), bound).is_none() && bound == Some(Bound::Ttl) {
                    bounded.push(key);
                }
            }
            let mut pipe = redis::pipe();
            for key in &bounded {
                pipe.cmd("PTTL").arg(key);
            }
            let ttls: Vec<i64> = match bounded.as_slice() {
                [] => Vec::new(),
                _ => pipe.query_async(&mut conn).await.or_store()?,
            };
            // -1: the key exists without a TTL.
            for (key, _) in bounded.into_iter().zip(ttls).filter(|(_, ttl)| *ttl == -1) {
                census.without_ttl += 1;
                census.examples.push(key);
                census.examples.truncate(MAX_EXAMPLES);
            }
            (cursor, steps) = (next, steps + KEYS_PER_SCAN);
            census.cut = cursor != 0 && (steps >= max || began.elapsed() >= timeout);
            if cursor == 0 || census.cut {
                break;
            }
        }
        census.seen = seen.len() as u64;
        let mut foreign = seen.into_iter().filter(|(_, bound)| bound.is_none());
        census.foreign_example = foreign.next().map(|(key, _)| key);
        census.foreign = u64::from(census.foreign_example.is_some()) + foreign.count() as u64;
        Ok(census)
    }
}
