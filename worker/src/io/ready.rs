//! Whether the worker consumes: what is wrong if it does not.

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::dispatcher::Dispatcher;
use super::queue::Queue;
use crate::admin::Report;
use crate::stop::Stop;

impl Dispatcher {
    /// Somebody wants to know. Told at once if it is plain, else after a probe.
    pub(super) fn asked(&mut self, ask: oneshot::Sender<Report>) {
        if self.stop > Stop::No || !self.is_connected() {
            // Whoever asks may have gone.
            let _ = ask.send(self.report());
            return;
        }
        self.probe.asked.push(ask);
        self.talk.rights.ask(&self.talk.beats, &self.talk.told);
        self.probe.begin(&self.shared.link, &self.talk.told);
    }

    /// Tells those who asked, when there is something to tell.
    pub(super) fn tell(&mut self) {
        if self.probe.is_over() && (!self.talk.rights.is_asking() || self.probe.is_late()) {
            for ask in std::mem::take(&mut self.probe.asked) {
                let _ = ask.send(self.report());
            }
        }
        self.metrics.slots(self.jobs.len(), self.concurrency);
    }

    /// A connection was lost, and has been made anew.
    pub(super) fn connected_anew(&mut self) {
        self.connected_since = Instant::now();
        self.metrics.reconnected();
        self.probe.forget();
        self.talk.rights.forget();
    }

    fn is_connected(&self) -> bool {
        self.shared.link.is_up() && self.talk.beats.is_up()
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
        if let Some(problem) = self.talk.rights.problem() {
            report.reason(problem);
        }
        match self.probe.result() {
            Ok(Some(took)) => report.probe(took),
            // Only whoever is told at once, and then for another reason.
            Ok(None) => report.reason("no probe yet"),
            Err(problem) => report.reason(problem),
        }
        report
    }

    /// Whether only a blocked pop could bring something from a queue now: not while it is known
    /// to hold something, nor while nothing may be taken from it.
    fn needs_pops(&self, queue: &Queue) -> bool {
        let has_room = self.jobs.len() < self.concurrency;
        has_room && queue.paused.is_none() && queue.length.unwrap_or(0) == 0
    }
}
