//! The parts of the gateway that all protocols share, as the program shows them.

#[path = "../support/mod.rs"]
mod support;

mod program;
mod readiness;
