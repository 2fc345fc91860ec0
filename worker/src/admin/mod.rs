//! Probes and metrics over HTTP: whether the worker lives, whether it consumes, what it did.
//!
//! On a thread of its own, which neither handlers nor Redis can hold up; it asks the thread that
//! talks to Redis, and never waits for it without a bound. Nothing here logs per request: a log
//! that nobody reads must not stop the probes.
//!
//! | file | holds |
//! |---|---|
//! | `mod.rs` | the thread: bound first, ended last |
//! | `serve.rs` | connections, and their bounds |
//! | `routes.rs` | `/live`, `/ready`, `/metrics` |
//! | `pulse.rs` | how the loop at Redis shows that it goes round |
//! | `report.rs` | what `/ready` says |
//! | `scrape.rs` | what `/metrics` says |

mod pulse;
mod report;
mod routes;
mod scrape;
mod serve;

use std::net::TcpListener;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use redcall_common::keys::Keys;
use redcall_common::settings::Settings;
use redcall_store::Connector;
use redcall_store::inspect::Inspector;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

pub(crate) use pulse::Pulse;
pub(crate) use report::Report;

use crate::error::WorkerError;
use crate::failure::whole;
use crate::metrics::Metrics;
use crate::readiness::Line;
use scrape::Scrape;

/// How many connections may wait to be taken.
const BACKLOG: i32 = 1024;

/// What the answers are made of.
pub(crate) struct Desk {
    pub(crate) line: Line,
    pub(crate) metrics: Arc<Metrics>,
}

/// The thread. Dropping it ends it, and frees the address.
pub(crate) struct Admin {
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Admin {
    /// Listens and serves from now on; `None` if the settings do not want it.
    ///
    /// # Errors
    ///
    /// When the address cannot be had, or the operating system refuses a thread.
    pub(crate) fn start(settings: &Settings, desk: Desk) -> Result<Option<Self>, WorkerError> {
        let Some(address) = settings.admin.listen else { return Ok(None) };
        let refused = |source| WorkerError::Listen { address, source };
        let listener = TcpListener::bind(address).map_err(refused)?;
        // More than the 128 that the standard library asks for: one beyond them is dropped by the
        // system, and its peer tries again a second later.
        rustix::net::listen(&listener, BACKLOG).map_err(|error| refused(error.into()))?;
        listener.set_nonblocking(true).map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let connector = Connector::new(&settings.redis, "redcall-admin")?;
        let inspector = Inspector::new(&connector, Keys::new(&settings.redis.prefix));
        let scrape = Scrape::new(desk.metrics.clone(), inspector, &settings.served_queues());
        let router = routes::router(desk, scrape);
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (end, ended) = oneshot::channel();
        let thread = thread::Builder::new().name("redcall-admin".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    served = serve::serve(listener, router) => if let Err(error) = served {
                        let error = whole(&error);
                        tracing::error!(error, "probes and metrics are not served any more");
                    },
                    _ = ended => {}
                }
            });
            runtime.shutdown_background();
        })?;
        tracing::info!(%address, "probes and metrics are served");
        Ok(Some(Self { end: Some(end), thread: Some(thread) }))
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
