//! A worker of a service that counts. Run by the tests of services, which kill it.
//!
//! Its settings make the tasks `counter.init`, `counter.execute` and `counter.exit` a service.

#![allow(clippy::unwrap_used, reason = "a fixture that cannot work must end loudly")]

use redcall_worker::{Settings, Worker, handler_runtime, init_log};

fn main() {
    let settings = Settings::load(None).unwrap();
    let _log = init_log(&settings.log);
    let worker = redcall_tests::counter(Worker::from_settings(settings).unwrap());
    let runtime = handler_runtime().unwrap();
    runtime.block_on(worker.run()).unwrap();
    runtime.shutdown_background();
}
