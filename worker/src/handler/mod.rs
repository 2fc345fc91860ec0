//! Handlers: one kind per file, behind one trait without type parameters.

pub(crate) mod bounds;
pub(crate) mod builtin;
pub(crate) mod command;
pub(crate) mod compiled;
pub(crate) mod error;
pub(crate) mod http;
mod paced;
pub(crate) mod process;
pub(crate) mod program;
pub(crate) mod service;

use std::pin::Pin;

pub use error::HandlerError;
pub(crate) use error::HandlerResult;

use crate::handler::compiled::state::StateMap;
use crate::run::request::Request;

/// A running handler. Dropping it ends its work, as far as possible.
pub(crate) type Running = Pin<Box<dyn Future<Output = HandlerResult> + Send>>;

/// Runs jobs, any number of them concurrently.
pub(crate) trait Handler: Send + Sync {
    /// Returns its kind and its program or address, for `redcall-worker check`.
    fn describe(&self) -> String;

    /// Checks, before the first job, that everything it needs exists.
    fn check(&self, states: &StateMap) -> Result<(), String>;

    /// Runs the job.
    fn call(&self, request: Request) -> Running;

    /// Ends the processes and connections kept between jobs, when no further job follows.
    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {})
    }
}
