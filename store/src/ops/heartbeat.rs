//! `heartbeat.lua`: a worker says that it lives, and learns who does not.

use std::time::Duration;

use redis::Value;

use super::reply::{Whole, read};
use crate::error::StoreError;
use crate::link::Link;
use crate::script::HEARTBEAT;
use redcall_common::keys::QueueKeys;
use redcall_common::time::millis;

/// What a worker says of itself on one queue.
#[derive(Debug)]
pub struct Beat<'a> {
    /// Its id, new at every start.
    pub worker: &'a str,
    /// How long it counts as alive from now.
    pub lease: Duration,
    /// What `redcall workers` shows, JSON.
    pub info: &'a str,
    /// The job names that it maps.
    pub names: &'a [String],
}

/// What a worker hears in return.
#[derive(Debug, Default)]
pub struct Heartbeat {
    /// Workers whose lease has ended.
    pub dead: Vec<String>,
    /// Names with parked requests, and whether a live worker maps them.
    pub parked: Vec<(String, bool)>,
    /// How many requests this worker has leased on the queue.
    pub held: usize,
    /// Whether it was in the registry: else others have taken its leases over.
    pub known: bool,
    /// Whether the queue is paused.
    pub paused: bool,
    /// When something becomes due on the queue, Redis time in ms.
    pub due_ms: Option<u64>,
    /// Which of this worker's leases nobody wants any more.
    pub cancelled: Vec<String>,
    /// Names that have sorted requests, and whether a live worker maps them.
    pub limited: Vec<(String, bool)>,
    /// Whether requests were to be answered later and were not in time: [`Link::expire`].
    pub over: bool,
}

impl Link {
    /// Renews the worker's lease on one queue.
    ///
    /// # Errors
    ///
    /// The lease may have been renewed after [`StoreError::Lost`].
    pub async fn heartbeat(
        &self,
        keys: &QueueKeys,
        beat: &Beat<'_>,
        within: Duration,
    ) -> Result<Heartbeat, StoreError> {
        let (workers, names) = (keys.workers(), keys.names());
        let (info, parked) = (keys.worker(beat.worker), keys.parked_names());
        let (live, leases) = (keys.live(), keys.leases(beat.worker));
        let (schedule, throttled, paused) = (keys.schedule(), keys.throttled(), keys.paused());
        let (cancelled, limited) = (keys.cancelled(), keys.limited_names());
        let deferred = keys.deferred_ids();
        let mut call = HEARTBEAT.call(&[
            &workers, &names, &info, &parked, &live, &leases, &schedule, &throttled, &paused,
            &cancelled, &limited, &deferred,
        ]);
        let lease_ms = millis(beat.lease);
        call.arg(beat.worker).arg(lease_ms).arg(beat.info).arg(keys.base()).arg(beat.names);
        let (now, heard) = heard(self.run(&HEARTBEAT, &call, within).await?)?;
        self.set_clock(now);
        Ok(heard)
    }
}

/// Reads the script's answer: Redis time in ms, and the rest.
pub(super) fn heard(value: Value) -> Result<(i64, Heartbeat), StoreError> {
    type Names = Vec<(String, i64)>;
    type Raw = (i64, Vec<String>, Names, Whole, i64, i64, Whole, Vec<String>, Names, Whole);
    let raw: Raw = read("heartbeat", value)?;
    let (now, dead, parked, held, known, paused, due, cancelled, limited, over) = raw;
    let names = |names: Names| names.into_iter().map(|(name, live)| (name, live == 1)).collect();
    let heartbeat = Heartbeat {
        dead,
        parked: names(parked),
        held: held.count(),
        known: known == 1,
        paused: paused == 1,
        due_ms: (due.0 > 0).then_some(due.0),
        cancelled,
        limited: names(limited),
        over: over.0 > 0,
    };
    Ok((now, heartbeat))
}
