//! Recurring schedules: every worker proposes every tick, and Redis accepts each once.
//!
//! One task per schedule, so that none waits for another's queue. All workers are equal: the second
//! proposal of a tick is ignored, and the schedule continues while one worker lives.
//!
//! The queue is part of a schedule: workers that send it to different queues (by their settings, or
//! by another mapping of its job) each enqueue it there.

use std::sync::Arc;
use std::time::Duration;

use redcall_common::auth::{Keyring, LONGEST_MS};
use redcall_common::backoff::Backoff;
use redcall_common::cron::Cron;
use redcall_common::keys::{Keys, QueueKeys};
use redcall_common::limits::batch_len;
use redcall_common::request::Envelope;
use redcall_common::settings::{Missed, ScheduleSettings, Settings};
use redcall_common::time::millis;
use redcall_store::{
    Connection, Session as _, SharedOps as _, StoreError, Tick, Ticked, UpkeepOps as _,
};
use serde_json::value::RawValue;
use tokio::time::sleep;

use super::Background;
use crate::causes::with_causes;
use crate::error::WorkerError;
use crate::mapping::Mapping;
use crate::time::REDIS_TIMEOUT;

/// Longest sleep of a task: the offset to Redis's clock is measured every few seconds, and may
/// jump.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);
/// Pauses after a failed attempt to enqueue a tick.
const PAUSES: Backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(1));
/// How far the last tick may be ahead of the present time, which is an estimate.
const MAX_AHEAD_MS: u64 = 1000;
/// Most missed ticks that are enqueued later.
const MAX_MISSED: usize = 1000;
/// Most ticks in one command: heartbeats share its connection.
const BATCH_MAX: usize = 100;

/// The loops that enqueue all schedules of some settings. Loops for changed settings continue from
/// the last ticks of these.
pub(crate) struct Schedules {
    _loops: Vec<Background>,
}

impl Schedules {
    /// Starts the loops, which first warn of a job that neither `mapping` nor another worker maps.
    /// Fails if a schedule is invalid, which the settings reader excludes.
    pub(crate) fn spawn(
        settings: &Settings,
        mapping: &Mapping,
        link: &Arc<Connection>,
    ) -> Result<Self, WorkerError> {
        let keys = Keys::new(&settings.redis.prefix);
        let mut loops = Vec::with_capacity(settings.schedules.len());
        let auth = settings.auth.as_ref().filter(|auth| auth.required && auth.sign_with.is_none());
        if auth.is_some() && !settings.schedules.is_empty() {
            tracing::warn!(
                "[auth] has no `sign_with`: workers will refuse the ticks of [schedules]"
            );
        }
        for (name, schedule) in &settings.schedules {
            let schedule = Schedule::new(settings, &keys, name, schedule)?;
            let (link, keys) = (link.clone(), keys.clone());
            let mapped = mapping.get(&schedule.job);
            let misplaced =
                mapped.and_then(|mapped| mapped.misplaced(&schedule.job, &schedule.queue));
            if let Some(why) = misplaced {
                schedule.log_misplaced(&why);
            }
            let is_mapped = mapped.is_some();
            loops.push(Background::spawn("schedule", async move {
                if !is_mapped {
                    schedule.log_unmapped(&link).await;
                }
                keep(schedule, link, keys).await;
            }));
        }
        Ok(Self { _loops: loops })
    }
}

/// One schedule, parsed.
struct Schedule {
    name: String,
    job: String,
    data: Box<RawValue>,
    cron: Cron,
    missed: Missed,
    /// How late a tick may be without counting as missed, ms.
    grace_ms: u64,
    queue: QueueKeys,
    max_length: u64,
    /// Signs the ticks, if workers may require that.
    keyring: Option<Keyring>,
}

