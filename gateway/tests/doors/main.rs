//! The parts of the gateway that all protocols share, as the program shows them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy.toml allows them in tests, but does not see that these helpers belong to some"
)]

#[path = "../support/mod.rs"]
mod support;

mod program;
mod readiness;
mod withdrawal;
