//! Runs jobs: leases them from Redis, dispatches them through the job mapping, settles each once.
//!
//! | file | holds |
//! |---|---|
//! | `worker.rs` | [`Worker`]: building and running one |
//! | `mapping.rs` | job names to handlers |
//! | `overview.rs` | all that the settings map, serve and bound, for `redcall-worker check` |
//! | `handler/` | the kinds of handlers; `compiled/`: arguments, answers, state of Rust functions |
//! | `run/` | one run of one request, from its start to its outcome |
//! | `io.rs` | the I/O thread, which talks to Redis |
//! | `dispatcher/` | its loop, and the owners of its state |
//! | `background/` | the loops beside it, one file each |
//! | `admin/` | probes and metrics over HTTP, on a thread of their own |
//! | `readiness/` | the worker's readiness, and the I/O loop's sign of progress |
//! | `metrics.rs` | counters of the worker |
//! | `log/`, `causes.rs` | the log of a program, which never blocks; the causes of an error |
//!
//! The client crate calls jobs; neither crate depends on the other.

mod admin;
mod background;
mod causes;
mod dispatcher;
mod error;
mod handler;
mod identity;
mod io;
mod log;
mod mapping;
mod metrics;
mod overview;
mod readiness;
mod run;
mod runtime;
mod stop;
mod time;
mod worker;

pub use error::WorkerError;
pub use handler::compiled::answer::IntoAnswer;
pub use handler::compiled::extract::{FromRequest, Json, State};
pub use handler::compiled::service_request::{Last, Next, ServiceRequest};
pub use handler::compiled::state::StateMap;
pub use handler::compiled::{AsyncHandler, BlockingHandler};
pub use handler::error::HandlerError;
pub use log::{LogGuard, init_log};
pub use overview::{
    BoundOverview, JobOverview, LimitOverview, LimitsOverview, Overview, QueueOverview,
    ScheduleOverview, ServiceOverview,
};
pub use readiness::Readiness;
pub use redcall_common::settings::{Settings, SettingsError};
pub use redcall_common::token::CompletionToken;
pub use run::deferred::DeferError;
pub use run::progress_error::ProgressError;
pub use run::request::Request;
pub use runtime::handler_runtime;
pub use stop::Stop;
pub use worker::Worker;