/// Enqueues the ticks of one schedule until aborted.
async fn keep(schedule: Schedule, link: Arc<Connection>, keys: Keys) {
    // The last tick by Redis's reply, which includes other workers' ticks.
    let mut last = None;
    let mut pause = PAUSES.first();
    // `is_full`: due ticks do not fit into the queue.
    let (mut at_end, mut is_full) = (false, false);
    loop {
        let now = link.now_ms();
        if last.is_some_and(|last| last > now.saturating_add(MAX_AHEAD_MS)) {
            // Redis's clock was set back since its reply: the last tick is read again.
            last = None;
            sleep(pause).await;
            pause = PAUSES.following(pause);
        }
        let due = last.map_or_else(Vec::new, |last| schedule.due(last, now));
        if let Some(known) = last
            && due.is_empty()
        {
            if let Some(next) = schedule.cron.next_after(now.max(known)) {
                sleep(Duration::from_millis(next - now).min(LONGEST_SLEEP)).await;
                at_end = false;
            } else {
                // The last tick at Redis, or its clock, is beyond the calendar. The schedule
                // continues once that is corrected.
                if !at_end {
                    schedule.log_end(now, known);
                }
                sleep(LONGEST_SLEEP).await;
                (at_end, last) = (true, None);
            }
            continue;
        }
        match schedule.enqueue(&link, &keys, last, &due).await {
            Ok(ticked) => {
                schedule.log_moved(&due, &ticked);
                let before = last.replace(ticked.last_ms);
                if ticked.ahead_ms > 0 {
                    let (schedule, ahead_ms) = (&schedule.name, ticked.ahead_ms);
                    tracing::warn!(
                        schedule,
                        ahead_ms,
                        "resetting a schedule: Redis's clock was set back behind its last tick"
                    );
                }
                if before.is_none() {
                    schedule.log_missed(ticked.last_ms, now);
                }
                if before.is_none_or(|before| before < ticked.last_ms) {
                    (pause, is_full) = (PAUSES.first(), false);
                    continue;
                }
                // Otherwise this clock was ahead of Redis's, and the tick is retried when due.
                if has_no_room(&due, &ticked) && !is_full {
                    is_full = true;
                    let (schedule, queue) = (&schedule.name, schedule.queue.name());
                    tracing::warn!(schedule, queue, "delaying ticks: its queue is full");
                }
            }
            Err(error) if pause == PAUSES.first() => {
                tracing::warn!(
                    schedule = schedule.name,
                    error = %with_causes(&error),
                    "retrying to enqueue a tick"
                );
            }
            Err(error) => {
                tracing::debug!(schedule = schedule.name, %error, "still cannot enqueue a tick");
            }
        }
        sleep(pause).await;
        pause = PAUSES.following(pause);
    }
}

/// Returns `true` if the next of `due` is due, but was not enqueued: the queue is full.
fn has_no_room(due: &[u64], ticked: &Ticked) -> bool {
    let next = due.iter().find(|at| **at > ticked.last_ms);
    next.is_some_and(|at| *at <= ticked.now_ms)
}

impl Schedule {
    fn new(
        settings: &Settings,
        keys: &Keys,
        name: &str,
        schedule: &ScheduleSettings,
    ) -> Result<Self, WorkerError> {
        let wrong = |key: &str, problem: String| {
            WorkerError::mapping(settings, format!("schedules.{name}.{key}"), problem)
        };
        let cron = Cron::new(&schedule.cron, &schedule.timezone);
        let data = RawValue::from_string(schedule.data.clone());
        let queue = settings.queue_of(schedule);
        Ok(Self {
            name: name.to_owned(),
            job: schedule.job.clone(),
            data: data.map_err(|error| wrong("data", error.to_string()))?,
            cron: cron.map_err(|error| wrong("cron", error.to_string()))?,
            missed: schedule.missed,
            grace_ms: millis(2 * settings.worker.lease),
            queue: keys.of(&queue),
            max_length: settings.max_length(&queue),
            keyring: settings.auth.as_ref().map(Keyring::new),
        })
    }

    /// Returns the ticks to enqueue after `last`, earliest first; later calls return further ones.
    fn due(&self, last: u64, now: u64) -> Vec<u64> {
        // Earlier ticks are missed.
        let timely = now.saturating_sub(self.grace_ms);
        let max_missed = match self.missed {
            Missed::Skip => 0,
            Missed::Last => 1,
            Missed::All => MAX_MISSED,
        };
        let missed_until = timely.saturating_sub(1);
        let mut due = match max_missed {
            0 => Vec::new(),
            _ => self.cron.latest(last, missed_until, max_missed),
        };
        due.truncate(BATCH_MAX);
        let mut after = last.max(missed_until);
        while due.len() < BATCH_MAX {
            let Some(tick) = self.cron.next_after(after).filter(|tick| *tick <= now) else { break };
            due.push(tick);
            after = tick;
        }
        due
    }

