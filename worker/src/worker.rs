//! A worker: runs jobs with settings and handlers.

use std::collections::BTreeMap;
use std::sync::Arc;

use redcall_common::settings::Settings;
use tokio::sync::{mpsc, watch};

use crate::background::reload::{self, Source};
use crate::background::signals;
use crate::error::WorkerError;
use crate::handler::compiled::state::StateMap;
use crate::handler::compiled::{AsyncHandler, BlockingHandler, blocking, compiled};
use crate::io;
use crate::overview::Overview;
use crate::readiness::Readiness;
use crate::stop::Stop;

/// Runs jobs. Create it, then call [`Worker::run`].
pub struct Worker {
    source: Source,
    readiness: Readiness,
}

impl Worker {
    /// Returns a worker with the built-in handlers.
    ///
    /// # Errors
    ///
    /// None yet. [`Worker::check`] and [`Worker::run`] look up the names in the settings, after the
    /// handlers have been added.
    pub fn from_settings(settings: Settings) -> Result<Self, WorkerError> {
        let (compiled, states) = (BTreeMap::new(), StateMap::default());
        let source = Source { settings, compiled, states };
        Ok(Self { source, readiness: Readiness::default() })
    }

    /// Adds an async function over extractors ([`crate::FromRequest`]) as handler `name`.
    ///
    /// It runs jobs of that name, unless the settings map it under other names.
    #[must_use]
    pub fn handler<Args: 'static>(mut self, name: &str, function: impl AsyncHandler<Args>) -> Self {
        self.source.compiled.insert(name.to_owned(), Arc::from(compiled(function)));
        self
    }

    /// Adds a plain function, which runs on the blocking pool; else as [`Worker::handler`].
    #[must_use]
    pub fn blocking_handler<Args: 'static>(
        mut self,
        name: &str,
        function: impl BlockingHandler<Args>,
    ) -> Self {
        self.source.compiled.insert(name.to_owned(), Arc::from(blocking(function)));
        self
    }

    /// Shares `state` with all handlers that take a [`crate::State`] of its type.
    #[must_use]
    pub fn state<S: Send + Sync + 'static>(mut self, state: S) -> Self {
        self.source.states.insert(state);
        self
    }

    /// Returns a handle that reports whether the worker is ready, once it runs.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        self.readiness.clone()
    }

    /// Looks up every name in the settings, without Redis. Does not check jobs of schedules that
    /// only other workers map: their names are at Redis.
    ///
    /// # Errors
    ///
    /// The first name that does not exist.
    pub fn check(&self) -> Result<Overview, WorkerError> {
        Ok(Overview::of(&self.source.settings, &self.source.mapping()?))
    }

    /// Runs jobs until SIGTERM or SIGINT, then drains; a second signal ends it at once. At SIGHUP
    /// it reloads `[jobs]`, `[auth]` and `[schedules]` of its settings. Running jobs are not
    /// affected, and invalid settings change nothing.
    ///
    /// Handlers run on the Tokio runtime that polls this future; a thread of its own talks to
    /// Redis. A handler that blocks its thread therefore loses no lease.
    ///
    /// # Errors
    ///
    /// If the worker cannot start: settings, handlers, Redis. Once started, it recovers lost
    /// connections. Dropping the future returns its jobs to their queues, without waiting for that.
    pub async fn run(self) -> Result<(), WorkerError> {
        let (_signals, stop) = signals::spawn()?;
        let mapping = self.source.mapping()?;
        let (settings, states) = (self.source.settings.clone(), self.source.states.clone());
        let (_reload, reloads) = reload::spawn(self.source)?;
        io::run(settings, mapping, states, stop, reloads, &self.readiness).await
    }

    /// Runs as [`Worker::run`], but stops at `stop` and at no signal.
    ///
    /// # Errors
    ///
    /// As [`Worker::run`].
    pub async fn run_until(self, stop: watch::Receiver<Stop>) -> Result<(), WorkerError> {
        let mapping = self.source.mapping()?;
        let (_, no_reloads) = mpsc::channel(1);
        let Source { settings, states, .. } = self.source;
        io::run(settings, mapping, states, stop, no_reloads, &self.readiness).await
    }
}
