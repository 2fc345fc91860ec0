//! The runtime of a program's handlers.

use std::io;
use std::thread::available_parallelism;

use tokio::runtime::{Builder, Runtime};

/// Returns a runtime for handlers, for programs without one of their own.
///
/// It has at least four threads, also on fewer cores: a handler that blocks its thread must not
/// stop the others. End it with `shutdown_background`: otherwise a handler that ignores its
/// cancellation keeps the process alive.
///
/// # Errors
///
/// If the operating system refuses threads or an event queue.
pub fn handler_runtime() -> io::Result<Runtime> {
    let threads = available_parallelism().map_or(4, |cores| cores.get().max(4));
    Builder::new_multi_thread().worker_threads(threads).enable_all().build()
}
