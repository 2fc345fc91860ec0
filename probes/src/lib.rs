//! Probes and metrics over HTTP: `/live`, `/ready`, `/metrics`.
//!
//! Served by a thread of its own, which neither handlers nor Redis can block. A program implements
//! [`Source`], whose answers have timeouts of their own, and starts [`Probes`] first and ends it
//! last. Nothing here logs per request: a log that is not read must not stop the probes.
//!
//! ```
//! use std::fmt;
//! use std::time::Duration;
//!
//! use redcall_probes::{Probes, Source};
//!
//! struct Idle;
//!
//! impl Source for Idle {
//!     fn stalled_for(&self) -> Option<Duration> {
//!         None
//!     }
//!
//!     async fn ready(&self) -> (bool, String) {
//!         (true, r#"{"ready":true}"#.to_owned())
//!     }
//!
//!     async fn metrics(&self) -> Result<String, fmt::Error> {
//!         Ok("# EOF\n".to_owned())
//!     }
//! }
//!
//! let probes = Probes::start(([127, 0, 0, 1], 0).into(), Idle)?;
//! println!("http://{}/ready", probes.address());
//! # Ok::<(), redcall_probes::ProbesError>(())
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `lib.rs` | the thread: started first, ended last |
//! | `serve.rs` | connections, and their limits |
//! | `routes.rs` | `/live`, `/ready`, `/metrics` |

mod routes;
mod serve;

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::oneshot;

/// Most connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// The state of a program, as its probes report it.
pub trait Source: Send + Sync + 'static {
    /// Returns how long the program's loop has made no progress; `None` if it is alive.
    fn stalled_for(&self) -> Option<Duration>;

    /// Returns `true` if the program is ready, and its report as JSON. Must end by itself.
    fn ready(&self) -> impl Future<Output = (bool, String)> + Send;

    /// Returns the metrics in the OpenMetrics text format, with its end mark. Must end by itself.
    fn metrics(&self) -> impl Future<Output = Result<String, fmt::Error>> + Send;
}

/// An error that prevents probes and metrics from being served.
#[derive(Debug, thiserror::Error)]
pub enum ProbesError {
    /// The address cannot be bound.
    #[error("cannot listen on {address}")]
    Listen {
        /// The configured address.
        address: SocketAddr,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The operating system refused a thread or an event queue.
    #[error("the operating system refused a resource that the probes need")]
    System(#[from] io::Error),
}

/// The thread that serves probes and metrics. Dropping it ends the thread, and frees the address.
pub struct Probes {
    address: SocketAddr,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Probes {
    /// Starts to listen on `address` and to serve. Port 0 selects a free one, which the log names.
    ///
    /// # Errors
    ///
    /// If the address cannot be bound, or the operating system refuses a thread.
    pub fn start(address: SocketAddr, source: impl Source) -> Result<Self, ProbesError> {
        let refused = |source| ProbesError::Listen { address, source };
        let listener = TcpListener::bind(address).map_err(refused)?;
        // The standard library's backlog is 128. The system drops a connection beyond the backlog,
        // and its client retries a second later.
        rustix::net::listen(&listener, BACKLOG).map_err(|error| refused(error.into()))?;
        listener.set_nonblocking(true).map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let router = routes::router(source);
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (end, ended) = oneshot::channel();
        let thread = thread::Builder::new().name("redcall-admin".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    served = serve::serve(listener, router) => if let Err(error) = served {
                        tracing::error!(%error, "stopped serving probes and metrics");
                    },
                    _ = ended => {}
                }
            });
            runtime.shutdown_background();
        })?;
        tracing::info!(%address, "serving probes and metrics");
        Ok(Self { address, end: Some(end), thread: Some(thread) })
    }

    /// Returns the address; if port 0 was requested, with the port that the system chose.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
