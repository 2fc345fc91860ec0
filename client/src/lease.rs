//! Leases on names: a role that only one process may have, for a limited time.

use std::time::Duration;

use redcall_common::error::Code;

use crate::engine::client::Client;
use crate::error::CallError;

/// A lease on a name, held by this process until it ends, is released, or is not renewed in time.
/// Dropping it does not release it: it then ends by its time limit.
pub struct Lease {
    client: Client,
    name: String,
    owner: String,
    time_limit: Duration,
}

impl Client {
    /// Takes the lease on `name` (1 to 64 characters of `[A-Za-z0-9_.-]`) for `time_limit` (100 ms
    /// to 1 hour). Returns `None` if another owner has it. Dropping the future leaves open whether
    /// it was taken; then it ends by its time limit.
    ///
    /// # Errors
    ///
    /// If the name or the time limit are not valid, or Redis does not answer.
    pub async fn lease(
        &self,
        name: &str,
        time_limit: Duration,
    ) -> Result<Option<Lease>, CallError> {
        let _ = (name, time_limit);
        Err(CallError::refused(Code::Internal, "leases are not built yet"))
    }
}

impl Lease {
    /// Renews the lease for its whole time limit. Returns `false` if it has ended: another owner
    /// may have it, and the work that it protects must stop. Renew every third of the time limit.
    ///
    /// # Errors
    ///
    /// If Redis does not answer. Stop the work at the latest when the time limit has passed since
    /// the last renewal.
    pub async fn renew(&self) -> Result<bool, CallError> {
        let _ = (&self.client, &self.name, self.time_limit);
        Err(CallError::refused(Code::Internal, "leases are not built yet"))
    }

    /// Gives up the lease. Returns `false` if it had ended before; a lease of another owner is not
    /// affected.
    ///
    /// # Errors
    ///
    /// If Redis does not answer; the lease then ends by its time limit.
    pub async fn release(self) -> Result<bool, CallError> {
        Err(CallError::refused(Code::Internal, "leases are not built yet"))
    }

    /// Returns the id of this ownership; no two are equal.
    #[must_use]
    pub fn owner(&self) -> &str {
        &self.owner
    }
}
