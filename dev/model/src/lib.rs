//! The state machine of a queue, twice of use: explored to its end by a model checker, and held
//! against the real scripts.
//!
//! | module | holds |
//! |---|---|
//! | [`store`] | the state of one queue in Redis, and the effect of each script on it |
//! | [`world`] | workers, callers and faults around it: every possible step, in any order |
//!
//! No other crate depends on this one. docs/internals/decisions/0008 has the abstractions and their
//! reasons.

pub mod store;
pub mod world;
