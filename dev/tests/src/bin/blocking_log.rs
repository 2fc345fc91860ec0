//! A worker whose log blocks: a program with a subscriber of its own, on stderr.
//!
//! While its log is not read, its loop at Redis makes no progress.

#![allow(clippy::unwrap_used, reason = "a fixture that cannot work must end loudly")]

use redcall_worker::{Settings, Worker, handler_runtime};

fn main() {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let worker = Worker::from_settings(Settings::load(None).unwrap()).unwrap();
    let runtime = handler_runtime().unwrap();
    runtime.block_on(worker.run()).unwrap();
    runtime.shutdown_background();
}
