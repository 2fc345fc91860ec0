//! The state machine of a queue, twice of use: explored to its end by a model checker, and held
//! against the real scripts.
//!
//! | module | holds |
//! |---|---|
//! | [`store`] | what Redis holds of one queue, and what each script does to it |
//! | [`world`] | workers, callers and faults around it: all that may happen, in any order |
//!
//! Nothing else depends on this crate. What is abstracted, and why, stands in
//! docs/internals/decisions/0008.

pub mod store;
pub mod world;
