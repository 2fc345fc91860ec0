//! Chaos: attacks private servers and workers under load, then judges each call from the lines that
//! its caller and its handlers wrote.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use redcall_chaos::{Counts, Options, Progress, run};
//! use tokio::sync::watch;
//! use tokio_util::sync::CancellationToken;
//!
//! # async fn doc() -> Result<(), redcall_chaos::ChaosError> {
//! let duration = Duration::from_secs(60);
//! let options = Options {
//!     duration,
//!     workers: 4,
//!     callers: 8,
//!     lease: Duration::from_secs(1),
//!     timeout: Duration::from_secs(5),
//!     counts: Counts::usual(duration),
//!     seed: 7,
//!     worker: ("redcall-chaos".into(), vec!["worker".to_owned()]),
//!     keep: false,
//! };
//! let (progress, _) = watch::channel(Progress::default());
//! let report = run(options, progress, CancellationToken::new()).await?;
//! assert!(report.ok);
//! # Ok(()) }
//! ```
//!
//! [`Options`] has duration, numbers and seed; [`Report`] has the figures and the verdict.
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
