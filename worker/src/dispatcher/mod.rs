//! The dispatcher: the loop that starts jobs, ends them in time, and settles them.
//!
//! Single-threaded on purpose: one loop waits for all input, and hands it to the owner of the state
//! that it changes. An owner alone writes its fields. It has a `next` or a deadline for the loop,
//! and one method per message.
//!
//! | file | owns |
//! |---|---|
//! | `queue/` | one queue as last seen: its length, pauses, outcomes, control messages |
//! | `jobs/` | running jobs, their deadlines, the capacity |
//! | `polls/` | the poll in flight, requests that are not started yet |
//! | `lanes.rs` | nothing: the jobs that lanes hand over |
//! | `heartbeats/` | rounds of heartbeats, reconnects |
//! | `readiness/` | readiness checks, the probe, the known rights |
//! | `shutdown.rs` | the level of a stop, the end of the drain, the last settling |
//! | `setup.rs` | the values that all of them read: connections, mapping, identity |
//! | `inputs.rs`, `io_event.rs` | the receivers of the loop, and the messages of its tasks |

mod heartbeats;
mod inputs;
mod io_event;
mod jobs;
mod lanes;
mod polls;
mod queue;
mod readiness;
mod setup;
mod shutdown;

use std::sync::Arc;

use redcall_common::settings::WorkerSettings;
use tokio::time::Instant;

use self::heartbeats::{HeartbeatStep, Heartbeats};
pub(crate) use self::inputs::Inputs;
use self::io_event::IoEvent;
use self::jobs::Jobs;
use self::polls::Polls;
use self::polls::poll::FinishedPoll;
pub(crate) use self::queue::Queue;
pub(crate) use self::queue::notices::Notices;
use self::readiness::Checks;
use self::readiness::probe::Probe;
pub(crate) use self::readiness::rights::Rights;
pub(crate) use self::setup::Setup;
use self::shutdown::{Shutdown, ShutdownStep};
use crate::background::reload::Reloaded;
use crate::error::WorkerError;
use crate::readiness::pulse::Pulse;
use crate::stop::{Stop, StopRequests};
use crate::time::until;

/// Most events handled at once.
const BATCH_MAX: usize = 1024;

/// See the module.
pub(crate) struct Dispatcher {
    setup: Setup,
    /// In priority order.
    queues: Vec<Queue>,
    jobs: Jobs,
    polls: Polls,
    heartbeats: Heartbeats,
    checks: Checks,
    shutdown: Shutdown,
    /// Names of control messages. Written by the connection's task.
    notices: Arc<Notices>,
    /// Time of the last check of the lanes' tasks.
    lanes_checked: Instant,
}

impl Dispatcher {
    /// Registers the worker.
    ///
    /// # Errors
    ///
    /// An error of Redis.
    pub(crate) async fn register(
        settings: &WorkerSettings,
        setup: Setup,
        queues: Vec<Queue>,
        (rights, notices): (Rights, Arc<Notices>),
        stop: StopRequests,
    ) -> Result<Self, WorkerError> {
        // The settings reader ensures at least one queue.
        let none = || setup.keys.of("none");
        let first = queues.first().map_or_else(none, |own| own.keys().queue.clone());
        let probe = Probe::new(&first, &setup.identity.id, setup.lease);
        let jobs = Jobs::new(queues.len(), settings, setup.capacity.clone(), setup.metrics.clone());
        let heartbeats = Heartbeats::begin(&setup, &queues, &jobs).await?;
        let (id, name) = (&setup.identity.id, &setup.identity.name);
        tracing::info!(worker = id, name, jobs = setup.identity.names.len(), "ready");
        Ok(Self {
            setup,
            queues,
            jobs,
            polls: Polls::new(),
            heartbeats,
            checks: Checks::new(probe, rights),
            shutdown: Shutdown::new(stop, settings.drain_timeout),
            notices,
            lanes_checked: Instant::now(),
        })
    }

    /// Runs until stopped.
    pub(crate) async fn run(mut self, mut inputs: Inputs, pulse: &Pulse) {
        let mut pulse_ticks = pulse.interval();
        let mut batch = Vec::with_capacity(BATCH_MAX);
        loop {
            pulse.record();
            self.polls.note_stall(&mut self.queues, self.setup.lease);
            self.send_out().await;
            self.answer_checks();
            if self.shutdown.has_begun() && self.is_drained() {
                break;
            }
            let next_end = self.jobs.next_end();
            let next_lane_check = self.next_lane_check();
            let next_check = self.queues.iter().filter_map(Queue::next_check).min();
            tokio::select! {
                // In order: stopping first, then events that free capacity, then events that use
                // it.
                biased;
                step = self.shutdown.next() => match step {
                    ShutdownStep::Begin(level) => self.stopping(level),
                    ShutdownStep::Unblock => self.unblock(),
                    ShutdownStep::End => break,
                },
                finished = self.polls.next() => self.poll_ended(finished),
                count = inputs.jobs.recv_many(&mut batch, BATCH_MAX) => {
                    debug_assert!(count > 0, "the dispatcher holds a sender");
                    batch.drain(..).for_each(|event| self.jobs.event(event, &mut self.queues));
                }
                Some(popped) = inputs.pops.recv() => {
                    self.polls.popped(popped, &self.setup, &mut self.queues, &mut self.jobs);
                }
                Some((queue, event)) = inputs.lanes.recv() => self.lane_event(queue, event),
                Some(event) = inputs.events.recv() => self.io_event(event),
                () = self.notices.arrived() => self.received(),
                Some(reloaded) = inputs.reloads.recv() => self.reload(reloaded),
                () = until(next_end) => self.jobs.end_late(),
                () = until(next_check) => self.check_queues(),
                () = until(next_lane_check) => self.check_lanes(),
                Some(check) = inputs.checks.recv() => {
                    let state = (&self.setup, &*self.queues, &self.jobs);
                    self.checks.add(check, state, self.shutdown.has_begun());
                }
                () = until(self.checks.next()) => {}
                _ = pulse_ticks.tick() => {}
                step = self.heartbeats.next(&self.setup) => self.heartbeat_step(step),
            }
        }
        self.shut_down(inputs).await;
    }

