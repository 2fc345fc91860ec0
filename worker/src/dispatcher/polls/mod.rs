//! Polls: the one in flight, and the requests that the last one leased.

pub(super) mod poll;

use std::collections::HashSet;
use std::time::Duration;

use redcall_store::{Leased, PollReply, StoreError};
use tokio::task::yield_now;
use tokio::time::Instant;

use self::poll::{FinishedPoll, InFlightPoll, Reply};
use super::jobs::Jobs;
use super::jobs::rules::{has_rules, rules};
use super::queue::Queue;
use super::queue::part::Part;
use super::readiness::probe::Probe;
use super::setup::Setup;
use crate::background::pops::Popped;

/// See the module. Read and written by the dispatcher alone.
pub(super) struct Polls {
    in_flight: Option<InFlightPoll>,
    /// Requests that the last poll leased and that are not started yet, by queue. They are started
    /// after the next poll is written: Redis executes that one meanwhile.
    unstarted: Vec<(usize, Vec<Leased>)>,
    /// Time of the loop's last iteration, which comes every third of a lease at least.
    last_iteration: Instant,
}

impl Polls {
    pub(super) fn new() -> Self {
        Self { in_flight: None, unstarted: Vec::new(), last_iteration: Instant::now() }
    }

    /// Completes when the poll in flight has ended; never, if there is none. Cancel safe.
    pub(super) async fn next(&mut self) -> FinishedPoll {
        match &mut self.in_flight {
            Some(poll) => poll.await,
            None => std::future::pending().await,
        }
    }

    /// Returns `true` while a poll is in flight.
    pub(super) fn is_in_flight(&self) -> bool {
        self.in_flight.is_some()
    }

    /// Detects a stall after which the lease may have ended, and marks the leases for reading back.
    /// Leases are renewed every third of their time.
    pub(super) fn note_stall(&mut self, queues: &mut [Queue], lease: Duration) {
        if self.last_iteration.elapsed() > lease / 2 {
            queues.iter_mut().for_each(Queue::note_stall);
        }
        self.last_iteration = Instant::now();
    }

    /// Sends polls until one is in flight, or the last plan found nothing to do. A start may refuse
    /// its request: the plan before it knew neither the outcome to settle nor the freed capacity.
    pub(super) async fn send_out(
        &mut self,
        setup: &Setup,
        queues: &mut [Queue],
        jobs: &mut Jobs,
        probe: &mut Probe,
    ) {
        loop {
            self.send(setup, queues, jobs, probe);
            if self.unstarted.is_empty() {
                break;
            }
            self.start_behind_poll(setup, queues, jobs, probe).await;
            if self.in_flight.is_some() {
                break;
            }
        }
        let is_settling = self.in_flight.is_some() || !queues.iter().any(Queue::waits_for_poll);
        debug_assert!(is_settling, "the worker has outcomes to settle, but no poll in flight");
    }

    /// Sends everything that can be sent now: a poll, blocked pops.
    fn send(&mut self, setup: &Setup, queues: &mut [Queue], jobs: &mut Jobs, probe: &mut Probe) {
        if has_rules(&setup.mapping, queues) {
            self.start_all(setup, queues, jobs); // running jobs count for the limits
        }
        let limits = rules(&setup.mapping, queues, jobs);
        if self.free_capacity(jobs) > 0 {
            queues.iter_mut().for_each(|queue| queue.take_by_lane(&limits, &setup.mapping));
        }
        if self.in_flight.is_none() {
            let out = queues.iter().filter(|queue| queue.is_popping()).count();
            let free = self.free_capacity(jobs);
            // Each blocked pop may lease one; but pops must not keep a queue with requests waiting.
            let room = free.saturating_sub(out).max(free.min(1));
            let mut parts = poll::plan(queues, room, &limits, probe.is_to_lease());
            parts.extend(probe.part());
            if !parts.is_empty() {
                self.in_flight = Some(Box::pin(poll::run(setup.shared.link.clone(), parts)));
            }
        }
        if self.free_capacity(jobs) > 0 {
            queues.iter_mut().for_each(|queue| queue.pop(&limits, &setup.mapping));
        }
    }

    /// Returns the free capacity; leased requests count before they are started.
    fn free_capacity(&self, jobs: &Jobs) -> usize {
        let unstarted: usize = self.unstarted.iter().map(|(_, leased)| leased.len()).sum();
        jobs.room().saturating_sub(unstarted)
    }

    /// Waits until the poll that was just planned is written, then starts the requests of the last
    /// one. Handles nothing else in between.
    async fn start_behind_poll(
        &mut self,
        setup: &Setup,
        queues: &mut [Queue],
        jobs: &mut Jobs,
        probe: &mut Probe,
    ) {
        if let Some(poll) = &mut self.in_flight
            && let std::task::Poll::Ready(finished) = futures_util::poll!(poll)
        {
            // Started first, so that reading back leases finds these running.
            self.start_all(setup, queues, jobs);
            self.ended(finished, setup, queues, jobs, probe);
        }
        // The connection's own task writes.
        yield_now().await;
        self.start_all(setup, queues, jobs);
    }

