//! The dispatcher: the loop that starts jobs, ends them in time, and settles them.
//!
//! Single-threaded on purpose: only this loop reads and writes its fields.

use std::sync::Arc;
use std::time::Duration;

use redcall_common::keys::Keys;
use redcall_common::settings::Settings;
use redcall_store::{Leased, LimitRule, Session as _, UpkeepOps as _};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::channels::Channels;
use super::control::Control;
use super::heartbeat::{self, Identity, Status};
use super::io_event::IoEvent;
use super::jobs::Jobs;
use super::poll::{self, InFlightPoll};
use super::pops::Popped;
use super::probe::Probe;
use super::queue::Queue;
use super::schedules::Schedules;
use crate::causes::with_causes;
use crate::error::WorkerError;
use crate::job::{Event, Shared};
use crate::mapping::Mapping;
use crate::metrics::Metrics;
use crate::redis_timeout::REDIS_TIMEOUT;
use crate::reload::Reloaded;
use crate::stop::Stop;
use crate::until::{every, until};

/// Most events handled at once.
const BATCH_MAX: usize = 1024;
/// How often a stopping worker unblocks its pops.
const UNBLOCK_EVERY: Duration = Duration::from_millis(50);
/// Timeout of the last settling and the release, after the drain.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(3);

/// See the module.
pub(crate) struct Dispatcher {
    pub(super) keys: Keys,
    pub(super) identity: Identity,
    pub(super) mapping: Mapping,
    pub(super) shared: Arc<Shared>,
    pub(super) channels: Channels,
    pub(super) handlers: Handle,
    /// In priority order.
    pub(super) queues: Vec<Queue>,
    pub(super) concurrency: usize,
    pub(super) lease: Duration,
    drain_timeout: Duration,
    pub(super) jobs: Jobs,
    pub(super) poll: Option<InFlightPoll>,
    /// Requests that the last poll leased and that are not started yet, by queue.
    pub(super) unstarted: Vec<(usize, Vec<Leased>)>,
    /// The round of heartbeats in flight.
    pub(super) heartbeat_task: Option<JoinHandle<()>>,
    /// `true` if another round must follow at once.
    pub(super) heartbeat_pending: bool,
    pub(super) stop: Stop,
    /// When the connection was made: this worker takes over no leases within one lease of a
    /// reconnect.
    pub(super) connected_since: Instant,
    pub(super) probe: Probe,
    pub(super) metrics: Arc<Metrics>,
    /// Time of the loop's last iteration, which comes every third of a lease at least.
    pub(super) last_iteration: Instant,
}

impl Dispatcher {
    pub(crate) fn new(
        settings: Settings,
        identity: Identity,
        mapping: Mapping,
        shared: Shared,
        channels: Channels,
        handlers: Handle,
        queues: Vec<Queue>,
    ) -> Self {
        let (lease, grace) = (settings.worker.lease, settings.worker.cancel_grace);
        let keys = Keys::new(&settings.redis.prefix);
        // The settings reader ensures at least one queue.
        let first = queues.first().map_or_else(|| keys.of("none"), |own| own.keys.queue.clone());
        let metrics = shared.metrics.clone();
        Self {
            probe: Probe::new(&first, &identity.id, lease),
            keys,
            identity,
            mapping,
            shared: Arc::new(shared),
            channels,
            handlers,
            jobs: Jobs::new(queues.len(), grace, metrics.clone()),
            metrics,
            queues,
            concurrency: settings.worker.concurrency,
            lease,
            drain_timeout: settings.worker.drain_timeout,
            poll: None,
            unstarted: Vec::new(),
            heartbeat_task: None,
            heartbeat_pending: false,
            stop: Stop::No,
            connected_since: Instant::now(),
            last_iteration: Instant::now(),
        }
    }

