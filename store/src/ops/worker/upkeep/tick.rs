//! `tick.lua`: enqueue the ticks of a recurring schedule, each once.

use std::time::Duration;

use redis::Value;

use crate::connection::Connection;
use crate::error::StoreError;
use crate::ops::reply::{Whole, read};
use crate::script::{Reading, script};
use redcall_common::keys::QueueKeys;

script! {
    /// Push the ticks of a recurring schedule.
    TICK = "worker/tick", Refused, of Worker;
    with UNDO, ROOM;
    read |value, _| ticked(value).map(Reading::of)
}

/// One tick and its request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tick {
    /// Redis time, ms.
    pub at_ms: u64,
    /// The envelope.
    pub envelope: String,
}

/// The result of enqueuing ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticked {
    /// How many ticks this call pushed. The others up to `last_ms` had been pushed before.
    pub enqueued: usize,
    /// The last pushed tick, Redis time in ms; if there is none, when the schedule was first seen.
    pub last_ms: u64,
    /// How far the stored last tick was ahead of now, ms; it was replaced with now. It was written
    /// while Redis's clock was ahead.
    pub ahead_ms: u64,
    /// Redis time, ms: a later tick is not due yet.
    pub now_ms: u64,
}

impl Connection {
    pub(crate) async fn tick(
        &self,
        keys: &QueueKeys,
        max_length: u64,
        schedule: &str,
        known_ms: Option<u64>,
        ticks: &[Tick],
        timeout: Duration,
    ) -> Result<Ticked, StoreError> {
        let mut call = TICK.call(&[
            keys.queue(),
            keys.ticks(),
            keys.schedule(),
            keys.limited_names(),
            keys.parked_names(),
            keys.deferred_ids(),
        ]);
        call.arg(schedule).arg(max_length);
        call.arg(known_ms.map_or_else(String::new, |known| known.to_string()));
        for tick in ticks {
            call.arg(tick.at_ms).arg(&tick.envelope);
        }
        let ticked = ticked(self.run(&TICK, &call, timeout).await?)?;
        // Corrects the clock of a caller that was early.
        self.set_clock(i64::try_from(ticked.now_ms).unwrap_or(i64::MAX));
        Ok(ticked)
    }
}

/// Reads the script's reply.
pub(crate) fn ticked(value: Value) -> Result<Ticked, StoreError> {
    let (enqueued, last_ms, now_ms, ahead_ms): (Whole, Whole, Whole, Whole) = read("tick", value)?;
    let (enqueued, last_ms) = (enqueued.count(), last_ms.0);
    Ok(Ticked { enqueued, last_ms, ahead_ms: ahead_ms.0, now_ms: now_ms.0 })
}
