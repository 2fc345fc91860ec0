//! The dispatcher's part in lanes: it arms them like pops, takes the jobs that they hand over, and
//! watches that their tasks run.

use futures_util::future::join_all;
use redcall_store::{Outcome, PollReply, Settled, Settlement};
use tokio::time::{Instant, timeout};

use super::Dispatcher;
use super::jobs::{EndReason, Jobs};
use super::queue::Queue;
use super::setup::Setup;
use crate::lane::{Adopted, CHECK_EVERY, End, Event, Started, Why};
use crate::run::settlement::PendingSettlement;
use crate::time::REDIS_TIMEOUT;

impl Dispatcher {
    /// Handles a message of the lane of queue `index`.
    pub(super) fn lane_event(&mut self, index: usize, event: Event) {
        let Self { setup, queues, jobs, .. } = self;
        let queue = &mut queues[index];
        match event {
            Event::Refused(codes) => queue.note_refused_elements(&codes, &setup.metrics),
            Event::Active => queue.lane().watch(),
            Event::Ended(end) => queue.lane_ended(*end, setup),
            Event::Adopted(adopted) => jobs.adopt(index, *adopted, setup, queue),
            Event::Unread => queue.lane().unread(&setup.shared.link),
            Event::Ready => queue.lane().recovered(),
        }
    }

    /// Returns the time of the next check of the lanes' tasks.
    pub(super) fn next_lane_check(&self) -> Option<Instant> {
        let is_needed = self.queues.iter().any(|queue| queue.watches_lane(!self.jobs.is_idle()));
        is_needed.then(|| self.lanes_checked + CHECK_EVERY)
    }

    /// Checks the tasks of the lanes that work.
    pub(super) fn check_lanes(&mut self) {
        self.lanes_checked = Instant::now();
        let is_busy = !self.jobs.is_idle();
        for queue in &mut self.queues {
            queue.check_lane(is_busy, &self.setup);
        }
    }

    /// Ends all lanes, and takes the jobs in them.
    pub(super) async fn end_lanes(&mut self) {
        let Self { setup, queues, jobs, .. } = self;
        let conn = &setup.heartbeat_conn;
        let closing =
            queues.iter_mut().map(|queue| timeout(REDIS_TIMEOUT, queue.lane().close(conn)));
        // All at once: Redis may not answer.
        let closed = join_all(closing).await;
        for (index, (queue, closed)) in queues.iter_mut().zip(closed).enumerate() {
            match closed {
                Ok(Ok(Some(adopted))) => jobs.adopt(index, adopted, setup, queue),
                Ok(Ok(None)) => {}
                // The release returns the rest of its inbox, or another worker does.
                Ok(Err(error)) => tracing::debug!(%error, "cannot end a lane"),
                Err(_) => tracing::debug!("cannot end a lane in time"),
            }
        }
    }
}

impl Queue {
    /// Records the end of the lane's work.
    fn lane_ended(&mut self, end: End, setup: &Setup) {
        let End { why, length, inbox } = end;
        let reply = PollReply {
            length: length.filter(|_| inbox.is_none()),
            more: matches!(why, Why::Special),
            expired: matches!(why, Why::Expired),
            ..PollReply::default()
        };
        if let Why::Failed(error) = &why {
            tracing::debug!(%error, queue = self.name(), "a lane has failed");
            setup.metrics.reconnected();
        }
        let is_empty = self.lane().ended(&why, inbox, &setup.shared.link);
        self.lane_replied(matches!(why, Why::Failed(_)), &reply, setup);
        if is_empty {
            self.lane_rests();
        }
    }
}

impl Jobs {
    /// Takes the jobs of a lane inbox that was adopted.
    fn adopt(&mut self, index: usize, adopted: Adopted, setup: &Setup, queue: &mut Queue) {
        let Adopted { started, settled, refused } = adopted;
        queue.note_refused_elements(&refused, &setup.metrics);
        if let Some((settling, settled)) = settled {
            settling.count(&settled, &setup.metrics);
            for ((outcome, job_metrics), settled) in settling.iter().zip(settled) {
                if settled == Settled::Failed {
                    // Its request has a lease now.
                    let outcome = outcome.clone();
                    queue.settle(PendingSettlement { outcome, notify: None, job_metrics });
                }
            }
        }
        for (started, lease) in started {
            if lease.is_none() {
                // It may have one by an adoption whose reply was lost.
                queue.mark_unsynced();
            }
            let is_cancelled = lease.is_some_and(|lease| lease.mark.cancelled);
            self.take_over(index, started, is_cancelled, queue);
        }
        queue.forget_length();
        queue.lane_rests();
    }

    fn take_over(&mut self, index: usize, started: Started, is_cancelled: bool, queue: &mut Queue) {
        let Started { id, serial, young, launched } = started;
        let meanwhile = young.adopted();
        let (name, attempt) = (launched.name.clone(), launched.attempt);
        let job_metrics = super::jobs::job_metrics(&launched);
        let has_ended = meanwhile.outcome.is_some();
        if let Some(outcome) = meanwhile.outcome {
            queue.settle(PendingSettlement { outcome: *outcome, notify: None, job_metrics });
        } else if meanwhile.released {
            tracing::warn!(id, name, attempt, "rerunning a job: its runtime has shut down");
            let outcome = Outcome::new(id.clone(), Settlement::Rerun { attempt });
            queue.settle(PendingSettlement::without_receiver(outcome, Some(name)));
        }
        if meanwhile.released {
            if meanwhile.uses_capacity {
                self.give_back();
            }
            return;
        }
        self.insert_adopted(serial, index, id, launched, has_ended);
        if is_cancelled && !has_ended {
            self.end(serial, &EndReason::Cancelled);
        }
    }
}
