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
/// ```
/// use redcall_worker::{Settings, Worker};
///
/// # use serde_json::json;
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let runtime = redcall_worker::handler_runtime()?;
/// #   let redis = runtime.block_on(redcall_testkit::TestRedis::start());
///     let settings = Settings::load(None)?; // from `redcall.toml` and the environment
/// #   let settings = Settings { redis: redis.settings(), ..settings };
/// #   use redcall_testkit::example::call_and_stop;
/// #   let call = async { call_and_stop(&settings, "nap", &json!(null), &json!(null)) };
/// #   let call = runtime.block_on(call);
///     let worker = Worker::from_settings(settings)?.handler("nap", async || {});
///     runtime.block_on(worker.run())?; // until SIGTERM or SIGINT
/// #   runtime.block_on(call)?;
///     runtime.shutdown_background();
///     Ok(())
/// }
/// ```
///
/// # Errors
///
/// If the operating system refuses threads or an event queue.
pub fn handler_runtime() -> io::Result<Runtime> {
    let threads = available_parallelism().map_or(4, |cores| cores.get().max(4));
    Builder::new_multi_thread().worker_threads(threads).enable_all().build()
}
