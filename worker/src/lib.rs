//! Runs jobs: leases them from Redis, dispatches them through the job mapping, settles each once.
//!
//! | file | holds |
//! |---|---|
//! | `worker.rs` | [`Worker`]: building and running one |
//! | `mapping.rs` | job names to handlers |
//! | `overview.rs` | what the settings map, serve and bound, for people and programs |
//! | `handler/` | the kinds of handlers, one file each |
//! | `extract.rs`, `answer.rs`, `state.rs` | what compiled-in handlers take, return, share |
//! | `service_request.rs` | the same for those of a service |
//! | `auth.rs` | who may have what run |
//! | `request.rs` | a job as its handler sees it: answering, progress |
//! | `deferred.rs` | putting the answer off |
//! | `job.rs`, `execute.rs`, `ending.rs` | one run: its state, its straight line, its outcomes |
//! | `failure.rs` | the line of the log about a request without an answer |
//! | `service.rs` | a request to a service: its task's data, what becomes of the state |
//! | `reload.rs` | reading the mapping again |
//! | `io/` | the thread that talks to Redis |
//! | `admin/` | probes and metrics over HTTP, on a thread of their own |
//! | `readiness.rs` | asking whether it consumes |
//! | `metrics.rs` | what is counted |
//! | `log/` | the log of a program, which blocks nothing |
//!
//! Calling jobs is the client's business; neither knows the other.

mod admin;
mod answer;
mod auth;
mod deferred;
mod ending;
mod error;
mod execute;
mod extract;
mod failure;
mod handler;
mod io;
mod job;
mod log;
mod mapping;
mod metrics;
mod overview;
mod readiness;
mod reload;
mod request;
mod runtime;
mod service;
mod service_request;
mod signals;
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
pub use readiness::Readiness;
pub use redcall_common::settings::{Settings, SettingsError};
pub use redcall_common::token::SettlementToken;
pub use request::{ProgressError, Request};
pub use runtime::handler_runtime;
pub use service_request::{Last, Next, ServiceRequest};
pub use state::States;
pub use stop::Stop;
pub use worker::Worker;
