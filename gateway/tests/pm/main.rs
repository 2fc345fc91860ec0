//! Doors of Pipeline Manager, with peers of the test and with the package json-rpc.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod codes;
mod faults;
mod guide;
mod hostile;
mod inward;
mod outward;
mod python;
mod raw;
mod roles;
mod tls;
