//! Protocol bgpy: recorded sessions, hostile inputs, bgpy's own client, faults.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests are tests, which clippy cannot tell"
)]

#[path = "../support/mod.rs"]
mod support;

mod calls;
mod client;
mod codes;
mod faults;
mod hostile;
mod many;
mod python;
mod service;
mod session;
