//! Tests of both ends, one module per topic. One binary: it links once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests fail by panicking, as tests do"
)]

mod bad_input;
mod bounds;
mod calls;
mod commands;
mod costs;
mod events;
mod guarantees;
mod held;
mod http;
mod isolation;
mod kills;
mod life;
mod load;
mod logs;
mod lua;
mod placed;
mod probes;
mod processes;
mod programs;
mod protocol;
mod readme;
mod reconnect;
mod runtime;
mod schedules;
mod services;
mod settings;
mod sharing;
mod status;
mod still;
mod streams;
mod support;
mod tls;
mod trouble;
mod waits;
mod withdraw;
