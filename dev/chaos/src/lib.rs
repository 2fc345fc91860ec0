//! Chaos: attacks private servers and workers under load, then judges each call from the lines that
//! its caller and its handlers wrote.
//!
//! | file | holds |
//! |---|---|
//! | `options.rs` | [`Options`]: how long, how many, which seed |
//! | `plan.rs` | the attacks and their times, drawn from the seed |
//! | `run.rs` | [`run()`]: the whole, from the first server to the judgement |
//! | `stage.rs` | the private Redis, its disk, rights and clock, and the roads to it |
//! | `worker_pool.rs` | the worker processes: starts, holds, kills and stops them |
//! | `attacks.rs` | carries out the plan |
//! | `load/` | the callers |
//! | `work.rs` | the handlers, inside the worker processes: [`serve`] |
//! | `history.rs` | the lines of callers, handlers and attackers |
//! | `judge/` | the findings: lost, settled twice, hung |
//! | `error.rs` | [`ChaosError`] |
//! | `report.rs` | [`Report`]: the figures, and the verdict |
//!
//! The judge reads only those lines: no counter, key or metric of Redcall. `redcall chaos` runs it;
//! the rest of the project does not need it.

mod attacks;
mod error;
mod history;
mod judge;
mod load;
mod options;
mod plan;
mod report;
mod run;
mod stage;
mod work;
mod worker_pool;

pub use error::ChaosError;
pub use options::{Counts, Options};
pub use report::{Calls, Found, Progress, Recovery, Report, Stage};
pub use run::run;
pub use work::{Post, serve};
