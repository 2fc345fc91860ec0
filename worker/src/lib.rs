//! Runs named jobs that clients enqueue in Redis.
//!
//! A [`Worker`] leases requests, runs the handler that its job mapping names for each, and settles
//! each once. A handler is an async function in Rust, as here, or a command, a process or an HTTP
//! endpoint of the settings. If a worker dies, another one runs its jobs.
//!
//! ```
//! use redcall_worker::{Json, Settings, Worker};
//!
//! #[derive(serde::Deserialize)]
//! struct Terms {
//!     a: i64,
//!     b: i64,
//! }
//!
//! async fn add(Json(terms): Json<Terms>) -> Json<i64> {
//!     Json(terms.a + terms.b)
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let settings = Settings::load(None)?; // from `redcall.toml` and the environment
//! #   use redcall_testkit::{TestRedis, example::call_and_stop};
//! #   let redis = TestRedis::start().await;
//! #   let settings = Settings { redis: redis.settings(), ..settings };
//! #   let (data, sum) = (serde_json::json!({"a": 1, "b": 2}), serde_json::json!(3));
//! #   let call = call_and_stop(&settings, "add", &data, &sum);
//!     let worker = Worker::from_settings(settings)?.handler("add", add);
//!     worker.run().await?; // until SIGTERM or SIGINT
//! #   call.await?;
//!     Ok(())
//! }
//! ```
//!
//! | to | use |
//! |---|---|
//! | read the data of a request, return an answer | [`Json`], [`IntoAnswer`] |
//! | share a value among handlers | [`State`], [`Worker::state`] |
//! | report progress, stream an answer, learn of a cancellation | [`Request`] |
//! | defer an answer | [`Request::defer`], [`CompletionToken`] |
//! | fail, retry later | [`HandlerError`] |
//! | handle the requests of a service | [`ServiceRequest`], [`Next`], [`Last`] |
//! | stop a worker, check that it is ready | [`Worker::run_until`], [`Stop`], [`Readiness`] |
//! | check the settings without Redis | [`Worker::check`] |
//!
//! The crate `redcall-client` calls jobs; neither crate depends on the other.

mod admin;
mod background;
mod causes;
mod dispatcher;
mod error;
mod handler;
mod identity;
mod io;
mod lane;
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
