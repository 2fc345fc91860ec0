//! The runtime on which a program's handlers run.

use std::io;
use std::thread::available_parallelism;

use tokio::runtime::{Builder, Runtime};

/// A runtime for handlers, for programs that have none of their own.
///
/// It has at least four threads, also on fewer cores: a handler that blocks its thread must not
/// stop the others. End it with `shutdown_background`, since a handler that ignores its end would
/// otherwise keep the process.
///
/// # Errors
///
/// When the operating system refuses threads or an event queue.
pub fn handler_runtime() -> io::Result<Runtime> {
    let threads = available_parallelism().map_or(4, |cores| cores.get().max(4));
    Builder::new_multi_thread().worker_threads(threads).enable_all().build()
}