    /// Runs until stopped.
    pub(crate) async fn run(
        mut self,
        mut events: mpsc::UnboundedReceiver<Event>,
        mut pops: mpsc::UnboundedReceiver<Popped>,
        control: Control,
    ) -> Result<(), WorkerError> {
        let Control { mut stop, mut reloads, mut abandoned, mut checks, pulse } = control;
        let mut io_events =
            self.channels.event_receiver.take().ok_or(WorkerError::IoThreadEnded)?;
        self.first_heartbeat().await?;
        let (id, name) = (&self.identity.id, &self.identity.name);
        tracing::info!(worker = id, name, jobs = self.identity.names.len(), "ready");
        let mut pulse_ticks = pulse.interval();
        let (mut ticks, mut unblocks) = (every(self.lease / 3), every(UNBLOCK_EVERY));
        let mut reconnected = Box::pin(self.shared.link.reconnected());
        let mut heartbeat_reconnected = Box::pin(self.channels.heartbeat_conn.reconnected());
        let notices = self.channels.notices.clone();
        let mut batch = Vec::with_capacity(BATCH_MAX);
        let mut stop_at = None;
        loop {
            pulse.record();
            self.note_stall();
            self.send_out().await;
            self.answer_checks();
            if self.stop > Stop::No && self.is_drained() {
                break;
            }
            let next_end = self.jobs.next_end();
            let next_check = self.queues.iter().filter_map(Queue::next_check).min();
            tokio::select! {
                // In order: stopping first, then events that free capacity, then events that use
                // it.
                biased;
                level = Stop::above(self.stop, &mut stop), if self.stop < Stop::Now => {
                    let drain = level == Stop::Drain;
                    let timeout = if drain { self.drain_timeout } else { Duration::ZERO };
                    stop_at = Some(Instant::now() + timeout);
                    self.stopping(level);
                }
                _ = &mut abandoned, if self.stop < Stop::Now => {
                    stop_at = Some(Instant::now());
                    self.stopping(Stop::Now);
                }
                () = until(stop_at) => break,
                finished = poll::end_of(&mut self.poll) => self.poll_ended(finished),
                count = events.recv_many(&mut batch, BATCH_MAX) => {
                    debug_assert!(count > 0, "the dispatcher holds a sender");
                    batch.drain(..).for_each(|event| self.event(event));
                }
                Some(popped) = pops.recv() => self.popped(popped),
                Some(event) = io_events.recv() => self.io_event(event),
                () = notices.arrived() => self.received(),
                Some(reloaded) = reloads.recv() => self.reload(reloaded),
                () = until(next_end) => self.jobs.end_late(),
                () = until(next_check) => self.check_queues(),
                Some(check) = checks.recv() => self.readiness_check(check),
                () = until(self.probe.next()) => {}
                _ = pulse_ticks.tick() => {}
                _ = ticks.tick() => self.start_heartbeats(),
                _ = unblocks.tick(), if self.stop > Stop::No => self.unblock(),
                () = &mut reconnected => {
                    reconnected = Box::pin(self.shared.link.reconnected());
                    self.after_reconnect();
                    self.queues.iter_mut().for_each(Queue::after_reconnect);
                }
                () = &mut heartbeat_reconnected => {
                    heartbeat_reconnected = Box::pin(self.channels.heartbeat_conn.reconnected());
                    self.after_reconnect();
                    // Messages on the control channels were missed meanwhile.
                    self.start_heartbeats();
                }
            }
        }
        // Later readiness checks report that the worker stops.
        drop(checks);
        self.shut_down(events).await
    }

    /// Replaces the mapping. Running jobs keep their handlers.
    fn reload(&mut self, reloaded: Reloaded) {
        let conn = &self.channels.heartbeat_conn;
        match Schedules::spawn(&reloaded.settings, &reloaded.mapping, conn) {
            Ok(schedules) => self.channels.schedules = schedules,
            Err(error) => {
                tracing::error!(error = %with_causes(&error), "keeping the present schedules")
            }
        }
        let before = std::mem::replace(&mut self.mapping, reloaded.mapping);
        self.handlers.spawn(async move { before.close().await });
        self.queues.iter_mut().for_each(|queue| queue.adopt_mapping(&self.mapping));
        let before = std::mem::replace(&mut self.identity.names, self.mapping.names());
        let after = &self.identity.names;
        let new: Vec<&String> = after.iter().filter(|name| !before.contains(name)).collect();
        let gone: Vec<&String> = before.iter().filter(|name| !after.contains(name)).collect();
        tracing::info!(jobs = after.len(), ?new, ?gone, "reloaded the jobs");
        // Announces the new names at once; a round in flight still has the old ones.
        self.heartbeat_pending = true;
        self.start_heartbeats();
    }

