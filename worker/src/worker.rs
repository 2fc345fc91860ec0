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
///
/// ```
/// use redcall_worker::{Json, State, Worker};
///
/// struct Prices {
///     per_item: i64,
/// }
///
/// async fn price(Json(items): Json<i64>, prices: State<Prices>) -> Json<i64> {
///     Json(items * prices.per_item)
/// }
///
/// # redcall_testkit::example::with_worker(|settings| {
/// let worker = Worker::from_settings(settings)?
///     .state(Prices { per_item: 7 })
///     .handler("price", price);
/// # Ok(worker) }, async |client| {
/// // A client calls it by its name:
/// let answer = client.call_and_wait("price", &6).await?;
/// assert_eq!(answer.json::<i64>()?, 42);
/// # Ok(()) });
/// ```
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
    ///
    /// ```
    /// use redcall_worker::{Json, Worker};
    ///
    /// # redcall_testkit::example::with_worker(|settings| {
    /// let worker = Worker::from_settings(settings)?
    ///     .handler("double", async |Json(number): Json<i64>| Json(2 * number));
    /// # Ok(worker) }, async |client| {
    /// assert_eq!(client.call_and_wait("double", &21).await?.json::<i64>()?, 42);
    /// # Ok(()) });
    /// ```
    #[must_use]
    pub fn handler<Args: 'static>(mut self, name: &str, function: impl AsyncHandler<Args>) -> Self {
        self.source.compiled.insert(name.to_owned(), Arc::from(compiled(function)));
        self
    }

    /// Adds a plain function, which runs on the blocking pool; else as [`Worker::handler`].
    ///
    /// ```
    /// use redcall_worker::{HandlerError, Json, Worker};
    ///
    /// fn lines(Json(path): Json<String>) -> Result<Json<usize>, HandlerError> {
    ///     Ok(Json(std::fs::read_to_string(path)?.lines().count()))
    /// }
    ///
    /// # redcall_testkit::example::with_worker(|settings| {
    /// let worker = Worker::from_settings(settings)?.blocking_handler("lines", lines);
    /// # Ok(worker) }, async |client| {
    /// assert!(client.call_and_wait("lines", "Cargo.toml").await?.json::<usize>()? > 10);
    /// # Ok(()) });
    /// ```
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
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU64, Ordering};
    ///
    /// use redcall_worker::{Json, State, Worker};
    ///
    /// async fn visit(visits: State<AtomicU64>) -> Json<u64> {
    ///     Json(visits.fetch_add(1, Ordering::Relaxed) + 1)
    /// }
    ///
    /// # redcall_testkit::example::with_worker(|settings| {
    /// let worker =
    ///     Worker::from_settings(settings)?.state(AtomicU64::new(0)).handler("visit", visit);
    /// # Ok(worker) }, async |client| {
    /// assert_eq!(client.call_and_wait("visit", &()).await?.json::<u64>()?, 1);
    /// assert_eq!(client.call_and_wait("visit", &()).await?.json::<u64>()?, 2);
    /// # Ok(()) });
    /// ```
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
    /// ```
    /// use redcall_worker::{Settings, Worker};
    ///
    /// let worker = Worker::from_settings(Settings::default())?.handler("nap", async || {});
    /// let overview = worker.check()?;
    /// assert!(overview.jobs.iter().any(|job| job.name == "nap"));
    /// # Ok::<(), redcall_worker::WorkerError>(())
    /// ```
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
    /// ```
    /// use redcall_worker::{Settings, Worker};
    ///
    /// #[tokio::main]
    /// async fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     let settings = Settings::load(None)?; // from `redcall.toml` and the environment
    /// #   let redis = redcall_testkit::TestRedis::start().await;
    /// #   let settings = Settings { redis: redis.settings(), ..settings };
    /// #   let null = serde_json::Value::Null;
    /// #   let call = redcall_testkit::example::call_and_stop(&settings, "nap", &null, &null);
    ///     let worker = Worker::from_settings(settings)?.handler("nap", async || {});
    ///     worker.run().await?; // until SIGTERM or SIGINT
    /// #   call.await?;
    ///     Ok(())
    /// }
    /// ```
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
    /// ```
    /// use redcall_worker::{Settings, Stop, Worker};
    /// use tokio::sync::watch;
    ///
    /// #[tokio::main]
    /// async fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     let mut settings = Settings::default();
    /// #   let redis = redcall_testkit::TestRedis::start().await;
    ///     settings.redis.url = "redis://127.0.0.1:6379".to_owned();
    /// #   settings.redis.url = redis.url();
    ///     let worker = Worker::from_settings(settings)?.handler("nap", async || {});
    ///     let (stop, stopped) = watch::channel(Stop::No);
    ///     let running = tokio::spawn(worker.run_until(stopped));
    ///
    ///     stop.send(Stop::Drain)?; // starts no further job, ends when the running ones have ended
    ///     running.await??;
    ///     Ok(())
    /// }
    /// ```
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
