//! `tick.lua`: enqueue the ticks of a recurring schedule, each once.

use std::time::Duration;

use redis::Value;

use super::reply::{Whole, read};
use crate::error::StoreError;
use crate::link::Link;
use crate::script::TICK;
use redcall_common::keys::QueueKeys;

/// One tick and the request that it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tick {
    /// Redis time, ms.
    pub at_ms: u64,
    /// The envelope.
    pub envelope: String,
}

/// What became of the ticks of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticked {
    /// How many were pushed by this call. Those up to `last_ms` that were not had been before.
    pub enqueued: usize,
    /// The last tick that anybody has pushed, Redis time in ms; where nobody has, when the
    /// schedule was first heard of.
    pub last_ms: u64,
    /// By how many ms the last tick that was stored lay ahead of now, which has taken its place: it
    /// was written while Redis's clock was ahead.
    pub ahead_ms: u64,
    /// Redis time, ms: a tick later than that is not due yet.
    pub now_ms: u64,
}

impl Link {
    /// Pushes those of `ticks` (the earliest first) that nobody has pushed yet. Left out are those
    /// beyond Redis's own time and those for which the queue has no room; `max_length` 0 means no
    /// cap. Without ticks it tells of the last one.
    ///
    /// Where no last tick is stored, `known_ms` takes its place, or else the time of now: a
    /// schedule that is new has missed nothing.
    ///
    /// # Errors
    ///
    /// After [`StoreError::Lost`] the ticks may have been pushed; calling again is harmless.
    pub async fn tick(
        &self,
        keys: &QueueKeys,
        max_length: u64,
        schedule: &str,
        known_ms: Option<u64>,
        ticks: &[Tick],
        within: Duration,
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
        let ticked = ticked(self.run(&TICK, &call, within).await?)?;
        // Whoever called too early knows better from here on.
        self.set_clock(i64::try_from(ticked.now_ms).unwrap_or(i64::MAX));
        Ok(ticked)
    }
}

/// Reads the script's answer.
pub(super) fn ticked(value: Value) -> Result<Ticked, StoreError> {
    let (enqueued, last_ms, now_ms, ahead_ms): (Whole, Whole, Whole, Whole) = read("tick", value)?;
    let (enqueued, last_ms) = (enqueued.count(), last_ms.0);
    Ok(Ticked { enqueued, last_ms, ahead_ms: ahead_ms.0, now_ms: now_ms.0 })
}