    async fn first_heartbeat(&mut self) -> Result<(), WorkerError> {
        let info = self.identity.info(self.status());
        let queues = heartbeat::served(&self.queues, &self.rules());
        let (link, identity) = (&self.channels.heartbeat_conn, &self.identity);
        let heartbeats = heartbeat::round(link, &queues, identity, self.lease, &info).await;
        heartbeats.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(())
    }

    /// Sends polls until one is in flight, or the last plan found nothing to do. A start may refuse
    /// its request: the plan before it knew neither the outcome to settle nor the freed capacity.
    async fn send_out(&mut self) {
        loop {
            self.work();
            if self.unstarted.is_empty() {
                break;
            }
            self.start_behind_poll().await;
            if self.poll.is_some() {
                break;
            }
        }
        let is_settling = self.poll.is_some() || !self.queues.iter().any(Queue::waits_for_poll);
        debug_assert!(is_settling, "the worker has outcomes to settle, but no poll in flight");
    }

    /// Sends everything that can be sent now: a poll, blocked pops.
    fn work(&mut self) {
        let stopping = self.stop > Stop::No;
        let rules = self.rules();
        if !rules.is_empty() {
            self.start_all_leased(); // running jobs count for the limits
        }
        if self.poll.is_none() {
            let out = self.queues.iter().filter(|queue| queue.popping).count();
            let free = self.free_capacity();
            // Each blocked pop may lease one; but pops must not keep a queue with requests waiting.
            let room = if stopping { 0 } else { free.saturating_sub(out).max(free.min(1)) };
            let poll_all = self.probe.is_to_lease();
            let mut parts = poll::plan(&mut self.queues, room, &rules, poll_all);
            parts.extend(self.probe.part());
            if !parts.is_empty() {
                self.poll = Some(Box::pin(poll::run(self.shared.link.clone(), parts)));
            }
        }
        if !stopping && self.free_capacity() > 0 {
            for queue in &mut self.queues {
                // A pop must not empty a queue whose polls Redis stops: it is polled after a pause.
                let may_pop = queue.paused.is_none() && queue.refused.is_none();
                let idle = !queue.needs_resync && may_pop && !queue.may_have_work();
                if !queue.popping && idle {
                    queue.popping = true;
                    let block = queue.fetch.pops();
                    queue.pops.arm(queue.rules(&rules), block, queue.more);
                }
            }
        }
    }

    /// Returns the names with limits, and the free capacity of each.
    fn rules(&self) -> Arc<[LimitRule]> {
        let queues = self.queues.iter().filter(|queue| queue.service.is_none());
        let others = queues.flat_map(|queue| queue.limited.iter().cloned());
        let others: Vec<String> = others.collect();
        self.mapping.limits(&others, |name| self.jobs.of_name(name)).into()
    }

    fn event(&mut self, event: Event) {
        if let Some((queue, settlement)) = self.jobs.event(event) {
            self.queues[queue].to_settle.push(settlement);
        }
        if self.jobs.take_freed_capacity() {
            // The poll that settled the job may have found no capacity.
            self.queues.iter_mut().for_each(Queue::wake);
        }
    }

