//! The readiness of the worker.

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::dispatcher::Dispatcher;
use super::queue::Queue;
use crate::readiness::report::Report;
use crate::stop::Stop;
use redcall_store::Session as _;

impl Dispatcher {
    /// Answers a readiness check: at once if the answer is clear, otherwise after a probe.
    pub(super) fn readiness_check(&mut self, check: oneshot::Sender<Report>) {
        if self.stop > Stop::No || !self.is_connected() {
            // The send fails if the check was dropped.
            let _ = check.send(self.report());
            return;
        }
        self.probe.waiting.push(check);
        self.channels
            .rights
            .check_for_readiness(&self.channels.heartbeat_conn, &self.channels.events);
        self.probe.begin(&self.shared.link, &self.channels.events);
    }

    /// Answers the waiting checks, if the probe has ended or takes too long.
    pub(super) fn answer_checks(&mut self) {
        if self.probe.is_over() && (!self.channels.rights.is_checking() || self.probe.is_late()) {
            for check in std::mem::take(&mut self.probe.waiting) {
                let _ = check.send(self.report());
            }
        }
        self.metrics.slots(self.jobs.len(), self.concurrency);
    }

    /// Handles a reconnect.
    pub(super) fn after_reconnect(&mut self) {
        self.connected_since = Instant::now();
        self.metrics.reconnected();
        self.probe.forget();
        self.channels.rights.forget();
    }

    fn is_connected(&self) -> bool {
        self.shared.link.is_up() && self.channels.heartbeat_conn.is_up()
    }

    fn report(&self) -> Report {
        let mut report = Report::default();
        if self.stop > Stop::No {
            report.reason("draining");
        }
        if !self.is_connected() {
            report.reason("no connection to Redis");
        }
        for queue in &self.queues {
            if let Some(problem) = queue.fetch.problem(self.needs_pops(queue), self.lease) {
                report.reason(format!("queue {}: {problem}", queue.name()));
            }
            report.queue(queue.name(), queue.fetch.seen_ago());
        }
        if let Some(problem) = self.channels.rights.problem() {
            report.reason(problem);
        }
        match self.probe.result() {
            Ok(Some(took)) => report.probe(took),
            // Only in an immediate report, which then has another reason, too.
            Ok(None) => report.reason("no probe yet"),
            Err(problem) => report.reason(problem),
        }
        report
    }

    /// Returns `true` if only a blocked pop could deliver requests from a queue now: it has none to
    /// poll, and is not paused.
    fn needs_pops(&self, queue: &Queue) -> bool {
        let has_room = self.jobs.len() < self.concurrency;
        has_room && queue.paused.is_none() && queue.length.unwrap_or(0) == 0
    }
}