    fn start_all(&mut self, setup: &Setup, queues: &mut [Queue], jobs: &mut Jobs) {
        for (queue, leased) in std::mem::take(&mut self.unstarted) {
            self.start(queue, leased, setup, queues, jobs);
        }
    }

    /// Starts the requests of a reply, unless this worker stalled meanwhile: another worker may
    /// have taken them over. Reading back the leases finds those that are still its own.
    fn start(
        &mut self,
        queue: usize,
        leased: Vec<Leased>,
        setup: &Setup,
        queues: &mut [Queue],
        jobs: &mut Jobs,
    ) {
        self.note_stall(queues, setup.lease);
        if !queues[queue].is_stalled() {
            jobs.start(queue, leased, setup, &mut queues[queue]);
        }
    }

    /// Handles the end of the poll in flight.
    pub(super) fn ended(
        &mut self,
        mut finished: FinishedPoll,
        setup: &Setup,
        queues: &mut [Queue],
        jobs: &mut Jobs,
        probe: &mut Probe,
    ) {
        self.in_flight = None;
        probe.take_reply(&mut finished);
        match finished.replies {
            Ok(replies) => {
                for (part, reply) in finished.parts.into_iter().zip(replies) {
                    let queue = &mut queues[part.queue];
                    match reply {
                        Ok(reply) => self.replied(part, reply, setup, queue, jobs),
                        Err(_) => {
                            // Whatever the error is, it must not stop the other queues.
                            queue.note_refused();
                            part.undo(queue);
                        }
                    }
                }
            }
            Err(error) => undo(finished.parts, &error, queues),
        }
    }

    fn replied(
        &mut self,
        mut part: Part,
        reply: Reply,
        setup: &Setup,
        queue: &mut Queue,
        jobs: &mut Jobs,
    ) {
        queue.polled(&reply.poll, part.leases(), setup);
        let PollReply { settled, leased, parked, .. } = reply.poll;
        if parked > 0 && !leased.is_empty() {
            // There may be more parked requests of the same names.
            queue.note_parked(part.take_parked());
        }
        if let Some(held) = reply.held {
            queue.resynchronised();
            let ids = held.iter().map(|leased| leased.id.clone()).collect();
            jobs.end_lost(part.queue, &ids);
            let unknown = unknown_leases(&part, held, queue, jobs);
            jobs.start(part.queue, unknown, setup, queue);
        }
        let index = part.queue;
        queue.keep_failed(part.settled(settled, &setup.metrics));
        self.unstarted.push((index, leased));
    }

    /// Handles the result of a blocked pop.
    pub(super) fn popped(
        &mut self,
        popped: Popped,
        setup: &Setup,
        queues: &mut [Queue],
        jobs: &mut Jobs,
    ) {
        let leased = queues[popped.queue].popped(popped.reply, setup);
        self.start(popped.queue, leased, setup, queues, jobs);
    }

    /// Ends the poll in flight, then settles all outcomes, and leases nothing.
    pub(super) async fn settle_all(
        &mut self,
        setup: &Setup,
        queues: &mut [Queue],
        jobs: &mut Jobs,
        probe: &mut Probe,
    ) {
        if let Some(poll) = self.in_flight.take() {
            let finished = poll.await;
            self.ended(finished, setup, queues, jobs, probe);
        }
        while queues.iter().any(Queue::has_outcomes) {
            queues.iter_mut().for_each(Queue::end_refusal);
            let parts = poll::plan(queues, 0, &std::sync::Arc::from([]), false);
            let finished = poll::run(setup.shared.link.clone(), parts).await;
            self.ended(finished, setup, queues, jobs, probe);
        }
    }
}

/// Undoes a poll whose replies were lost.
fn undo(parts: Vec<Part>, error: &StoreError, queues: &mut [Queue]) {
    for part in parts {
        let queue = &mut queues[part.queue];
        if !error.is_transient() {
            queue.note_refused();
        }
        part.undo(queue);
    }
}

/// Returns leases that this worker does not know: the reply with them was lost.
fn unknown_leases(part: &Part, held: Vec<Leased>, queue: &Queue, jobs: &Jobs) -> Vec<Leased> {
    let to_settle: HashSet<&str> = queue.outcomes().map(|outcome| outcome.id.as_str()).collect();
    let is_known =
        |id: &str| jobs.runs(part.queue, id) || to_settle.contains(id) || part.settles(id);
    held.into_iter().filter(|leased| !is_known(&leased.id)).collect()
}
