//! Leases on names: a role that only one process may have, for a limited time.

use std::time::Duration;

use redcall_common::error::Code;
use redcall_common::name::{is_plain, new_id};
use redcall_store::{LeaseChange, LeaseOps as _};
use tokio::time::timeout;

use crate::engine::client::Client;
use crate::error::CallError;

/// The permitted time limits of a lease.
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// A lease on a name, held until it is released or not renewed in time. Dropping it does not
/// release it: it then ends by its time limit.
///
/// ```
/// # redcall_testkit::example::with_client(async |client| {
/// use std::time::Duration;
///
/// let time_limit = Duration::from_secs(5);
/// let Some(lease) = client.lease("reader.lab", time_limit).await? else {
///     return Ok(()); // another process reads
/// };
/// assert!(client.lease("reader.lab", time_limit).await?.is_none());
/// assert!(lease.renew().await?); // at least every few seconds, while this process reads
/// assert!(lease.release().await?);
/// assert!(client.lease("reader.lab", time_limit).await?.is_some());
/// # Ok(()) });
/// ```
pub struct Lease {
    client: Client,
    key: String,
    owner: String,
    time_limit: Duration,
}

impl Client {
    /// Takes the lease on `name` (1 to 64 characters of `[A-Za-z0-9_.-]`) for `time_limit`, 100 ms
    /// to 1 hour. Returns `None` if another owner has it. If the future is dropped, it may have
    /// been taken; it then ends by its time limit.
    ///
    /// # Errors
    ///
    /// `invalid_request` for an invalid name or time limit; `unavailable` if Redis does not answer
    /// within the setting `client.timeout`.
    pub async fn lease(
        &self,
        name: &str,
        time_limit: Duration,
    ) -> Result<Option<Lease>, CallError> {
        let invalid = |message: String| Err(CallError::refused(Code::InvalidRequest, message));
        if !is_plain(name) {
            return invalid(format!(
                "`{name}` is not a valid lease name: expected 1 to 64 of [A-Za-z0-9_.-]"
            ));
        }
        if !(SHORTEST..=LONGEST).contains(&time_limit) {
            return invalid("the time limit of a lease is from 100 ms to 1 hour".to_owned());
        }
        let key = self.inner.keys.lease(name);
        let lease = Lease { client: self.clone(), key, owner: new_id(), time_limit };
        let is_taken = lease.change(LeaseChange::Take).await?;
        Ok(is_taken.then_some(lease))
    }
}

impl Lease {
    /// Renews the lease for its whole time limit. Returns `false` if it has ended: another owner
    /// may have it, and the work that it protects must stop. Renew every third of the time limit.
    ///
    /// # Errors
    ///
    /// If Redis does not answer within the time limit. The lease may have ended meanwhile.
    pub async fn renew(&self) -> Result<bool, CallError> {
        self.change(LeaseChange::Renew).await
    }

    /// Releases the lease. Returns `false` if it had ended before; the lease of another owner is
    /// not affected.
    ///
    /// # Errors
    ///
    /// If Redis does not answer; the lease then ends by its time limit.
    pub async fn release(self) -> Result<bool, CallError> {
        self.change(LeaseChange::Release).await
    }

    /// Returns the id of this ownership; no two are equal.
    #[must_use]
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// Returns how long the lease lasts after it was taken or renewed.
    #[must_use]
    pub fn time_limit(&self) -> Duration {
        self.time_limit
    }

    async fn change(&self, change: LeaseChange) -> Result<bool, CallError> {
        let inner = &self.client.inner;
        // An answer after the time limit would be of no use.
        let limit = inner.timeout.min(self.time_limit);
        let change = (change, self.time_limit);
        let changing = inner.link.change_lease(&self.key, &self.owner, change, limit);
        let done = timeout(limit, changing).await;
        done.map_err(|_| CallError::not_in_time())?.map_err(CallError::unanswered)
    }
}
