//! Logs panics: the standard hook writes to stderr, and blocks while that is not read.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{PanicHookInfo, set_hook};

/// Logs all panics of the process from now on, in place of the standard hook.
pub(super) fn log() {
    set_hook(Box::new(log_panic));
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("no message");
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    let at = panic.location().map(ToString::to_string).unwrap_or_default();
    let backtrace = Backtrace::capture();
    match backtrace.status() {
        BacktraceStatus::Captured => tracing::error!(thread, at, %backtrace, "panic: {message}"),
        _ => tracing::error!(thread, at, "panic: {message}"),
    }
}
