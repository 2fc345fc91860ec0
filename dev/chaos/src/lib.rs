//! Chaos: private servers and workers under load, attacked for a while; then a judgement of every
//! call, from what its caller and its handlers wrote down themselves.
//!
//! | file | holds |
//! |---|---|
//! | `options.rs` | [`Options`]: how long, how many, which seed |
//! | `plan.rs` | what is done when, drawn from the seed |
//! | `run.rs` | [`run()`]: the whole, from the first server to the judgement |
//! | `stage.rs` | the private Redis, its disk, rights and clock, and the roads to it |
//! | `crew.rs` | the worker processes: started, held, killed, stopped |
//! | `attacks.rs` | carrying the plan out |
//! | `load/` | the callers |
//! | `work.rs` | the handlers, inside the worker processes: [`serve`] |
//! | `history.rs` | the lines that callers, handlers and attackers write down |
//! | `judge/` | what follows from them: lost, settled twice, hung |
//! | `report.rs` | [`Report`]: the figures, and the verdict |
//!
//! The judge reads those lines and nothing else: no counter, key or metric of Redcall's. It is run
//! by `redcall chaos`; nothing in the rest of the project needs it.

mod attacks;
mod crew;
mod history;
mod judge;
mod load;
mod options;
mod plan;
mod report;
mod run;
mod stage;
mod work;

pub use options::{Counts, Options};
pub use report::{Calls, Found, Progress, Recovery, Report, Stage};
pub use run::{ChaosError, run};
pub use work::{Post, serve};
