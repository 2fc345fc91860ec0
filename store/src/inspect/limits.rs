//! Checks limited names and times of a queue, with the scripts of heartbeats' repairs.

use std::collections::BTreeSet;
use std::time::Duration;

use redis::{RedisResult, Value};

use super::inspector::Inspector;
use crate::error::StoreError;
use crate::ops::worker::polls::poll::LimitRule;
use crate::ops::worker::upkeep::rotation::{self, Fault, LimitFault, ROTATION_SEEN};
use crate::ops::worker::upkeep::times::{self, TIMES_SEEN, TimeAhead};

impl Inspector {
    /// Returns times of `queue` that are further ahead than a worker with this lease writes them.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached or refuses. Cancel-safe.
    pub async fn times_ahead(
        &self,
        queue: &str,
        lease: Duration,
    ) -> Result<Vec<TimeAhead>, StoreError> {
        let mut conn = self.connection().await?;
        let call = times::call(&TIMES_SEEN, &self.keys.of(queue), lease, false);
        times::ahead(TIMES_SEEN.run(&mut conn, &call).await?)
    }

    /// Returns faulty keys of limited names of `queue`. For names without a rule among `rules` some
    /// faults are undetectable. `partitioned` are names and keys of lists that were found: it
    /// reports those in no list of the rotation.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached or refuses. Cancel-safe.
    pub async fn limit_faults(
        &self,
        queue: &str,
        rules: &[LimitRule],
        partitioned: &[(String, String)],
    ) -> Result<Vec<LimitFault>, StoreError> {
        let keys = self.keys.of(queue);
        let mut conn = self.connection().await?;
        let counts = redis::cmd("HKEYS").arg(keys.limited_names()).to_owned();
        let counted: RedisResult<Vec<String>> = counts.query_async(&mut conn).await;
        let found = partitioned.iter().map(|(name, _)| name.clone());
        // The script reports values of another type.
        let others: BTreeSet<String> = found.chain(counted.unwrap_or_default()).collect();
        let is_ruled = |name: &String| rules.iter().any(|rule| rule.name == *name);
        let others: Vec<String> = others.into_iter().filter(|name| !is_ruled(name)).collect();
        let call = rotation::call(&ROTATION_SEEN, &keys, rules, &others, false);
        let mut faults = rotation::faults(ROTATION_SEEN.run(&mut conn, &call).await?)?;
        for (name, key) in partitioned {
            // In one step, because a worker may take it meanwhile.
            let mut pipe = redis::pipe();
            pipe.atomic();
            pipe.cmd("EXISTS").arg(keys.limited(name, key));
            pipe.cmd("SISMEMBER").arg(keys.limit_keys(name)).arg(key);
            let reply: RedisResult<Value> = pipe.query_async(&mut conn).await;
            let is_lost = reply.is_ok_and(|value| {
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
