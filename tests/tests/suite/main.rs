//! Tests of both ends, one module per topic. One binary: it links once.

mod bad_input;
mod calls;
mod commands;
mod isolation;
mod load;
mod lua;
mod programs;
mod protocol;
mod readme;
mod reconnect;
mod settings;
mod sharing;
mod support;
mod tls;
