//! Long-lived processes that speak JSON-RPC 2.0 on stdin and stdout, one message a line; stderr
//! goes into the log. A process has one job at a time (`child.rs`), or as many as its answer to
//! `$/start` says (`crowd.rs`). One pool may serve many job names.
//!
//! A process is started when a job first needs it, and must answer `$/start`. One that dies takes
//! its job with it as a worker that dies would: the job runs again, unless its mapping says not to,
//! `max_crashes` times at most. One that says something else than was asked is replaced, and its
//! job fails. After each the next one starts later, from 100 ms to 10 s.

mod child;
mod crowd;
mod pool;
mod said;
mod wire;

use std::pin::Pin;
use std::sync::Arc;

use redcall_common::settings::ProcessSettings;

use self::child::Start;
use self::pool::Pool;
use super::budget::Budget;
use super::program::Program;
use super::{Handler, Place, Running};
use crate::request::Request;
use crate::state::States;

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
        place: &Place<'_>,
    ) -> Result<Self, String> {
        let program = Program::find(&settings.command, &settings.env, place)?;
        let (bounds, start_timeout) = (place.bounds, settings.start_timeout);
        let start = Start { program, bounds, start_timeout, budget: Budget::of(job) };
        Ok(Self { pool: Arc::new(Pool::new(start, settings.instances)) })
    }
}

impl ProcessHandler {
    /// How many requests its processes take at once, as far as their handshakes are known.
    pub(crate) fn capacity(&self) -> usize {
        self.pool.capacity()
    }
}

impl Handler for ProcessHandler {
    fn describe(&self) -> String {
        format!("process {}", self.pool.start().program.describe())
    }

    fn check(&self, _: &States) -> Result<(), String> {
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
