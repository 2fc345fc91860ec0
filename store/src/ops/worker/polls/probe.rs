//! `probe.lua`: a request of the worker's own, which shows that its polls lease and settle.
//!
//! It is polled like every request, but on keys that only its worker knows: no other worker can
//! lease it, no metric counts it, and its TTL removes the rest if the worker dies.

use std::time::Duration;

use redis::Value;

use crate::connection::Connection;
use crate::error::StoreError;
use crate::ops::reply::read;
use crate::ops::worker::polls::poll::WorkerKeys;
use crate::script::{Reading, script};
use redcall_common::keys::QueueKeys;
use redcall_common::time::millis;

script! {
    /// Store a probe for its worker's next poll.
    PROBE = "worker/probe", Runs, of Worker;
    read |value, _| put(value).map(Reading::of)
}

/// The TTL of a probe's keys.
const TTL: Duration = Duration::from_secs(60);

impl WorkerKeys {
    /// Builds the keys of the probes of `worker`, in the hash slot of `queue`, whose registry shows
    /// whether the worker is alive.
    #[must_use]
    pub fn probe(queue: &QueueKeys, worker: &str) -> Self {
        Self::new(queue.probe(worker), worker, 1, TTL).registered_at(queue)
    }
}

impl Connection {
    pub(crate) async fn put_probe(
        &self,
        keys: &WorkerKeys,
        envelope: &str,
        timeout: Duration,
    ) -> Result<(), StoreError> {
        let own = &keys.queue;
        let mut call = PROBE.call(&[own.queue(), keys.leases.clone(), own.live()]);
        call.arg(envelope).arg(millis(TTL));
        put(self.run(&PROBE, &call, timeout).await?)
    }
}

/// Reads the script's reply.
pub(crate) fn put(value: Value) -> Result<(), StoreError> {
    read("probe", value)
}
