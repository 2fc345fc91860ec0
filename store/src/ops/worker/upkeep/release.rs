//! `release.lua`: return a worker's leased requests to one queue.

use std::time::Duration;

use redis::Value;

use crate::connection::Connection;
use crate::error::StoreError;
use crate::ops::reply::read;
use crate::script::{Reading, script};
use redcall_common::keys::QueueKeys;

script! {
    /// Return a worker's leased requests to the queue.
    RELEASE = "worker/release", Runs, of Worker;
    with UNDO, LIVE, RECORD, LIMITS, SCAN;
    read |value, _| released(value).map(Reading::of)
}

/// The result of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Released {
    /// This number of requests went back to the head of the queue.
    Back(usize),
    /// The worker is alive: nothing changed.
    StillAlive,
}

impl Connection {
    pub(crate) async fn release(
        &self,
        keys: &QueueKeys,
        worker: &str,
        by_itself: bool,
        timeout: Duration,
    ) -> Result<Released, StoreError> {
        let (queue, workers, live) = (keys.queue(), keys.workers(), keys.live());
        let (leases, inbox, info) = (keys.leases(worker), keys.inbox(worker), keys.worker(worker));
        let (attempts, permits, poll) = (keys.attempts(), keys.permits(), keys.poll(worker));
        let (limited, control) = (keys.limited_names(), keys.control());
        let inboxes = [0, 1].map(|number| keys.lane_inbox(worker, number));
        let records = [0, 1].map(|number| keys.lane_poll(worker, number));
        let lanes = keys.lanes();
        let mut call = RELEASE.call(&[
            &queue,
            &workers,
            &live,
            &leases,
            &inbox,
            &info,
            &attempts,
            &permits,
            &poll,
            &limited,
            &control,
            &inboxes[0],
            &inboxes[1],
            &records[0],
            &records[1],
            &lanes,
        ]);
        call.arg(worker).arg(if by_itself { "1" } else { "0" }).arg(keys.base());
        let mut all = 0;
        // After this number of calls the next heartbeat releases the rest.
        for _ in 0..1_000 {
            let (released, left) = released(self.run(&RELEASE, &call, timeout).await?)?;
            match released {
                Released::Back(back) => all += back,
                Released::StillAlive => return Ok(released),
            }
            if !left {
                break;
            }
        }
        Ok(Released::Back(all))
    }
}

/// Reads the script's reply; `true` if another call has to follow.
pub(crate) fn released(value: Value) -> Result<(Released, bool), StoreError> {
    let (back, left): (i64, i64) = read("release", value)?;
    let released = usize::try_from(back).map_or(Released::StillAlive, Released::Back);
    Ok((released, left > 0))
}
