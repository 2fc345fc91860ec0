//! Reading the states of monitored jobs: plain commands, nothing is changed.

use std::time::Duration;

use super::Entry;
use crate::event::EventId;
use crate::status::JobStatus;
use crate::store::error::StoreError;
use crate::store::link::Link;

/// What lies in the record of a job's states, from a state on.
#[derive(Debug)]
pub struct States {
    /// The states, oldest first, each with its entry. Not what others have put there.
    pub states: Vec<(EventId, JobStatus)>,
    /// Whether there is a record at all.
    pub exists: bool,
}

impl Link {
    /// Reads the record `key` from the state `from` on, with that one; from its beginning without.
    ///
    /// # Errors
    ///
    /// When Redis cannot be reached within `within` or refuses.
    pub async fn states(
        &self,
        key: &str,
        from: Option<EventId>,
        within: Duration,
    ) -> Result<States, StoreError> {
        let from = from.map_or("-".to_owned(), |id| id.to_string());
        let range = redis::cmd("XRANGE").arg(key).arg(from).arg("+").to_owned();
        let entries: Vec<Entry> =
            self.with(within, async |conn| range.query_async(conn).await).await?;
        let exists = !entries.is_empty();
        let states = entries.into_iter().filter_map(|(id, fields)| {
            let id: EventId = id.parse().ok()?;
            Some((id, JobStatus::read(id, fields)?))
        });
        Ok(States { states: states.collect(), exists })
    }

    /// The first of these keys at which something lies.
    ///
    /// # Errors
    ///
    /// When Redis cannot be reached within `within` or refuses.
    pub async fn first_that_exists(
        &self,
        keys: &[String],
        within: Duration,
    ) -> Result<Option<usize>, StoreError> {
        let mut pipe = redis::pipe();
        for key in keys {
            pipe.cmd("EXISTS").arg(key);
        }
        let found: Vec<bool> = self.with(within, async |conn| pipe.query_async(conn).await).await?;
        Ok(found.into_iter().position(|found| found))
    }
}
