//! Load generators, the same for users (`redcall bench`) and for the runs of this project (`cargo
//! xtask bench`): [`call`], [`enqueue`] and [`drain`] load the existing Redis and workers.
//!
//! ```
//! use std::time::Duration;
//!
//! use redcall_bench::{Calls, Job, call};
//! use serde_json::value::to_raw_value;
//!
//! # redcall_testkit::example::with_client(async |client| {
//! let calls = Calls {
//!     job: Job { name: "echo".to_owned(), data: to_raw_value("hello")?, queue: None },
//!     callers: 4,
//!     duration: Duration::from_millis(20),
//!     warm_up: Duration::ZERO,
//!     pause: Duration::ZERO,
//!     stream: false,
//! };
//! let figures = call(&client, &calls, std::future::pending()).await?; // until interrupted
//! assert!(figures.calls > 0);
//! # Ok(()) });
//! ```
//!
//! The program `redcall-bench` has the baselines, and the scenarios that compare them with Redcall.

mod figures;
mod load;

pub use figures::{CallFigures, JobFigures, Times};
pub use load::call::{Calls, call};
pub use load::drain::{CHECK_PAUSE, Drain, DrainError, drain};
pub use load::enqueue::{Enqueue, enqueue};
pub use load::{Job, LoadError, NotPadded};
