//! Jobs that run until their test ends them: no time of theirs can pass too soon or too late.

use std::sync::Arc;

use redcall_testkit::eventually;
use redcall_worker::{State, Worker};
use tokio::sync::Semaphore;

use crate::support::SettingsFile;

/// The job `held` of a worker in this process.
#[derive(Clone)]
pub(crate) struct Held {
    /// A permit for each run that has started.
    started: Arc<Semaphore>,
    /// A permit for each run that may end.
    ends: Arc<Semaphore>,
}

async fn held(held: State<Held>) {
    held.run_in_handler().await;
}

impl Held {
    pub(crate) fn new() -> Self {
        let none = || Arc::new(Semaphore::new(0));
        Self { started: none(), ends: none() }
    }

    /// Runs until the test ends it: for other handlers.
    pub(crate) async fn run_in_handler(&self) {
        self.started.add_permits(1);
        self.ends.acquire().await.unwrap().forget();
    }

    /// Puts the job in.
    pub(crate) fn on(&self, worker: Worker) -> Worker {
        worker.state(self.clone()).handler("held", held)
    }

    /// Waits until so many further runs have started. A lease alone does not show that: a worker
    /// that stops or is paused returns requests that it has not started.
    pub(crate) async fn run(&self, count: u32) {
        self.started.acquire_many(count).await.unwrap().forget();
    }

    /// Ends so many runs.
    pub(crate) fn end(&self, count: usize) {
        self.ends.add_permits(count);
    }
}

/// The job `held` of a worker program: a command.
pub(crate) struct HeldCommand(SettingsFile);

impl HeldCommand {
    pub(crate) fn new() -> Self {
        let script = "echo > runs; until test -e go; do sleep 0.02; done; echo null";
        Self(SettingsFile::new(&format!("[jobs.held]\ncommand = ['sh', '-c', '{script}']\n")))
    }

    /// The variable that names its settings.
    pub(crate) fn variable(&self) -> (String, String) {
        ("REDCALL_SETTINGS".to_owned(), self.0.arg().to_owned())
    }

    /// Waits until it has started.
    pub(crate) async fn runs(&self) {
        let file = self.0.dir().join("runs");
        eventually("the command to run", async || file.exists().then_some(())).await;
    }

    /// Ends it.
    pub(crate) fn end(&self) {
        std::fs::write(self.0.dir().join("go"), "").unwrap();
    }
}
