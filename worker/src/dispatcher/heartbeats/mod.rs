//! Heartbeats: their rounds over all queues, the reconnects of the worker, and dead workers.

mod repair;
mod round;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use redcall_common::event::COMMAND_RESULT;
use redcall_store::{ConnectionId, Heartbeat, Session as _, StoreError, WorkerKeys};
use tokio::time::{Instant, Interval};

use self::round::served;
use super::io_event::IoEvent;
use super::jobs::rules::rules;
use super::jobs::{EndReason, Jobs};
use super::queue::Queue;
use super::setup::Setup;
use crate::background::Background;
use crate::causes::with_causes;
use crate::identity::Status;
use crate::time::every;

/// Completes at the next reconnect of a connection.
type Reconnect = Pin<Box<dyn Future<Output = ()> + Send>>;

/// See the module. Read and written by the dispatcher alone.
pub(super) struct Heartbeats {
    ticks: Interval,
    /// The round in flight.
    round: Option<Background>,
    /// `true` if another round must follow at once.
    is_pending: bool,
    /// The repairs after a round. The next rounds skip them until they have ended.
    follow_up: Option<Background>,
    /// The next reconnect of the polls' connection.
    polls_reconnected: Reconnect,
    /// The next reconnect of the heartbeats' connection.
    reconnected: Reconnect,
    /// The last connection of the heartbeats.
    connection: Option<ConnectionId>,
    /// Time of the last reply to a heartbeat.
    stored: Instant,
    /// Start of the worker, or of the last connection before which other workers may have lost
    /// their leases: this worker takes over no leases within one lease of it.
    others_since: Instant,
}

/// Input of the heartbeats.
pub(super) enum HeartbeatStep {
    /// A round is due.
    Due,
    /// The polls' connection was made again.
    PollsReconnected,
    /// The heartbeats' connection was made again.
    Reconnected,
}

impl Heartbeats {
    /// Sends the first round, which registers the worker.
    ///
    /// # Errors
    ///
    /// The first queue's error.
    pub(super) async fn begin(
        setup: &Setup,
        queues: &[Queue],
        jobs: &Jobs,
    ) -> Result<Self, StoreError> {
        let others_since = Instant::now();
        let (content, info) = content(setup, queues, jobs, false);
        let (link, identity) = (&setup.heartbeat_conn, &setup.identity);
        let heartbeats = round::round(link, &content, identity, setup.lease, &info).await;
        for (queue, heartbeat) in queues.iter().zip(heartbeats) {
            queue.lane_renewed(&heartbeat?);
        }
        Ok(Self {
            ticks: every(setup.lease / 3),
            round: None,
            is_pending: false,
            follow_up: None,
            polls_reconnected: Box::pin(setup.shared.link.reconnected()),
            reconnected: Box::pin(setup.heartbeat_conn.reconnected()),
            connection: link.standing(),
            stored: Instant::now(),
            others_since,
        })
    }

    /// Completes with the next step. Cancel safe.
    pub(super) async fn next(&mut self, setup: &Setup) -> HeartbeatStep {
        tokio::select! {
            biased;
            _ = self.ticks.tick() => HeartbeatStep::Due,
            () = &mut self.polls_reconnected => {
                self.polls_reconnected = Box::pin(setup.shared.link.reconnected());
                HeartbeatStep::PollsReconnected
            }
            () = &mut self.reconnected => {
                self.reconnected = Box::pin(setup.heartbeat_conn.reconnected());
                self.note_reconnect(setup);
                HeartbeatStep::Reconnected
            }
        }
    }

    /// Has this worker wait for the heartbeats of others, if their leases may have ended: the
    /// server was restarted or is another one, or this worker has missed a heartbeat too. Without
    /// this distinction, connections that break again and again would delay each take-over.
    fn note_reconnect(&mut self, setup: &Setup) {
        let now = setup.heartbeat_conn.standing();
        let known = self.connection.as_ref().zip(now.as_ref());
        let is_same_run = known.is_some_and(|(before, now)| before.is_same_run(now));
        if now.is_some() {
            self.connection = now;
        }
        if may_have_lost_leases(is_same_run, self.stored.elapsed(), setup.lease) {
            self.others_since = Instant::now();
        }
    }

