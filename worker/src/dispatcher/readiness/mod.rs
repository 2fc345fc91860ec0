//! Readiness checks, and the reports that answer them.

pub(super) mod probe;
pub(super) mod rights;

use redcall_store::Session as _;
use tokio::sync::oneshot;
use tokio::time::Instant;

use self::probe::Probe;
use self::rights::Rights;
use super::jobs::Jobs;
use super::queue::Queue;
use super::setup::Setup;
use crate::readiness::report::Report;

/// See the module. Read and written by the dispatcher alone.
pub(super) struct Checks {
    probe: Probe,
    rights: Rights,
}

impl Checks {
    pub(super) fn new(probe: Probe, rights: Rights) -> Self {
        Self { probe, rights }
    }

    /// Returns the time at which the waiting checks must be answered.
    pub(super) fn next(&self) -> Option<Instant> {
        self.probe.next()
    }

    /// Answers a readiness check: at once if the answer is clear, otherwise after a probe.
    pub(super) fn add(
        &mut self,
        check: oneshot::Sender<Report>,
        (setup, queues, jobs): (&Setup, &[Queue], &Jobs),
        draining: bool,
    ) {
        if draining || !is_connected(setup) {
            // The send fails if the check was dropped.
            let _ = check.send(self.report((setup, queues, jobs), draining));
            return;
        }
        self.probe.wait(check);
        self.rights.check_for_readiness(&setup.heartbeat_conn, &setup.events);
        self.probe.begin(&setup.shared.link, &setup.events);
    }

    /// Returns `true` if the waiting checks can be answered: the probe has ended or takes too long.
    pub(super) fn are_over(&self) -> bool {
        self.probe.is_over() && (!self.rights.is_checking() || self.probe.is_late())
    }

    /// Answers the waiting checks.
    pub(super) fn answer(&mut self, state: (&Setup, &[Queue], &Jobs), draining: bool) {
        for check in self.probe.take_waiting() {
            let _ = check.send(self.report(state, draining));
        }
    }

    /// Checks the rights from time to time.
    pub(super) fn check_rights(&mut self, setup: &Setup) {
        self.rights.check_regularly(&setup.heartbeat_conn, &setup.events);
    }

    /// Returns the probe, which is part of polls.
    pub(super) fn probe(&mut self) -> &mut Probe {
        &mut self.probe
    }

    /// Returns the owner of the known rights.
    pub(super) fn rights(&mut self) -> &mut Rights {
        &mut self.rights
    }

    /// Forgets the last results: a connection is a new one.
    pub(super) fn forget(&mut self) {
        self.probe.forget();
        self.rights.forget();
    }

    fn report(&self, (setup, queues, jobs): (&Setup, &[Queue], &Jobs), draining: bool) -> Report {
        let mut report = Report::default();
        if draining {
            report.reason("draining");
        }
        if !is_connected(setup) {
            report.reason("no connection to Redis");
        }
        let has_room = jobs.len() < jobs.concurrency();
        for queue in queues {
            if let Some(problem) = queue.problem(has_room, setup.lease) {
                report.reason(format!("queue {}: {problem}", queue.name()));
            }
            report.queue(queue.name(), queue.seen_ago());
        }
        if let Some(problem) = self.rights.problem() {
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
}

fn is_connected(setup: &Setup) -> bool {
    setup.shared.link.is_up() && setup.heartbeat_conn.is_up()
}
