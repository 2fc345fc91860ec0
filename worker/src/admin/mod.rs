//! The reports of the worker's probes and its metrics. The crate `redcall-probes` serves them.
//!
//! | file | holds |
//! |---|---|
//! | `mod.rs` | liveness and readiness; the start |
//! | `scrape.rs` | the body of `/metrics` |

mod scrape;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redcall_common::keys::Keys;
use redcall_common::settings::Settings;
use redcall_probes::{Probes, ProbesError, Source};
use redcall_store::Connector;
use redcall_store::inspect::Inspector;

use crate::error::WorkerError;
use crate::metrics::Metrics;
use crate::readiness::ReadinessHandle;
use scrape::Scrape;

/// Everything that the probes report.
pub(crate) struct AdminState {
    pub(crate) readiness: ReadinessHandle,
    pub(crate) metrics: Arc<Metrics>,
}

/// The source of the probes.
struct WorkerSource {
    readiness: ReadinessHandle,
    scrape: Scrape,
}

/// Starts to listen and serve; returns `None` if the settings name no address.
///
/// # Errors
///
/// If the address cannot be bound, or the operating system refuses a thread.
pub(crate) fn start(settings: &Settings, state: AdminState) -> Result<Option<Probes>, WorkerError> {
    let Some(address) = settings.admin.listen else { return Ok(None) };
    let connector = Connector::new(&settings.redis, "redcall-admin")?;
    let inspector = Inspector::new(&connector, Keys::new(&settings.redis.prefix));
    let AdminState { readiness, metrics } = state;
    let scrape = Scrape::new(metrics, inspector, &settings.served_queues());
    let probes = Probes::start(address, WorkerSource { readiness, scrape });
    Ok(Some(probes.map_err(refused)?))
}

fn refused(error: ProbesError) -> WorkerError {
    match error {
        ProbesError::Listen { address, source } => WorkerError::Listen { address, source },
        ProbesError::System(error) => WorkerError::System(error),
    }
}

impl Source for WorkerSource {
    fn stalled_for(&self) -> Option<Duration> {
        self.readiness.pulse.stalled_for()
    }

    async fn ready(&self) -> (bool, String) {
        self.readiness.report().await.finish()
    }

    async fn metrics(&self) -> Result<String, fmt::Error> {
        self.scrape.text().await
    }
}
