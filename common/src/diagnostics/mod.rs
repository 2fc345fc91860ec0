//! The reports of programs: findings, errors, exit codes, and the access to both output streams.

pub mod clean;
#[cfg(feature = "program")]
pub mod failure;
pub mod finding;
#[cfg(feature = "program")]
pub mod output;
#[cfg(feature = "program")]
pub mod report;
#[cfg(feature = "program")]
pub mod signals;
#[cfg(feature = "program")]
mod unwritten;
