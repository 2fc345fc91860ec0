//! `probe.lua`: a request of the worker's own, to see that its polls lease and settle.
//!
//! It goes the way of every request, but on keys that only its worker knows: nobody else can take
//! it, nothing counts it, and what a worker that dies leaves of it goes by its TTL.

use std::time::Duration;

use redis::Value;

use super::poll::WorkerKeys;
use super::reply::read;
use crate::error::StoreError;
use crate::link::Link;
use crate::script::PROBE;
use redcall_common::keys::QueueKeys;
use redcall_common::time::millis;

/// How long what belongs to a probe lies at Redis at most.
const TTL: Duration = Duration::from_secs(60);

impl WorkerKeys {
    /// The key names of the probes of `worker`, in the slot of `queue`, whose registry says
    /// whether the worker lives.
    #[must_use]
    pub fn probe(queue: &QueueKeys, worker: &str) -> Self {
        Self::new(queue.probe(worker), worker, 1, TTL).registered_at(queue)
    }
}

impl Link {
    /// Puts the envelope of a probe where the next poll on `keys` takes it from.
    ///
    /// # Errors
    ///
    /// After [`StoreError::Lost`] it may lie there; the next one takes its place.
    pub async fn put_probe(
        &self,
        keys: &WorkerKeys,
        envelope: &str,
        within: Duration,
    ) -> Result<(), StoreError> {
        let own = &keys.queue;
        let mut call = PROBE.call(&[own.queue(), keys.leases.clone(), own.live()]);
        call.arg(envelope).arg(millis(TTL));
        put(self.run(&PROBE, &call, within).await?)
    }
}

/// Reads the script's answer.
pub(super) fn put(value: Value) -> Result<(), StoreError> {
    read("probe", value)
}