    pub(super) fn start_heartbeats(&mut self) {
        if self.heartbeat_task.is_some() {
            return;
        }
        self.heartbeat_pending = false;
        self.channels.rights.check_regularly(&self.channels.heartbeat_conn, &self.channels.events);
        let info = self.identity.info(self.status());
        let queues = heartbeat::served(&self.queues, &self.rules());
        let (link, keys) = (self.channels.heartbeat_conn.clone(), self.keys.clone());
        let (identity, lease, io_events) =
            (self.identity.clone(), self.lease, self.channels.events.clone());
        let follow_up = self.channels.follow_up.clone();
        self.heartbeat_task = Some(tokio::spawn(async move {
            let heartbeats = heartbeat::round(&link, &queues, &identity, lease, &info).await;
            for (queue, beat) in heartbeats.into_iter().enumerate() {
                match beat {
                    Ok(heartbeat) => drop(io_events.send(IoEvent::Heartbeat { queue, heartbeat })),
                    Err(error) => {
                        tracing::warn!(error = %with_causes(&error), "failed to send a heartbeat")
                    }
                }
            }
            let _ = io_events.send(IoEvent::RoundEnded);
            // One at a time: if this takes longer than a round, the next rounds skip it.
            if let Ok(_alone) = follow_up.try_lock() {
                heartbeat::follow_up(&link, &keys, &queues, lease).await;
            }
        }));
    }

    fn status(&self) -> Status {
        Status {
            state: if self.stop > Stop::No { "draining" } else { "running" },
            concurrency: self.concurrency,
            running: self.jobs.len(),
            overdue: self.jobs.overdue(),
            lease: self.lease,
            queues: self.queues.iter().map(|queue| queue.name().to_owned()).collect(),
        }
    }

    fn stopping(&mut self, level: Stop) {
        self.stop = level;
        tracing::info!(stop = ?level, running = self.jobs.len(), "stopping");
        self.unblock();
        self.heartbeat_pending = true;
        self.start_heartbeats();
    }

    /// Unblocks the pops. Repeated while stopping: a pop that does not block yet would miss it, and
    /// keep an idle worker for as long as it blocks.
    fn unblock(&self) {
        for queue in self.queues.iter().filter(|queue| queue.popping) {
            queue.pops.unblock(&self.shared.link);
        }
    }

    fn is_drained(&self) -> bool {
        let is_idle =
            |queue: &Queue| !queue.popping && !queue.has_outcomes() && !queue.has_failed();
        self.jobs.is_empty() && self.poll.is_none() && self.queues.iter().all(is_idle)
    }

    /// Settles ended jobs, returns the other leases, leaves the registry. Has a timeout.
    async fn shut_down(
        mut self,
        mut events: mpsc::UnboundedReceiver<Event>,
    ) -> Result<(), WorkerError> {
        while let Ok(event) = events.try_recv() {
            self.event(event);
        }
        let returned = self.jobs.return_all();
        let left = returned.len();
        for (queue, settlement) in returned {
            self.queues[queue].to_settle.push(settlement);
        }
        if let Some(round) = self.heartbeat_task.take() {
            // The heartbeats sent so far precede the release on the same connection. Any later one
            // would register the worker again.
            round.abort();
            let _ = round.await;
        }
        let settling = async {
            if let Some(poll) = self.poll.take() {
                let finished = poll.await;
                self.poll_ended(finished);
            }
            while self.queues.iter().any(Queue::has_outcomes) {
                self.queues.iter_mut().for_each(|queue| queue.refused = None);
                let parts = poll::plan(&mut self.queues, 0, &Arc::from([]), false);
                let finished = poll::run(self.shared.link.clone(), parts).await;
                self.poll_ended(finished);
            }
            for queue in &mut self.queues {
                queue.pops.close(&self.channels.heartbeat_conn).await?;
                self.channels
                    .heartbeat_conn
                    .release(&queue.keys.queue, &self.identity.id, true, REDIS_TIMEOUT)
                    .await?;
            }
            Ok::<(), WorkerError>(())
        };
        match tokio::time::timeout(SHUTDOWN_TIMEOUT, settling).await {
            Ok(Ok(())) => tracing::info!(given_back = left, "stopped"),
            Ok(Err(error)) => {
                let error = with_causes(&error);
                tracing::warn!(%error, "stopped: other workers take over its jobs")
            }
            Err(_) => tracing::warn!("stopped without Redis: other workers take over its jobs"),
        }
        if self.stop < Stop::Now {
            self.mapping.close().await;
        }
        Ok(())
    }
}
