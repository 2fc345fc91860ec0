//! The parts of the gateway that all protocols share, as the program shows them.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

#[path = "../support/mod.rs"]
mod support;

mod program;
mod readiness;
