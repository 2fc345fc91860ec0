//! A worker: settings and handlers in, running jobs out.

use std::collections::BTreeMap;
use std::sync::Arc;

use redcall_common::settings::Settings;
use tokio::sync::{mpsc, watch};

use crate::error::WorkerError;
use crate::handler::compiled::{AsyncHandler, BlockingHandler, blocking, compiled};
use crate::io;
use crate::overview::Overview;
use crate::readiness::Readiness;
use crate::reload::{self, Source};
use crate::signals;
use crate::state::States;
use crate::stop::Stop;

/// Runs jobs. Build it, then [`Worker::run`].
pub struct Worker {
    source: Source,
    readiness: Readiness,
}

impl Worker {
    /// A worker with the built-in handlers.
    ///
    /// # Errors
    ///
    /// None yet; what the settings name is looked up by [`Worker::check`] and [`Worker::run`],
    /// after the handlers have been put in.
    pub fn from_settings(settings: Settings) -> Result<Self, WorkerError> {
        let (compiled, states) = (BTreeMap::new(), States::default());
        let source = Source { settings, compiled, states };
        Ok(Self { source, readiness: Readiness::default() })
    }

    /// Puts in an async function over extractors ([`crate::FromRequest`]) as handler `name`.
    ///
    /// It runs jobs of that name, unless the settings map it under other names.
    #[must_use]
    pub fn handler<Args: 'static>(mut self, name: &str, function: impl AsyncHandler<Args>) -> Self {
        self.source.compiled.insert(name.to_owned(), Arc::from(compiled(function)));
        self
    }

    /// As [`Worker::handler`] for a plain function, which runs on the blocking pool.
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

    /// What says whether it is ready, once it runs.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        self.readiness.clone()
    }

    /// Looks everything up that the settings name, without Redis. Whether another worker maps the
    /// job of a schedule that this one does not, only Redis knows.
    ///
    /// # Errors
    ///
    /// The first thing that is not there.
    pub fn check(&self) -> Result<Overview, WorkerError> {
        Ok(Overview::of(&self.source.settings, &self.source.mapping()?))
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
        let mapping = self.source.mapping()?;
        let (settings, states) = (self.source.settings.clone(), self.source.states.clone());
        let reloads = reload::listen(self.source)?;
        io::run(settings, mapping, states, stop, reloads, &self.readiness).await
    }

    /// As [`Worker::run`], but stopped by `stop` and by no signal.
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
