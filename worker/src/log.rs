//! Setting up the log of a program that runs a worker: to stderr, as the settings say.

use std::io::{IsTerminal, stderr};

use redcall_common::settings::{LogFormat, LogSettings};
use tracing_subscriber::EnvFilter;

/// Sends the program's log to stderr. Does nothing if it is set up already.
pub fn init_log(settings: &LogSettings) {
    let filter = EnvFilter::try_new(&settings.level).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    let builder = builder.with_ansi(stderr().is_terminal());
    let _ = match settings.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}
