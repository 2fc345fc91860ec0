//! The reports of the gateway's probes and its metrics. The crate `redcall-probes` serves them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use prometheus_client::encoding::text;
use redcall_client::Client;
use redcall_common::settings::Settings;
use redcall_common::time::millis;
use redcall_probes::{Probes, ProbesError, Source};
use serde::Serialize;
use tokio::task::AbortHandle;
use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::door::Metrics;
use crate::error::GatewayError;

/// Time limit of the query to Redis. A prober usually waits a second or more.
const REDIS_TIMEOUT: Duration = Duration::from_millis(900);
/// Period of the runtime's pulse, and how long it may be missing.
const PULSE: Duration = Duration::from_secs(1);
const STALLED: Duration = Duration::from_secs(10);
/// The queue that readiness queries in Redis; it need not exist.
const PROBED_QUEUE: &str = "default";

/// Everything that the probes report.
pub(crate) struct GatewaySource {
    pub(crate) client: Client,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) draining: CancellationToken,
    pulse: Arc<Pulse>,
    /// Ends the task of the pulse.
    beating: AbortHandle,
}

/// The last time at which the runtime of the doors ran a task.
struct Pulse {
    start: Instant,
    /// Ms after `start`. Written by the task of the pulse.
    last_ms: AtomicU64,
}

/// The body of `/ready`.
#[derive(Serialize)]
struct Report {
    ready: bool,
    reasons: Vec<&'static str>,
}

/// Starts to listen and serve; returns `None` if the settings name no address.
///
/// # Errors
///
/// If the address cannot be bound, or the operating system refuses a thread.
pub(crate) fn start(
    settings: &Settings,
    source: GatewaySource,
) -> Result<Option<Probes>, GatewayError> {
    let Some(address) = settings.admin.listen else { return Ok(None) };
    Probes::start(address, source).map(Some).map_err(|error| match error {
        ProbesError::Listen { address, source } => GatewayError::Admin { address, source },
        ProbesError::System(error) => GatewayError::System(error),
    })
}

impl GatewaySource {
    pub(crate) fn new(client: Client, metrics: Arc<Metrics>, draining: CancellationToken) -> Self {
        let pulse = Arc::new(Pulse { start: Instant::now(), last_ms: AtomicU64::new(0) });
        let beats = pulse.clone();
        let beating = tokio::spawn(async move {
            let mut ticks = interval(PULSE);
            loop {
                ticks.tick().await;
                beats.last_ms.store(millis(beats.start.elapsed()), Ordering::Relaxed);
            }
        });
        Self { client, metrics, draining, pulse, beating: beating.abort_handle() }
    }
}

impl Drop for GatewaySource {
    fn drop(&mut self) {
        self.beating.abort();
    }
}

impl Source for GatewaySource {
    fn stalled_for(&self) -> Option<Duration> {
        let last = Duration::from_millis(self.pulse.last_ms.load(Ordering::Relaxed));
        let since = self.pulse.start.elapsed().saturating_sub(last);
        (since > STALLED).then_some(since)
    }

    async fn ready(&self) -> (bool, String) {
        let mut reasons = Vec::new();
        if self.draining.is_cancelled() {
            reasons.push("draining");
        }
        let probe = timeout(REDIS_TIMEOUT, self.client.is_paused(PROBED_QUEUE)).await;
        if !matches!(probe, Ok(Ok(_))) {
            reasons.push("Redis does not answer");
        }
        let ready = reasons.is_empty();
        // Texts only: nothing here can fail to serialise.
        (ready, serde_json::to_string(&Report { ready, reasons }).unwrap_or_default())
    }

    async fn metrics(&self) -> Result<String, fmt::Error> {
        let mut out = String::new();
        self.metrics.encode(&mut out)?;
        text::encode_eof(&mut out)?;
        Ok(out)
    }
}
