//! All queues, also those that no program of Redcall has noted: a plain `RPUSH` notes nothing.
//!
//! Their keys are found by `SCAN`, for a bounded time. Reads only.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::error::StoreError;
use super::inspect::{Inspector, QueueInfo, look_at};
use crate::ops::names::{live_names, names_call};

/// How many keys of the server one step looks at: less than a millisecond of its time.
const STEP: u64 = 1000;
/// How long all steps may take.
const WITHIN: Duration = Duration::from_secs(1);
/// How many queues are listed at most, as many as may be noted.
const MOST: usize = 10_000;

/// The queues of a deployment.
#[derive(Debug, Default)]
pub struct Listing {
    /// Those that can be read, sorted by name.
    pub queues: Vec<QueueInfo>,
    /// Those that cannot be read, with the reason: one of their keys has a value of another type.
    pub unreadable: Vec<(String, StoreError)>,
    /// Whether every key of the server was looked at. If not, a queue that no program of Redcall
    /// has noted may be missing.
    pub is_complete: bool,
}

impl Listing {
    /// The names of the queues that can be read.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.queues.iter().map(|queue| queue.queue.clone()).collect()
    }
}

impl Inspector {
    /// All queues: those that Redcall's programs have noted, and those whose keys are found within
    /// about a second.
    ///
    /// # Errors
    ///
    /// When Redis cannot be reached, or refuses the names of the queues. A user without the right
    /// to `SCAN` gets a listing that is not complete. Dropping the future is harmless.
    pub async fn listing(&self) -> Result<Listing, StoreError> {
        let mut names: BTreeSet<String> = self.queue_names().await?.into_iter().collect();
        let is_complete = self.find(&mut names).await?;
        let mut listing = Listing { is_complete, ..Listing::default() };
        let mut conn = self.connection().await?;
        for name in names {
            match look_at(&mut conn, &self.keys.of(&name)).await {
                Ok(queue) => listing.queues.push(queue),
                Err(error) if error.is_transient() => return Err(error),
                Err(error) => listing.unreadable.push((name, error)),
            }
        }
        Ok(listing)
    }

    /// The names of the queues whose keys are found within about a second, without those that are
    /// `noted`; sorted. A user without the right to `SCAN` gets none.
    ///
    /// # Errors
    ///
    /// When Redis cannot be reached or refuses. Dropping the future is harmless.
    pub async fn other_queue_names(&self, noted: &[String]) -> Result<Vec<String>, StoreError> {
        let mut names = BTreeSet::new();
        self.find(&mut names).await?;
        for name in noted {
            names.remove(name);
        }
        Ok(names.into_iter().collect())
    }

    /// Adds the queues whose keys are found; `false` if not every key was looked at.
    async fn find(&self, names: &mut BTreeSet<String>) -> Result<bool, StoreError> {
        let (began, mut cursor) = (Instant::now(), 0_u64);
        let mut conn = self.connection().await?;
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(self.keys.queue_pattern()).arg("COUNT").arg(STEP);
            let found = scan.query_async::<(u64, Vec<Vec<u8>>)>(&mut *conn).await;
            let (next, keys) = match found.map_err(StoreError::from) {
                Ok(found) => found,
                Err(error) if error.is_refused() => return Ok(false),
                Err(error) => return Err(error),
            };
            let keys = keys.iter().filter_map(|key| std::str::from_utf8(key).ok());
            names.extend(keys.filter_map(|key| self.keys.parse_queue(key)).map(str::to_owned));
            cursor = next;
            if cursor == 0 {
                return Ok(true);
            }
            if began.elapsed() >= WITHIN || names.len() >= MOST {
                return Ok(false);
            }
        }
    }

    /// The element at the head of each of these queues. A second look tells whether a worker has
    /// taken it.
    ///
    /// # Errors
    ///
    /// When Redis cannot be reached or refuses.
    pub async fn heads(&self, queues: &[&str]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        if queues.is_empty() {
            return Ok(Vec::new());
        }
        let mut conn = self.connection().await?;
        let mut pipe = redis::pipe();
        for queue in queues {
            pipe.cmd("LINDEX").arg(self.keys.of(queue).queue()).arg(0);
        }
        Ok(pipe.query_async(&mut *conn).await?)
    }

    /// The job names that live workers of `queue` map.
    ///
    /// # Errors
    ///
    /// When Redis cannot be reached or refuses.
    pub async fn mapped_names(&self, queue: &str) -> Result<BTreeSet<String>, StoreError> {
        let mut conn = self.connection().await?;
        Ok(live_names(names_call(&self.keys.of(queue)).query_async(&mut *conn).await?))
    }
}
