//! Probes and metrics over HTTP: liveness, readiness, counters.
//!
//! Served by a thread of its own, which neither handlers nor Redis can block. It requests reports
//! from the dispatcher, always with a timeout. Nothing here logs per request: a log that is not
//! read must not stop the probes.
//!
//! | file | holds |
//! |---|---|
//! | `mod.rs` | the thread: started first, ended last |
//! | `serve.rs` | connections, and their limits |
//! | `routes.rs` | `/live`, `/ready`, `/metrics` |
//! | `scrape.rs` | the body of `/metrics` |

mod routes;
mod scrape;
mod serve;

use std::net::TcpListener;
use std::thread::{self, JoinHandle};

use redcall_common::keys::Keys;
use redcall_common::settings::Settings;
use redcall_store::Connector;
use redcall_store::inspect::Inspector;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

pub(crate) use routes::AdminState;

use crate::causes::with_causes;
use crate::error::WorkerError;
use scrape::Scrape;

/// Most connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// The admin thread. Dropping it ends the thread, and frees the address.
pub(crate) struct Admin {
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Admin {
    /// Starts to listen and serve; returns `None` if the settings name no address.
    ///
    /// # Errors
    ///
    /// If the address cannot be bound, or the operating system refuses a thread.
    pub(crate) fn start(
        settings: &Settings,
        state: AdminState,
    ) -> Result<Option<Self>, WorkerError> {
        let Some(address) = settings.admin.listen else { return Ok(None) };
        let refused = |source| WorkerError::Listen { address, source };
        let listener = TcpListener::bind(address).map_err(refused)?;
        // The standard library's backlog is 128. The system drops a connection beyond the backlog,
        // and its client retries a second later.
        rustix::net::listen(&listener, BACKLOG).map_err(|error| refused(error.into()))?;
        listener.set_nonblocking(true).map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let connector = Connector::new(&settings.redis, "redcall-admin")?;
        let inspector = Inspector::new(&connector, Keys::new(&settings.redis.prefix));
        let scrape = Scrape::new(state.metrics.clone(), inspector, &settings.served_queues());
        let router = routes::router(state, scrape);
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (end, ended) = oneshot::channel();
        let thread = thread::Builder::new().name("redcall-admin".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    served = serve::serve(listener, router) => if let Err(error) = served {
                        let error = with_causes(&error);
                        tracing::error!(error, "stopped serving probes and metrics");
                    },
                    _ = ended => {}
                }
            });
            runtime.shutdown_background();
        })?;
        tracing::info!(%address, "serving probes and metrics");
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
