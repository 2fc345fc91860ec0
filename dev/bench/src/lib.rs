//! Load generators, the same for users (`redcall bench`) and for the runs of this project
//! (`cargo xtask bench`).
//!
//! | file | holds |
//! |---|---|
//! | `load/` | [`call`], [`enqueue`], [`drain`]: load on the existing Redis and workers |
//! | `figures.rs` | their figures |
//!
//! The program `redcall-bench` has the baselines, and the scenarios that compare them with Redcall.

mod figures;
mod load;

pub use figures::{CallFigures, JobFigures, Times};
pub use load::call::{Calls, call};
pub use load::drain::{CHECK_PAUSE, Drain, DrainError, drain};
pub use load::enqueue::{Enqueue, enqueue};
pub use load::{Job, LoadError, NotPadded};