    /// Enqueues the first of `due`; if there are none, reads the last tick.
    async fn enqueue(
        &self,
        link: &Connection,
        keys: &Keys,
        last: Option<u64>,
        due: &[u64],
    ) -> Result<Ticked, StoreError> {
        let mut ticks: Vec<Tick> =
            due.iter().map(|at_ms| self.tick(*at_ms, link.now_ms())).collect();
        ticks.truncate(batch_len(ticks.iter().map(|tick| tick.envelope.len())));
        let (queue, name) = (&self.queue, &self.name);
        let ticked = link.tick(queue, self.max_length, name, last, &ticks, REDIS_TIMEOUT).await?;
        if last.is_none() || ticked.enqueued > 0 {
            tracing::debug!(schedule = name, enqueued = ticked.enqueued, "ticked");
            // Lists the queue for operators even if no worker polls it.
            if let Err(error) = link.note_queues(keys, &[queue.name()], REDIS_TIMEOUT).await {
                tracing::debug!(%error, "cannot store the queue's name");
            }
        }
        Ok(ticked)
    }

    fn tick(&self, at_ms: u64, now_ms: u64) -> Tick {
        // The same for every worker that proposes this tick.
        let id = format!("tick-{}-{at_ms}", self.name);
        let mut envelope = Envelope::new(&id, &self.job, &self.data, at_ms);
        // The waiting time in the queue is unknown.
        let claims = envelope.claims(self.queue.name(), now_ms + LONGEST_MS);
        let token = self.keyring.as_ref().and_then(|keyring| keyring.sign(&claims));
        envelope.auth = token.as_ref();
        Tick { at_ms, envelope: envelope.encode() }
    }

    /// Logs, at the start, that no live worker handles the job.
    async fn log_unmapped(&self, link: &Connection) {
        let (schedule, job, queue) = (&self.name, &self.job, self.queue.name());
        match link.mapped_names(&self.queue, REDIS_TIMEOUT).await {
            Ok(names) if names.contains(job) => {}
            Ok(_) => tracing::warn!(
                schedule,
                job,
                queue,
                "no live worker handles the schedule's job: its ticks become dead letters"
            ),
            Err(error) => {
                tracing::warn!(
                    schedule,
                    job,
                    queue,
                    error = %with_causes(&error),
                    "this worker does not handle the schedule's job"
                );
            }
        }
    }

    /// Logs, at the start, why each tick fails.
    fn log_misplaced(&self, why: &str) {
        let (schedule, job, queue) = (&self.name, &self.job, self.queue.name());
        tracing::error!(schedule, job, queue, why, "the schedule's ticks will fail");
    }

    /// Logs once, at the start, that ticks were missed, and the rule for them.
    fn log_missed(&self, last: u64, now: u64) {
        let missed = |tick: &u64| tick.saturating_add(self.grace_ms) < now;
        if self.cron.next_after(last).as_ref().is_some_and(missed) {
            let (schedule, rule) = (&self.name, self.missed);
            tracing::warn!(schedule, ?rule, "missed ticks while no worker ran");
        }
    }

    /// Logs the ticks of `due` that this worker moved to the end of a gap in local time.
    fn log_moved(&self, due: &[u64], ticked: &Ticked) {
        let enqueued = due.iter().rev().skip_while(|at| **at > ticked.last_ms);
        for at_ms in enqueued.take(ticked.enqueued).filter(|at| self.cron.is_moved(**at)) {
            let schedule = &self.name;
            tracing::info!(schedule, at_ms, "enqueued a tick after a gap in local time");
        }
    }