    /// Starts a round, unless one is in flight; returns `true` if it did.
    pub(super) fn start(
        &mut self,
        setup: &Setup,
        queues: &[Queue],
        jobs: &Jobs,
        draining: bool,
    ) -> bool {
        if self.round.is_some() {
            return false;
        }
        self.is_pending = false;
        let (queues, info) = content(setup, queues, jobs, draining);
        let (link, events) = setup.for_task();
        let (identity, lease) = (setup.identity.clone(), setup.lease);
        self.round = Some(Background::spawn("heartbeats", async move {
            let heartbeats = round::round(&link, &queues, &identity, lease, &info).await;
            for (queue, beat) in heartbeats.into_iter().enumerate() {
                match beat {
                    Ok(heartbeat) => drop(events.send(IoEvent::Heartbeat { queue, heartbeat })),
                    Err(error) => {
                        tracing::warn!(error = %with_causes(&error), "failed to send a heartbeat")
                    }
                }
            }
            let _ = events.send(IoEvent::RoundEnded);
        }));
        true
    }

    /// Has a round follow that sees the present state: one in flight may not.
    pub(super) fn want_another(&mut self) {
        self.is_pending = true;
    }

    /// Handles the end of the round in flight; returns `true` if another one must follow.
    pub(super) fn ended(&mut self, setup: &Setup, queues: &[Queue], jobs: &Jobs) -> bool {
        self.round = None;
        if self.follow_up.as_ref().is_none_or(Background::has_ended) {
            let served = served(queues, &rules(&setup.mapping, queues, jobs));
            let (link, keys, lease) =
                (setup.heartbeat_conn.clone(), setup.keys.clone(), setup.lease);
            let following = async move { round::follow_up(&link, &keys, &served, lease).await };
            self.follow_up = Some(Background::spawn("heartbeat repairs", following));
        }
        self.is_pending
    }

    /// Handles the reply of one queue.
    pub(super) fn replied(
        &mut self,
        mut heartbeat: Heartbeat,
        index: usize,
        setup: &Setup,
        queues: &mut [Queue],
        jobs: &mut Jobs,
    ) {
        self.stored = Instant::now();
        let queue = &mut queues[index];
        queue.renewed(&mut heartbeat, jobs, setup);
        for id in &heartbeat.cancelled {
            jobs.end_by_id(index, id, &EndReason::Cancelled);
        }
        if heartbeat.over {
            let topic = setup.keys.events(COMMAND_RESULT);
            let (link, shared) = (setup.heartbeat_conn.clone(), setup.shared.clone());
            tokio::spawn(round::expire(link, queue.keys().clone(), topic, shared));
        }
        if self.others_since.elapsed() < setup.lease {
            return;
        }
        for dead in heartbeat.dead {
            let (link, events) = setup.for_task();
            tokio::spawn(round::take_over(link, queue.keys().clone(), index, dead, events));
        }
    }

    /// Ends the round in flight. The heartbeats sent so far precede later commands on the same
    /// connection.
    pub(super) async fn end(mut self) {
        if let Some(round) = &mut self.round {
            round.end().await;
        }
    }
}

/// Returns `true` if other workers may have lost their leases before a reconnect. `stored`: the
/// time since this worker's last heartbeat.
///
/// Heartbeats come every third of a lease. If the last one is not much older, the outage was
/// shorter than that, and every lease has another quarter at least.
fn may_have_lost_leases(is_same_run: bool, stored: Duration, lease: Duration) -> bool {
    !is_same_run || stored > lease * 5 / 12
}

/// Returns the queues of a round, and its description of the worker.
fn content(
    setup: &Setup,
    queues: &[Queue],
    jobs: &Jobs,
    draining: bool,
) -> (Vec<Arc<WorkerKeys>>, String) {
    let status = Status {
        state: if draining { "draining" } else { "running" },
        concurrency: jobs.concurrency(),
        running: jobs.len(),
        overdue: jobs.overdue(),
        lease: setup.lease,
        queues: queues.iter().map(|queue| queue.name().to_owned()).collect(),
    };
    let keys = queues.iter().map(|queue| queue.keys().clone()).collect();
    (keys, setup.identity.info(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_outage_of_the_same_server_costs_no_lease() {
        let lease = Duration::from_secs(12);
        let lost = |is_same_run, seconds| {
            may_have_lost_leases(is_same_run, Duration::from_secs(seconds), lease)
        };
        assert!(!lost(true, 0) && !lost(true, 5));
        assert!(lost(true, 6) && lost(false, 0));
    }
}
