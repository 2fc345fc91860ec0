//! The workers of the demo, as child processes or inside this process.

use std::os::unix::process::ExitStatusExt as _;

use futures_util::future::{join_all, select_all};
use redcall_common::report::Problem;
use redcall_common::settings::Settings;
use redcall_worker::{Stop, WorkerError};
use rustix::process::Signal;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::process::Process;
use crate::failure::Failure;
use crate::root::Root;
use crate::{mapping, worker};

/// Running workers, at least one.
pub(super) enum Crew {
    /// Child processes.
    Processes(Vec<Process>),
    /// A task of this process.
    Task {
        /// Stops it.
        stop: watch::Sender<Stop>,
        /// Its task; taken once its end was observed.
        task: Option<JoinHandle<Result<(), WorkerError>>>,
    },
}

impl Crew {
    /// Starts `count` processes.
    pub(super) fn processes(
        count: u16,
        settings: &Settings,
        root: &Root,
        without_python: bool,
    ) -> Result<Self, Failure> {
        let start = |_| Process::start(settings, root, without_python);
        let started: Result<_, _> = (0..count).map(start).collect();
        let processes = started.map_err(|error| Failure::new(Problem::of(&error)))?;
        Ok(Self::Processes(processes))
    }

    /// Starts one worker in this process.
    pub(super) fn task(
        settings: &Settings,
        root: &Root,
        without_python: bool,
    ) -> Result<Self, Failure> {
        let mut settings = settings.clone();
        mapping::fit(&mut settings, root, without_python);
        let worker = worker::build(settings, root.clone())?;
        let (stop, stopped) = watch::channel(Stop::No);
        Ok(Self::Task { stop, task: Some(tokio::spawn(worker.run_until(stopped))) })
    }

    /// Waits until a worker ends by itself, which means a common fault. Cancel safe.
    pub(super) async fn lost(&mut self) -> Failure {
        match self {
            Self::Processes(processes) => {
                let ends = processes.iter_mut().map(|process| Box::pin(process.ended()));
                let (status, index, _) = select_all(ends).await;
                let status = status.map_or_else(|error| error.to_string(), |it| it.to_string());
                let what = format!("worker {} ended early ({status})", index + 1);
                Failure::new(Problem::new(what).help("Its messages are above."))
            }
            Self::Task { task, .. } => match end_of(task).await {
                Ok(()) => Failure::new(Problem::new("the worker ended early")),
                Err(failure) => failure,
            },
        }
    }

    /// Drains all of them and waits for their ends. Bounded.
    pub(super) async fn end(self) -> Result<(), Failure> {
        match self {
            Self::Processes(processes) => {
                let ends = join_all(processes.into_iter().map(Process::end)).await;
                for (number, status) in (1..).zip(ends) {
                    let status = status.map_err(|error| Failure::new(Problem::of(&error)))?;
                    // Ended by our signal before it handled signals: it had not started a job.
                    if !status.success() && status.signal() != Some(Signal::TERM.as_raw()) {
                        let what = format!("worker {number} failed at its end ({status})");
                        return Err(Failure::new(Problem::new(what)));
                    }
                }
                Ok(())
            }
            Self::Task { stop, mut task } => {
                stop.send_replace(Stop::Drain);
                // The worker bounds its own shutdown.
                end_of(&mut task).await
            }
        }
    }
}

/// Waits for the end of a worker's task, unless it was observed already. Cancel safe.
async fn end_of(task: &mut Option<JoinHandle<Result<(), WorkerError>>>) -> Result<(), Failure> {
    let Some(running) = task else { return Ok(()) };
    let ended = running.await;
    *task = None;
    ended.map_err(|error| Failure::new(Problem::of(&error)))?.map_err(Into::into)
}
