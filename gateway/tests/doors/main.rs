//! The parts of the gateway that all protocols share, as the program shows them.

<<<<<<< HEAD
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]
=======
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy.toml allows them in tests, but does not see that these helpers belong to some"
)]
>>>>>>> gate

#[path = "../support/mod.rs"]
mod support;

mod program;
mod readiness;
