//! Tests of both ends, one module per topic. One binary: it links once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests fail by panicking, as tests do"
)]

mod bad_input;
mod bounds;
mod events;
mod isolation;
mod life;
mod load;
mod lua;
mod programs;
mod runtime;
mod schedules;
mod support;

/// The documents, against the programs and the tests.
mod documents {
    mod guarantees;
    mod protocol;
    mod readme;
}
/// Redis, workers and connections that fail.
mod faults {
    mod kills;
    mod reconnect;
    mod tls;
    mod trouble;
}
/// The kinds of handlers.
mod handlers {
    mod commands;
    mod http;
    mod processes;
    mod services;
}
/// Settings, logs and probes of a worker.
mod operation {
    mod logs;
    pub(crate) mod probes;
    mod settings;
}
/// Calls and their requests: enqueued, waited for, followed, withdrawn.
mod requests {
    mod calls;
    mod costs;
    mod extended;
    mod lanes;
    mod sharing;
    mod status;
    pub(crate) mod still;
    mod streams;
    mod waits;
    mod withdraw;
}
