//! A queue's part of a poll: the outcomes that it settles, and the requests that it leases.

use std::sync::Arc;

use redcall_common::error::Code;
use redcall_common::limits::batch_len;
use redcall_store::{LimitRule, Outcome, QueuePoll, Settled, Settlement, WorkerKeys};
use tokio::sync::oneshot;

use super::{Queue, Resend};
use crate::metrics::{JobMetrics, Metrics};
use crate::run::capacity::BATCH_MAX;
use crate::run::settlement::PendingSettlement;

/// One queue's part of a poll.
pub(crate) struct Part {
    pub(crate) queue: usize,
    keys: Arc<WorkerKeys>,
    take: usize,
    parked: Vec<String>,
    rules: Arc<[LimitRule]>,
    read_back: bool,
    more: bool,
    /// `true` if the poll requests the queue's length; a blocked pop in flight reports it
    /// otherwise.
    length: bool,
    serial: u64,
    again: bool,
    outcomes: Vec<Outcome>,
    followed: Vec<Followed>,
}

/// The receiver of a settlement's result, and its metrics.
type Followed = (Option<oneshot::Sender<Settled>>, JobMetrics);

impl Queue {
    /// Returns its part of the next poll, `None` if there is nothing to do, and takes its share of
    /// `room`. `is_last`: no queue after it has work.
    pub(crate) fn next_part(
        &mut self,
        room: &mut usize,
        is_last: bool,
        rules: &Arc<[LimitRule]>,
        poll_all: bool,
    ) -> Option<Part> {
        if self.refused.is_some() {
            return None;
        }
        let take = match self.length {
            _ if !self.may_have_work() => 0,
            _ if *room == 0 => 0,
            // The length does not include partitioned requests.
            Some(length) if !is_last && !self.ready => {
                (*room + self.surplus).min(length + self.parked.len())
            }
            _ => *room + self.surplus,
        };
        let take = take.min(BATCH_MAX);
        *room = room.saturating_sub(take);
        let read_back = self.must_resync();
        if take == 0 && !self.has_outcomes() && !read_back && !poll_all {
            return None;
        }
        let again = self.resend.is_some();
        let Resend { serial, settlements } = self.resend.take().unwrap_or_else(|| {
            self.serial += 1;
            let settlements = self.to_settle.iter().take(BATCH_MAX);
            let count = batch_len(settlements.map(|pending| pending.outcome.size()));
            Resend { serial: self.serial, settlements: self.to_settle.drain(..count).collect() }
        });
        let settlements = settlements.into_iter().map(|l| (l.outcome, (l.notify, l.job_metrics)));
        let (outcomes, followed) = settlements.unzip();
        if take > 0 {
            // It sees everything up to now.
            self.needs_poll = false;
        }
        let parked = if take > 0 { std::mem::take(&mut self.parked) } else { Vec::new() };
        Some(Part {
            queue: self.index,
            keys: self.keys.clone(),
            take,
            parked,
            rules: self.rules(rules).clone(),
            read_back,
            more: self.more,
            length: !self.popping || self.length != Some(0),
            serial,
            again,
            outcomes,
            followed,
        })
    }
}

impl Part {
    /// Returns the name of its queue.
    pub(crate) fn queue_name(&self) -> &str {
        self.keys.queue.name()
    }

    /// Returns this worker's keys on its queue if the poll reads back the leases there.
    pub(crate) fn reads_back(&self) -> Option<&WorkerKeys> {
        self.read_back.then_some(&*self.keys)
    }

