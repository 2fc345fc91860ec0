//! A worker: settings and handlers in, running jobs out.

use std::collections::BTreeMap;
use std::sync::Arc;

use redcall_common::settings::Settings;
use tokio::sync::watch;

use crate::error::WorkerError;
use crate::handler::compiled::{AsyncHandler, BlockingHandler, blocking, compiled};
use crate::io;
use crate::mapping::{Compiled, MappedJob, Mapping};
use crate::signals;
use crate::state::States;
use crate::stop::Stop;

/// Runs jobs. Build it, then [`Worker::run`].
pub struct Worker {
    settings: Settings,
    compiled: Compiled,
    states: States,
}

impl Worker {
    /// A worker with the built-in handlers.
    ///
    /// # Errors
    ///
    /// None yet; what the settings name is looked up by [`Worker::check`] and [`Worker::run`],
    /// after the handlers have been put in.
    pub fn from_settings(settings: Settings) -> Result<Self, WorkerError> {
        Ok(Self { settings, compiled: BTreeMap::new(), states: States::default() })
    }

    /// Puts in an async function over extractors ([`crate::FromRequest`]) as handler `name`.
    ///
    /// It runs jobs of that name, unless the settings map it under other names.
    #[must_use]
    pub fn handler<Args: 'static>(mut self, name: &str, function: impl AsyncHandler<Args>) -> Self {
        self.compiled.insert(name.to_owned(), Arc::from(compiled(function)));
        self
    }

    /// As [`Worker::handler`] for a plain function, which runs on the blocking pool.
    #[must_use]
    pub fn blocking_handler<Args: 'static>(
        mut self,
        name: &str,
        function: impl BlockingHandler<Args>,
    ) -> Self {
        self.compiled.insert(name.to_owned(), Arc::from(blocking(function)));
        self
    }

    /// Shares `state` with all handlers that take a [`crate::State`] of its type.
    #[must_use]
    pub fn state<S: Send + Sync + 'static>(mut self, state: S) -> Self {
        self.states.insert(state);
        self
    }

    /// Looks everything up that the settings name, without Redis.
    ///
    /// # Errors
    ///
    /// The first thing that is not there.
    pub fn check(&self) -> Result<Vec<MappedJob>, WorkerError> {
        Ok(self.mapping()?.describe())
    }

    /// Runs jobs until SIGTERM or SIGINT, then drains; a second signal ends it at once.
    ///
    /// Handlers run on the Tokio runtime that polls this future, everything that talks to Redis
    /// on a thread of its own: a handler that blocks its thread loses no lease.
    ///
    /// # Errors
    ///
    /// When it cannot start: settings, handlers, Redis. Later losses of the connection are made
    /// good. Dropping the future gives its jobs back, without waiting for that.
    pub async fn run(self) -> Result<(), WorkerError> {
        let stop = signals::listen()?;
        self.run_until(stop).await
    }

    /// As [`Worker::run`], but stopped by `stop` and by no signal.
    ///
    /// # Errors
    ///
    /// As [`Worker::run`].
    pub async fn run_until(self, stop: watch::Receiver<Stop>) -> Result<(), WorkerError> {
        let mapping = self.mapping()?;
        io::run(self.settings, mapping, self.states, stop).await
    }

    fn mapping(&self) -> Result<Mapping, WorkerError> {
        let mapping = Mapping::new(&self.settings, &self.compiled)?;
        mapping.check(&self.states)?;
        Ok(mapping)
    }
}
