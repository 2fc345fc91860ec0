//! A worker that stalls for longer than its lease, as on a suspended machine, and continues as if
//! nothing had happened.

use redcall_client::Ticket;
use rustix::process::Signal;

use super::{MARK, Stage, Watch, kill};
use crate::support::Logged;

/// A job that one worker runs and another has answered meanwhile.
struct Overtaken {
    stage: Stage,
    stopped: Logged,
    _successor: Logged,
    ticket: Ticket,
    watch: Watch,
    /// The number of the run that answered it.
    attempt: u32,
}

impl Overtaken {
    async fn new(name: &str) -> Self {
        let mut stage = Stage::new().await;
        let stopped = stage.successor().await;
        let ticket = stage.submit(name, Some("go")).await;
        let watch = stage.watch(&ticket).await;
        stage.has_done("ran 1", &stopped).await;
        stopped.signal(Signal::STOP);
        let successor = stage.successor().await;
        let attempt = stage.has_run(&successor).await;
        assert!(attempt > 1, "it was not counted as a run");
        stage.is_quiet().await;
        Self { stage, stopped, _successor: successor, ticket, watch, attempt }
    }

    /// Releases its handler, and the next step.
    fn opens_the_gate(&self) {
        std::fs::write(self.stage.folder.path().join("go"), "").unwrap();
    }
}

#[tokio::test]
async fn late_answer_of_a_stalled_worker_is_refused() {
    let overtaken = Overtaken::new("responds").await;
    overtaken.opens_the_gate();
    overtaken.stopped.signal(Signal::CONT);
    let Overtaken { mut stage, stopped, _successor, ticket, watch, attempt } = overtaken;
    stage.has_done("refused 1", &stopped).await;
    stage.is_answered_once(&ticket, watch, attempt).await;
}

#[tokio::test]
async fn stalled_worker_notifies_its_handler() {
    let overtaken = Overtaken::new("job").await;
    overtaken.stopped.signal(Signal::CONT);
    let Overtaken { mut stage, stopped, _successor, ticket, watch, attempt } = overtaken;
    stage.has_done("cancelled 1", &stopped).await;
    stage.is_answered_once(&ticket, watch, attempt).await;
}

#[tokio::test]
async fn stalled_worker_does_not_start_lost_leases() {
    let mut stage = Stage::new().await;
    let stopped = stage.cut_off().await;
    let leased = stage.proxy.hold_reply(|exchange| exchange.reply_contains(MARK));
    let ticket = stage.submit("job", None).await;
    let watch = stage.watch(&ticket).await;
    let leased = leased.await;
    stopped.signal(Signal::STOP);
    let successor = stage.successor().await;
    let attempt = stage.has_run(&successor).await;
    stage.is_quiet().await;
    kill(&successor).await;
    // As it continues it finds the lease, and is the only worker that can run another job.
    leased.release();
    stopped.signal(Signal::CONT);
    stage.is_answered_once(&ticket, watch, attempt).await;
    let next = stage.submit("job", None).await;
    next.wait().await.unwrap();
    let by_it = stage.effects().into_iter().filter(|(_, pid)| *pid == stopped.pid());
    assert_eq!(by_it.count(), 1, "{:?}", stage.effects());
}