    /// Logs that no tick follows.
    fn log_end(&self, now_ms: u64, last_ms: u64) {
        let (schedule, queue) = (&self.name, self.queue.name());
        let message = "no tick follows the last one: correct it, in the hash `ticks` of the \
                       queue, or Redis's clock";
        tracing::error!(schedule, queue, last_ms, now_ms, "{message}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_763_683_200_000;

    /// A schedule of every second, whose ticks are missed after a second.
    fn every_second(missed: Missed) -> Schedule {
        let mut settings = Settings::default();
        settings.worker.lease = Duration::from_millis(500);
        let schedule = ScheduleSettings {
            job: "report".to_owned(),
            data: r#"{"a":[]}"#.to_owned(),
            queue: None,
            cron: "* * * * * *".to_owned(),
            timezone: "UTC".to_owned(),
            missed,
        };
        Schedule::new(&settings, &Keys::new("redcall"), "nightly", &schedule).unwrap()
    }

    #[test]
    fn only_a_tick_that_is_due_finds_its_queue_full() {
        let ticked = |last_ms| Ticked { enqueued: 0, last_ms, ahead_ms: 0, now_ms: NOW };
        assert!(has_no_room(&[NOW], &ticked(NOW - 1000)));
        assert!(has_no_room(&[NOW - 1000, NOW], &ticked(NOW - 1000)));
        assert!(!has_no_room(&[NOW + 1], &ticked(NOW - 1000)), "the tick is not due");
        assert!(
            !has_no_room(&[NOW - 1000, NOW + 1], &ticked(NOW - 1000)),
            "the next tick is not due"
        );
        assert!(!has_no_room(&[], &ticked(NOW - 1000)));
    }

    #[test]
    fn tick_is_the_same_on_every_worker() {
        let tick = every_second(Missed::Skip).tick(NOW, NOW);
        let expected = [
            r#"{"id":"tick-nightly-1763683200000","name":"report","data":{"a":[]},"#,
            r#""enqueued_at":1763683200000}"#,
        ];
        assert_eq!(tick, Tick { at_ms: NOW, envelope: expected.concat() });
    }

    #[test]
    fn missed_ticks_follow_the_rule_of_the_schedule() {
        let due = |missed, ago: u64| every_second(missed).due(NOW - ago, NOW);
        for missed in [Missed::Skip, Missed::Last, Missed::All] {
            assert_eq!(due(missed, 0), [0; 0]);
            assert_eq!(due(missed, 500), [NOW], "{missed:?}");
            assert_eq!(due(missed, 2000), [NOW - 1000, NOW], "not late yet: {missed:?}");
        }
        assert_eq!(due(Missed::Skip, 5000), [NOW - 1000, NOW]);
        assert_eq!(due(Missed::Last, 5000), [NOW - 2000, NOW - 1000, NOW]);
        let all = [NOW - 4000, NOW - 3000, NOW - 2000, NOW - 1000, NOW];
        assert_eq!(due(Missed::All, 5000), all);
    }

    #[test]
    fn all_rule_enqueues_the_latest_thousand_missed_ticks() {
        let schedule = every_second(Missed::All);
        let mut last = NOW - 5_000_000;
        let mut made_up = Vec::new();
        loop {
            let due = schedule.due(last, NOW);
            assert!(due.len() <= BATCH_MAX);
            let Some(latest) = due.last() else { break };
            last = *latest;
            made_up.extend(due);
        }
        assert!(made_up.is_sorted());
        assert_eq!((made_up.len(), made_up[0], last), (1002, NOW - 1_001_000, NOW));
    }

    #[test]
    fn invalid_schedule_is_reported_with_its_key() {
        let mut settings = Settings::default();
        let schedule = |cron: &str, data: &str| ScheduleSettings {
            job: "a".to_owned(),
            data: data.to_owned(),
            queue: None,
            cron: cron.to_owned(),
            timezone: "UTC".to_owned(),
            missed: Missed::Skip,
        };
        settings.file = Some("/f".into());
        let wrong = |cron: &str, data: &str| {
            let schedule = schedule(cron, data);
            let made = Schedule::new(&settings, &Keys::new("redcall"), "x", &schedule);
            made.err().map(|error| error.to_string()).unwrap_or_default()
        };
        let cron = wrong("soon", "null");
        assert_eq!(cron, "/f: schedules.x.cron: the cron expression cannot be read");
        assert!(wrong("* * * * *", "{").starts_with("/f: schedules.x.data: "));
    }
}
