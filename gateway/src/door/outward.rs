//! The worker of the jobs that the foreign side of a door runs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use redcall_client::Code;
use redcall_common::settings::{HandlerSettings, JobSettings, Settings};
use redcall_worker::{HandlerError, Json, Request, Stop, Worker, WorkerError};
use serde_json::value::RawValue;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use super::{Door, Failure};
use crate::error::DoorError;

/// How much longer the worker waits for a peer than the peer's own limit.
const SLACK: Duration = Duration::from_secs(5);
/// Pause before another start of a worker.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// Runs jobs on the foreign side of a door.
pub(crate) trait Peer: Send + Sync + 'static {
    /// Runs `job` and returns its answer as JSON. Dropping the future abandons the job: its caller
    /// has cancelled it, or its time is over.
    fn run(&self, job: ForeignJob) -> BoxFuture<'static, Result<Box<RawValue>, Failure>>;
}

/// A job for the foreign side.
#[derive(Clone)]
pub(crate) struct ForeignJob {
    request: Request,
    until: Instant,
}

impl ForeignJob {
    /// The request's id.
    pub(crate) fn id(&self) -> &str {
        self.request.id()
    }

    /// The job's name.
    pub(crate) fn name(&self) -> &str {
        self.request.name()
    }

    /// The data, as the caller wrote them.
    pub(crate) fn data(&self) -> &RawValue {
        self.request.data()
    }

    /// The caller's headers.
    pub(crate) fn headers(&self) -> &BTreeMap<String, String> {
        self.request.headers()
    }

    /// Returns how long the foreign side may take: the rest of the caller's time, the door's
    /// `timeout` at most.
    pub(crate) fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// Pushes progress to a caller that reads the stream. An error means that there is no reader.
    pub(crate) async fn progress(&self, data: &RawValue) {
        if let Err(error) = self.request.progress(data).await {
            tracing::debug!(id = self.id(), %error, "dropped the progress of a job");
        }
    }
}

impl Door {
    /// Leases the jobs of `serves` from `queues`, and has `peer` run them, until `until` completes
    /// or the door drains; then waits for the running ones, for `worker.drain_timeout` at most.
    /// Tries again while Redis cannot be reached.
    ///
    /// # Errors
    ///
    /// If the worker cannot start for another reason.
    pub(crate) async fn run_jobs(
        &self,
        peer: Arc<dyn Peer>,
        until: impl Future<Output = ()>,
    ) -> Result<(), DoorError> {
        let over = async {
            tokio::select! {
                () = until => {}
                () = self.draining() => {}
            }
        };
        let mut over = std::pin::pin!(over);
        loop {
            let (stop, stopped) = watch::channel(Stop::No);
            let mut running = std::pin::pin!(self.worker(&peer)?.run_until(stopped));
            tokio::select! {
                ended = &mut running => match ended {
                    Err(WorkerError::Store(error)) => {
                        tracing::warn!(gateway = self.name, %error, "retrying to start a worker");
                    }
                    ended => return Ok(ended?),
                },
                () = &mut over => {
                    stop.send_replace(Stop::Drain);
                    return Ok(running.await?);
                }
            }
            tokio::select! {
                () = sleep(RESTART_PAUSE) => {}
                () = &mut over => return Ok(()),
            }
        }
    }

    /// Returns the worker whose handlers are `peer`.
    fn worker(&self, peer: &Arc<dyn Peer>) -> Result<Worker, WorkerError> {
        let mut worker = Worker::from_settings(self.worker_settings())?;
        for name in &self.settings.outward.serves {
            let (peer, timeout) = (peer.clone(), self.settings.timeout);
            let handler = move |request: Request| run(peer.clone(), request, timeout);
            worker = worker.handler(name, handler);
        }
        Ok(worker)
    }

    /// Returns the settings of the worker: nothing but the jobs of `serves`, under their rules of
    /// `[jobs]`.
    fn worker_settings(&self) -> Settings {
        let mut settings = (*self.all).clone();
        let outward = &self.settings.outward;
        let rules = |name: &String| {
            let kind = HandlerSettings::Compiled(name.clone());
            let rules = match settings.jobs.get(name) {
                Some(rules) => JobSettings { kind, ..rules.clone() },
                None => JobSettings::new(kind),
            };
            // The peer's own limit comes first, and has its own error.
            let timeout = self.settings.timeout.saturating_add(SLACK);
            (name.clone(), JobSettings { timeout, ..rules })
        };
        settings.jobs = outward.serves.iter().map(rules).collect();
        settings.worker.queues.clone_from(&outward.queues);
        settings.worker.concurrency = outward.concurrency;
        settings.worker.name = Some(self.name.clone());
        // It has returned its jobs before the gateway's own time is over.
        settings.worker.drain_timeout = settings.worker.drain_timeout.mul_f32(0.9);
        settings.services.clear();
        settings.schedules.clear();
        settings.pools.clear();
        settings.gateways.clear();
        settings.admin.listen = None;
        settings.events.heartbeat = None;
        // The start of the gateway has warned.
        settings.redis.skip_safety_warning = true;
        settings
    }
}

/// Runs one job, within its time.
async fn run(
    peer: Arc<dyn Peer>,
    request: Request,
    timeout: Duration,
) -> Result<Json<Box<RawValue>>, HandlerError> {
    let left = request.remaining().map_or(timeout, |left| left.min(timeout));
    let until = Instant::now() + left;
    let running = peer.run(ForeignJob { request, until });
    match timeout_at(until, running).await {
        Ok(result) => Ok(Json(result?)),
        Err(_) => {
            let message = "the foreign side did not answer in time";
            Err(HandlerError::with_code(Code::DeadlineExceeded, message))
        }
    }
}

/// Returns a foreign text for a message: on one line, 64 characters at most.
pub(crate) fn shortened(text: &str) -> String {
    let shown: String = text.chars().take(64).collect();
    let cut = if shown.len() < text.len() { "…" } else { "" };
    format!("{}{cut}", shown.escape_debug())
}
