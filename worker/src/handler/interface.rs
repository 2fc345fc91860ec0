//! The trait of all kinds of handlers.

use std::pin::Pin;

use super::compiled::state::StateMap;
use super::error::HandlerResult;
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
