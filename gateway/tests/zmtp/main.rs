//! The protocol `zmtp`, with the packages auto-trainer-api 0.9.7 and 0.12.0 and libzmq.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy.toml allows them in tests, but does not see that these helpers belong to some"
)]

mod codes;
mod commands;
mod devices;
mod emergencies;
mod events;
mod faults;
mod guide;
mod hostile;
mod lab;
mod peers;
#[path = "../support/mod.rs"]
mod support;
mod tls;
