//! A worker: settings and handlers in, running jobs out.

use std::collections::BTreeMap;
use std::sync::Arc;

use redcall_common::settings::Settings;
use tokio::sync::{mpsc, watch};

use crate::error::WorkerError;
use crate::handler::compiled::{AsyncHandler, BlockingHandler, blocking, compiled};
use crate::io;
use crate::mapping::MappedJob;
use crate::reload::{self, Source};
use crate::signals;
use crate::state::States;
use crate::stop::Stop;

/// Runs jobs. Build it, then [`Worker::run`].
pub struct Worker(Source);

impl Worker {
    /// A worker with the built-in handlers.
    ///
    /// # Errors
    ///
    /// None yet; what the settings name is looked up by [`Worker::check`] and [`Worker::run`],
    /// after the handlers have been put in.
    pub fn from_settings(settings: Settings) -> Result<Self, WorkerError> {
        Ok(Self(Source { settings, compiled: BTreeMap::new(), states: States::default() }))
    }

    /// Puts in an async function over extractors ([`crate::FromRequest`]) as handler `name`.
    ///
    /// It runs jobs of that name, unless the settings map it under other names.
    #[must_use]
    pub fn handler<Args: 'static>(mut self, name: &str, function: impl AsyncHandler<Args>) -> Self {
        self.0.compiled.insert(name.to_owned(), Arc::from(compiled(function)));
        self
    }

    /// As [`Worker::handler`] for a plain function, which runs on the blocking pool.
    #[must_use]
    pub fn blocking_handler<Args: 'static>(
        mut self,
        name: &str,
        function: impl BlockingHandler<Args>,
    ) -> Self {
        self.0.compiled.insert(name.to_owned(), Arc::from(blocking(function)));
        self
    }

    /// Shares `state` with all handlers that take a [`crate::State`] of its type.
    #[must_use]
    pub fn state<S: Send + Sync + 'static>(mut self, state: S) -> Self {
        self.0.states.insert(state);
        self
    }

    /// Looks everything up that the settings name, without Redis.
    ///
    /// # Errors
    ///
    /// The first thing that is not there.
    pub fn check(&self) -> Result<Vec<MappedJob>, WorkerError> {
        Ok(self.0.mapping()?.describe())
    }

    /// Runs jobs until SIGTERM or SIGINT, then drains; a second signal ends it at once. At SIGHUP
    /// it reads `[jobs]`, `[auth]` and `[schedules]` of its settings again; what runs goes on as it
    /// began, and settings that are not valid change nothing.
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
        let mapping = self.0.mapping()?;
        let (settings, states) = (self.0.settings.clone(), self.0.states.clone());
        let reloads = reload::listen(self.0)?;
        io::run(settings, mapping, states, stop, reloads).await
    }

    /// As [`Worker::run`], but stopped by `stop` and by no signal.
    ///
    /// # Errors
    ///
    /// As [`Worker::run`].
    pub async fn run_until(self, stop: watch::Receiver<Stop>) -> Result<(), WorkerError> {
        let mapping = self.0.mapping()?;
        let (_, no_reloads) = mpsc::channel(1);
        io::run(self.0.settings, mapping, self.0.states, stop, no_reloads).await
    }
}
