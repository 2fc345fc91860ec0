//! Runs jobs: leases them from Redis, dispatches them through the job mapping, settles each once.
//!
//! | file | holds |
//! |---|---|
//! | `worker.rs` | [`Worker`]: building and running one |
//! | `mapping.rs` | job names to handlers |
//! | `overview.rs` | all that the settings map, serve and bound, for `redcall-worker check` |
//! | `handler/` | the kinds of handlers, one file each |
//! | `extract.rs`, `answer.rs`, `state.rs` | arguments, answers, state of compiled-in handlers |
//! | `service_request.rs` | the same for handlers of a service |
//! | `auth.rs` | verifying signed requests |
//! | `request.rs`, `progress_error.rs` | the handler's view of a job: answering, progress |
//! | `deferred.rs` | deferred answers |
//! | `job.rs`, `execute.rs`, `outcome.rs` | one run: its state, its steps, its outcomes |
//! | `retry_delay.rs` | the delay before the next attempt |
//! | `settle.rs` | settling a job with its handler's result |
//! | `failure.rs`, `causes.rs` | the log line about a request without an answer, and its causes |
//! | `service.rs` | a request to a service: its task's input and its state |
//! | `io.rs` | the I/O thread, which talks to Redis |
//! | `dispatcher/` | its loop, and the owners of its state |
//! | `background/` | the loops beside it, one file each |
//! | `admin/` | probes and metrics over HTTP, on a thread of their own |
//! | `readiness.rs`, `readiness/` | the worker's readiness, and the I/O loop's sign of progress |
//! | `metrics.rs` | counters of the worker |
//! | `log/` | the log of a program; logging never blocks |
//!
//! The client crate calls jobs; neither crate depends on the other.

mod admin;
mod answer;
mod auth;
mod background;
mod causes;
mod deferred;
mod dispatcher;
mod error;
mod execute;
mod extract;
mod failure;
mod handler;
mod identity;
mod io;
mod job;
mod log;
mod mapping;
mod metrics;
mod outcome;
mod overview;
mod progress_error;
mod readiness;
mod redis_timeout;
mod request;
mod retry_delay;
mod runtime;
mod service;
mod service_request;
mod settle;
mod state;
mod stop;
mod until;
mod worker;

pub use answer::IntoAnswer;
pub use deferred::DeferError;
pub use error::WorkerError;
pub use extract::{FromRequest, Json, State};
pub use handler::HandlerError;
pub use handler::compiled::{AsyncHandler, BlockingHandler};
pub use log::{LogGuard, init_log};
pub use overview::{
    BoundOverview, JobOverview, LimitOverview, LimitsOverview, Overview, QueueOverview,
    ScheduleOverview, ServiceOverview,
};
pub use progress_error::ProgressError;
pub use readiness::Readiness;
pub use redcall_common::settings::{Settings, SettingsError};
pub use redcall_common::token::CompletionToken;
pub use request::Request;
pub use runtime::handler_runtime;
pub use service_request::{Last, Next, ServiceRequest};
pub use state::StateMap;
pub use stop::Stop;
pub use worker::Worker;