    /// Returns the call of the script.
    pub(crate) fn poll(&self) -> QueuePoll<'_> {
        QueuePoll {
            keys: &self.keys,
            take: self.take,
            parked: &self.parked,
            rules: &self.rules,
            outcomes: &self.outcomes,
            serial: self.serial,
            again: self.again,
            more: self.more,
            // Requests that a lost pop left there are found by reading back leases.
            inbox: self.leases(),
            length: self.length,
        }
    }

    /// Takes the names whose parked requests the poll leased first.
    pub(crate) fn take_parked(&mut self) -> Vec<String> {
        std::mem::take(&mut self.parked)
    }

    /// Returns `true` if the part leases, or searches for, requests; otherwise it only settles.
    pub(crate) fn leases(&self) -> bool {
        self.take > 0 || self.read_back || self.outcomes.is_empty()
    }

    /// Returns `true` if this poll settles `id`.
    pub(crate) fn settles(&self, id: &str) -> bool {
        self.outcomes.iter().any(|outcome| outcome.id == id)
    }

    /// Returns the part of a probe, which leases it, or settles it with `outcome`.
    pub(crate) fn of_probe(keys: Arc<WorkerKeys>, serial: u64, outcome: Option<Outcome>) -> Self {
        Self {
            // Not an index of the worker's queues: the probe removes its part before the replies
            // are read.
            queue: usize::MAX,
            keys,
            take: usize::from(outcome.is_none()),
            parked: Vec::new(),
            rules: Arc::from([]),
            read_back: false,
            more: false,
            length: true,
            serial,
            again: false,
            outcomes: outcome.into_iter().collect(),
            followed: Vec::new(),
        }
    }

    /// Notifies the waiting tasks, counts, and logs refusals. Returns the outcomes that Redis could
    /// not store.
    pub(crate) fn settled(
        self,
        settled: Vec<Settled>,
        metrics: &Metrics,
    ) -> Vec<PendingSettlement> {
        let mut failed = Vec::new();
        // By reference: an outcome is large, and few fail.
        let followed = self.outcomes.iter().zip(self.followed).zip(settled);
        for (index, ((outcome, (notify, job_metrics)), settled)) in followed.enumerate() {
            match settled {
                Settled::Yes => {
                    if let Settlement::Unknown { name, .. } = &outcome.settlement {
                        let (queue, code) = (self.keys.queue.name(), Code::UnknownJob);
                        let id = &outcome.id;
                        let message = "not run: no live worker handles the job";
                        tracing::warn!(id, name, queue, %code, "{message}");
                    }
                    metrics.settled(outcome, job_metrics);
                }
                Settled::Parked => {
                    tracing::info!(
                        id = outcome.id,
                        "parked a request for a worker that handles its job"
                    );
                }
                Settled::LeaseLost => {
                    metrics.refused(outcome, job_metrics);
                    tracing::warn!(id = outcome.id, "settled nothing: the lease was lost");
                }
                Settled::Failed => {
                    failed.push((index, notify, job_metrics));
                    continue;
                }
            }
            if let Some(notify) = notify {
                let _ = notify.send(settled);
            }
        }
        let mut outcomes = self.outcomes;
        // From the back: a removal then moves no outcome that is still needed.
        let unsettled = failed.into_iter().rev().map(|(index, notify, job_metrics)| {
            PendingSettlement { outcome: outcomes.swap_remove(index), notify, job_metrics }
        });
        let mut unsettled: Vec<_> = unsettled.collect();
        unsettled.reverse();
        unsettled
    }

    /// Undoes the plan: the next poll sends the same settlements under the same number.
    pub(crate) fn undo(self, queue: &mut Queue) {
        let settlements = self.outcomes.into_iter().zip(self.followed);
        let settlements = settlements.map(|(outcome, (notify, job_metrics))| PendingSettlement {
            outcome,
            notify,
            job_metrics,
        });
        let settlements: Vec<PendingSettlement> = settlements.collect();
        if !settlements.is_empty() {
            queue.resend = Some(Resend { serial: self.serial, settlements });
        }
        queue.parked.extend(self.parked);
        queue.mark_unsynced();
    }
}

#[cfg(test)]
mod tests {
    use redcall_common::keys::Keys;

    use super::*;

    #[test]
    fn outcome_is_counted_as_settled() {
        let keys = Arc::new(WorkerKeys::probe(&Keys::new("redcall").of("default"), "w"));
        let metrics = Metrics::new();
        for settled in [Settled::Yes, Settled::Parked, Settled::LeaseLost] {
            let outcome = Outcome::new("a", Settlement::Done);
            let mut part = Part::of_probe(keys.clone(), 1, Some(outcome));
            part.followed.push((None, JobMetrics { job: Some("add".to_owned()), ran: None }));
            assert!(part.settled(vec![settled], &metrics).is_empty());
        }
        let mut text = String::new();
        metrics.encode(&mut text).unwrap();
        let mut counted: Vec<&str> =
            text.lines().filter_map(|line| line.strip_prefix("redcall_jobs_total")).collect();
        counted.sort_unstable();
        let expected = [r#"{job="add",outcome="lost"} 1"#, r#"{job="add",outcome="ok"} 1"#];
        assert_eq!(counted, expected);
    }
}
