//! Lists all queues, also those that no program of Redcall has noted: a plain `RPUSH` notes
//! nothing.
//!
//! `SCAN` finds their keys, for a bounded time. Reads only.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::inspector::{Inspector, QueueInfo, read_queue};
use crate::driver::OrStore;
use crate::error::StoreError;
use crate::ops::shared::names::{live_names, names_call};

/// The number of keys that one `SCAN` visits: less than a millisecond of the server's time.
pub(crate) const KEYS_PER_SCAN: u64 = 1000;
/// The time limit of all steps.
const TIME_LIMIT: Duration = Duration::from_secs(1);
/// The maximum number of listed queues, equal to that of noted queues.
const MAX_QUEUES: usize = 10_000;

/// The queues of a deployment.
#[derive(Debug, Default)]
pub struct Listing {
    /// The readable queues, sorted by name.
    pub queues: Vec<QueueInfo>,
    /// The unreadable queues, with the reason: one of their keys has another type.
    pub unreadable: Vec<(String, StoreError)>,
    /// `true` if every key of the server was visited. If `false`, a queue that no program of
    /// Redcall has noted may be missing.
    pub is_complete: bool,
}

impl Listing {
    /// Returns the names of the readable queues.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.queues.iter().map(|queue| queue.queue.clone()).collect()
    }
}

impl Inspector {
    /// Returns all queues: those that Redcall's programs have noted, and those whose keys are found
    /// within about a second.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached, or refuses to list the noted queues. A user without the right to
    /// `SCAN` gets an incomplete listing. Cancel-safe.
    pub async fn listing(&self) -> Result<Listing, StoreError> {
        let mut names: BTreeSet<String> = self.queue_names().await?.into_iter().collect();
        let is_complete = self.find(&mut names).await?;
        let mut listing = Listing { is_complete, ..Listing::default() };
        let mut conn = self.connection().await?;
        for name in names {
            match read_queue(&mut conn, &self.keys.of(&name)).await {
                Ok(queue) => listing.queues.push(queue),
                Err(error) if error.is_transient() => return Err(error),
                Err(error) => listing.unreadable.push((name, error)),
            }
        }
        Ok(listing)
    }

    /// Returns the names of the queues whose keys are found within about a second, sorted and
    /// without those in `noted`; none if the user lacks the right to `SCAN`.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached or refuses. Cancel-safe.
    pub async fn other_queue_names(&self, noted: &[String]) -> Result<Vec<String>, StoreError> {
        let mut names = BTreeSet::new();
        self.find(&mut names).await?;
        for name in noted {
            names.remove(name);
        }
        Ok(names.into_iter().collect())
    }

    /// Adds the queues whose keys are found; returns `false` if not every key was visited.
    async fn find(&self, names: &mut BTreeSet<String>) -> Result<bool, StoreError> {
        let (began, mut cursor) = (Instant::now(), 0_u64);
        let mut conn = self.connection().await?;
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor)
                .arg("MATCH")
                .arg(self.keys.queue_pattern())
                .arg("COUNT")
                .arg(KEYS_PER_SCAN);
            let found = scan.query_async::<(u64, Vec<Vec<u8>>)>(&mut conn).await;
            let (next, keys) = match found.map_err(StoreError::of_driver) {
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
            if began.elapsed() >= TIME_LIMIT || names.len() >= MAX_QUEUES {
                return Ok(false);
            }
        }
    }

    /// Returns the element at the head of each queue. A second call shows whether a worker has
    /// taken it.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached or refuses.
    pub async fn heads(&self, queues: &[&str]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        if queues.is_empty() {
            return Ok(Vec::new());
        }
        let mut conn = self.connection().await?;
        let mut pipe = redis::pipe();
        for queue in queues {
            pipe.cmd("LINDEX").arg(self.keys.of(queue).queue()).arg(0);
        }
        pipe.query_async(&mut conn).await.or_store()
    }

    /// Returns the job names that live workers of `queue` handle.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached or refuses.
    pub async fn mapped_names(&self, queue: &str) -> Result<BTreeSet<String>, StoreError> {
        let mut conn = self.connection().await?;
        Ok(live_names(names_call(&self.keys.of(queue)).query_async(&mut conn).await.or_store()?))
    }
}
