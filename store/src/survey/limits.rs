//! Limited names and times of a queue, looked at by the scripts that heartbeats repair them with.

use std::collections::BTreeSet;
use std::time::Duration;

use redis::{RedisResult, Value};

use crate::error::StoreError;
use crate::inspect::Inspector;
use crate::ops::poll::Rule;
use crate::ops::rotation::{Fault, LimitFault};
use crate::ops::times::TimeAhead;
use crate::ops::{rotation, times};
use crate::script::{ROTATION_SEEN, TIMES_SEEN};

impl Inspector {
    /// Times of `queue` that lie further ahead than a worker with this lease writes them.
    ///
    /// # Errors
    ///
    /// When Redis cannot be reached or refuses. Dropping the future is harmless.
    pub async fn times_ahead(
        &self,
        queue: &str,
        lease: Duration,
    ) -> Result<Vec<TimeAhead>, StoreError> {
        let mut conn = self.connection().await?;
        let call = times::call(&TIMES_SEEN, &self.keys.of(queue), lease, false);
        times::ahead(TIMES_SEEN.run(&mut conn, &call).await?)
    }

    /// Keys of limited names of `queue` that are not where they have to be, and what else is wrong
    /// there; of names without a rule among `rules` as much as can be told. `sorted` are names and
    /// keys of lists that were found: those that no place knows.
    ///
    /// # Errors
    ///
    /// When Redis cannot be reached or refuses. Dropping the future is harmless.
    pub async fn limit_faults(
        &self,
        queue: &str,
        rules: &[Rule],
        sorted: &[(String, String)],
    ) -> Result<Vec<LimitFault>, StoreError> {
        let keys = self.keys.of(queue);
        let mut conn = self.connection().await?;
        let counts = redis::cmd("HKEYS").arg(keys.limited_names()).to_owned();
        let counted: RedisResult<Vec<String>> = counts.query_async(&mut *conn).await;
        let found = sorted.iter().map(|(name, _)| name.clone());
        // A value of another type is what the script reports.
        let others: BTreeSet<String> = found.chain(counted.unwrap_or_default()).collect();
        let is_ruled = |name: &String| rules.iter().any(|rule| rule.name == *name);
        let others: Vec<String> = others.into_iter().filter(|name| !is_ruled(name)).collect();
        let call = rotation::call(&ROTATION_SEEN, &keys, rules, &others, false);
        let mut faults = rotation::faults(ROTATION_SEEN.run(&mut conn, &call).await?)?;
        for (name, key) in sorted {
            // In one step, since it may be taken meanwhile.
            let mut pipe = redis::pipe();
            pipe.atomic();
            pipe.cmd("EXISTS").arg(keys.limited(name, key));
            pipe.cmd("SISMEMBER").arg(keys.limit_keys(name)).arg(key);
            let asked: RedisResult<Value> = pipe.query_async(&mut *conn).await;
            let is_lost = asked.is_ok_and(|value| {
                redis::from_redis_value(value).is_ok_and(|(is, listed): (bool, bool)| is && !listed)
            });
            if is_lost {
                let (name, key) = (name.clone(), key.clone());
                faults.push(LimitFault { name, key, fault: Fault::Lost });
            }
        }
        Ok(faults)
    }
}
