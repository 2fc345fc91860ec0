//! Long-lived processes that use JSON-RPC 2.0 on stdin and stdout, one message a line; stderr goes
//! into the log. A process has one job at a time (`child.rs`), or as many as its answer to
//! `$/start` states (`crowd.rs`). One pool may serve many job names.
//!
//! A process is started when a job first needs it, and must answer `$/start`. If it dies, its job
//! counts as crashed: it runs again, up to `max_crashes` times, unless its mapping forbids that. If
//! it prints an unexpected message, it is replaced, and its job fails. After each failure the next
//! start is delayed, from 100 ms to 10 s.

mod child;
mod crowd;
mod job_stderr;
mod pool;
mod wire;

use std::pin::Pin;
use std::sync::Arc;

use redcall_common::settings::ProcessSettings;

use self::child::StartSettings;
use self::pool::Pool;
use super::interface::{Handler, Running};
use super::program::budget::Budget;
use super::program::{Program, ProgramContext};
use crate::handler::compiled::state::StateMap;
use crate::run::request::Request;

/// Runs jobs by a pool of processes.
pub(crate) struct ProcessHandler {
    pool: Arc<Pool>,
}

impl ProcessHandler {
    /// # Errors
    ///
    /// As [`Program::find`].
    pub(crate) fn new(
        job: &str,
        settings: &ProcessSettings,
        context: &ProgramContext<'_>,
    ) -> Result<Self, String> {
        let program = Program::find(&settings.command, &settings.env, context)?;
        let (bounds, start_timeout) = (context.bounds, settings.start_timeout);
        let start = StartSettings { program, bounds, start_timeout, budget: Budget::of(job) };
        Ok(Self { pool: Arc::new(Pool::new(start, settings.instances)) })
    }
}

impl ProcessHandler {
    /// Returns the number of concurrent requests over its processes, as far as their handshakes are
    /// known.
    pub(crate) fn capacity(&self) -> usize {
        self.pool.capacity()
    }
}

impl Handler for ProcessHandler {
    fn describe(&self) -> String {
        format!("process {}", self.pool.start().program.describe())
    }

    fn check(&self, _: &StateMap) -> Result<(), String> {
        Ok(())
    }

    fn call(&self, request: Request) -> Running {
        let pool = self.pool.clone();
        Box::pin(async move { pool.run(&request).await })
    }

    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.pool.close())
    }
}