    /// Sends everything that can be sent now, and starts leased requests.
    async fn send_out(&mut self) {
        let Self { setup, queues, jobs, checks, .. } = self;
        self.polls.send_out(setup, queues, jobs, checks.probe()).await;
    }

    fn poll_ended(&mut self, finished: FinishedPoll) {
        let Self { setup, queues, jobs, checks, .. } = self;
        self.polls.ended(finished, setup, queues, jobs, checks.probe());
    }

    fn answer_checks(&mut self) {
        if self.checks.are_over() {
            let state = (&self.setup, &*self.queues, &self.jobs);
            self.checks.answer(state, self.shutdown.has_begun());
        }
        self.setup.metrics.capacity(self.jobs.busy(), self.jobs.concurrency());
    }

    fn io_event(&mut self, event: IoEvent) {
        let Self { setup, queues, jobs, .. } = self;
        match event {
            IoEvent::LeaseExpired => self.start_another_round(),
            IoEvent::RoundEnded => {
                if self.heartbeats.ended(setup, queues, jobs) {
                    self.start_heartbeats();
                }
            }
            IoEvent::TakenOver { queue, count } => {
                setup.metrics.took_over(count);
                queues[queue].forget_length();
            }
            IoEvent::Rights(missing) => self.checks.rights().answered(missing),
            IoEvent::ProbePut(put) => self.checks.probe().put(put),
            IoEvent::Heartbeat { queue, heartbeat } => {
                self.checks.probe().heartbeat_stored();
                self.heartbeats.replied(heartbeat, queue, setup, queues, jobs);
            }
            IoEvent::StateRead { queue, state } => queues[queue].state_read(state, jobs, setup),
            IoEvent::Promoted { queue, promoted } => queues[queue].promoted(promoted, setup),
        }
    }

    fn received(&mut self) {
        for (queue, named) in self.notices.take() {
            self.queues[queue].received(named, &self.jobs, &self.setup);
        }
    }

    fn check_queues(&mut self) {
        for queue in &mut self.queues {
            queue.check(&self.jobs, &self.setup);
        }
    }

    fn reload(&mut self, reloaded: Reloaded) {
        self.setup.reload(reloaded);
        self.queues.iter_mut().for_each(|queue| queue.adopt_mapping(&self.setup.mapping));
        // Lanes run requests by the mapping of their last arming.
        self.unblock();
        // Announces the new names at once; a round in flight still has the old ones.
        self.start_another_round();
    }

    fn heartbeat_step(&mut self, step: HeartbeatStep) {
        if !matches!(step, HeartbeatStep::Due) {
            self.setup.metrics.reconnected();
            self.checks.forget();
        }
        match step {
            HeartbeatStep::PollsReconnected => {
                self.queues.iter_mut().for_each(Queue::after_reconnect);
            }
            // After a reconnect: messages on the control channels were missed meanwhile.
            HeartbeatStep::Due | HeartbeatStep::Reconnected => self.start_heartbeats(),
        }
    }

    fn start_heartbeats(&mut self) {
        let draining = self.shutdown.has_begun();
        if self.heartbeats.start(&self.setup, &self.queues, &self.jobs, draining) {
            self.checks.check_rights(&self.setup);
        }
    }

    /// Starts a round of heartbeats that sees the present state, now or after the one in flight.
    fn start_another_round(&mut self) {
        self.heartbeats.want_another();
        self.start_heartbeats();
    }

    fn stopping(&mut self, level: Stop) {
        self.shutdown.begin(level);
        self.jobs.close();
        tracing::info!(stop = ?level, running = self.jobs.len(), "stopping");
        self.unblock();
        self.start_another_round();
    }

    fn unblock(&self) {
        self.queues.iter().for_each(|queue| queue.unblock(&self.setup.shared.link));
    }

    fn is_drained(&self) -> bool {
        let is_idle = self.jobs.is_idle() && !self.polls.is_in_flight();
        is_idle && self.queues.iter().all(Queue::is_drained)
    }

    async fn shut_down(mut self, inputs: Inputs) {
        self.end_lanes().await;
        let Inputs { jobs: mut events, checks, .. } = inputs;
        // Later readiness checks report that the worker stops.
        drop(checks);
        self.heartbeats.end().await;
        // No wait may come between this and the return of all jobs: an outcome that arrives
        // meanwhile would be lost, and its job would run again.
        while let Ok(event) = events.try_recv() {
            self.jobs.event(event, &mut self.queues);
        }
        let Self { setup, queues, jobs, polls, checks, shutdown, .. } = self;
        shutdown.settle(setup, (queues, jobs), (polls, checks)).await;
    }
}
