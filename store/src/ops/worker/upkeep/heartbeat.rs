//! `heartbeat.lua`: renew a worker's registration and report expired workers.

use std::time::Duration;

use redis::Value;

use crate::connection::Connection;
use crate::error::StoreError;
use crate::ops::reply::{Whole, read};
use crate::script::{Reading, script};
use redcall_common::keys::QueueKeys;
use redcall_common::time::millis;

script! {
    /// Renew a worker's registration.
    HEARTBEAT = "worker/heartbeat", Runs, of Worker;
    with LIVE, SCAN;
    read |value, _| reply(value).map(Reading::of)
}

/// A worker's heartbeat on one queue.
#[derive(Debug)]
pub struct HeartbeatRequest<'a> {
    /// Its id, new at every start.
    pub worker: &'a str,
    /// The lease: how long the worker counts as alive from now.
    pub lease: Duration,
    /// The worker as `redcall workers` shows it, JSON.
    pub info: &'a str,
    /// The job names that it handles.
    pub names: &'a [String],
}

/// The reply to a heartbeat.
#[derive(Debug, Default)]
pub struct Heartbeat {
    /// Workers whose lease has ended.
    pub dead: Vec<String>,
    /// Names with parked requests, each with `true` if a live worker handles it.
    pub parked: Vec<(String, bool)>,
    /// When the worker's lease on the queue ends, Redis time in ms.
    pub ends_ms: u64,
    /// The number of requests that this worker has leased on the queue.
    pub held: usize,
    /// `true` if the worker was registered; otherwise other workers have taken its leases over.
    pub known: bool,
    /// `true` if the queue is paused.
    pub paused: bool,
    /// When the next request becomes due on the queue, Redis time in ms.
    pub due_ms: Option<u64>,
    /// The leased requests of this worker, and those in its lane inboxes, that were cancelled.
    pub cancelled: Vec<String>,
    /// Names with partitioned requests, each with `true` if a live worker handles it.
    pub limited: Vec<(String, bool)>,
    /// `true` if deferred requests have passed their deadline: see
    /// [`crate::UpkeepOps::expire`].
    pub over: bool,
}

impl Connection {
    pub(crate) async fn heartbeat(
        &self,
        keys: &QueueKeys,
        beat: &HeartbeatRequest<'_>,
        timeout: Duration,
    ) -> Result<Heartbeat, StoreError> {
        let (workers, names) = (keys.workers(), keys.names());
        let (info, parked) = (keys.worker(beat.worker), keys.parked_names());
        let (live, leases) = (keys.live(), keys.leases(beat.worker));
        let (schedule, throttled, paused) = (keys.schedule(), keys.throttled(), keys.paused());
        let (cancelled, limited) = (keys.cancelled(), keys.limited_names());
        let deferred = keys.deferred_ids();
        let inboxes = [0, 1].map(|number| keys.lane_inbox(beat.worker, number));
        let lanes = keys.lanes();
        let mut call = HEARTBEAT.call(&[
            &workers,
            &names,
            &info,
            &parked,
            &live,
            &leases,
            &schedule,
            &throttled,
            &paused,
            &cancelled,
            &limited,
            &deferred,
            &lanes,
            &inboxes[0],
            &inboxes[1],
        ]);
        let lease_ms = millis(beat.lease);
        call.arg(beat.worker).arg(lease_ms).arg(beat.info).arg(keys.base()).arg(beat.names);
        let (now, mut reply) = reply(self.run(&HEARTBEAT, &call, timeout).await?)?;
        self.set_clock(now);
        reply.ends_ms = now.unsigned_abs().saturating_add(lease_ms);
        Ok(reply)
    }
}

/// Reads the script's reply: Redis time in ms, and the heartbeat.
pub(crate) fn reply(value: Value) -> Result<(i64, Heartbeat), StoreError> {
    type FlaggedNames = Vec<(String, i64)>;
    type Raw =
        (i64, Vec<String>, FlaggedNames, Whole, i64, i64, Whole, Vec<String>, FlaggedNames, Whole);
    let raw: Raw = read("heartbeat", value)?;
    let (now, dead, parked, held, known, paused, due, cancelled, limited, over) = raw;
    let names =
        |names: FlaggedNames| names.into_iter().map(|(name, live)| (name, live == 1)).collect();
    let heartbeat = Heartbeat {
        dead,
        ends_ms: 0,
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
