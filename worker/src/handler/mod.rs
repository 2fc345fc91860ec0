//! Handlers: one kind per file, behind one trait without type parameters.

mod budget;
pub(crate) mod builtin;
pub(crate) mod command;
pub(crate) mod compiled;
pub(crate) mod environment;
mod group;
pub(crate) mod http;
mod paced;
pub(crate) mod process;
mod program;
pub(crate) mod service;
mod stderr;

use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use redcall_common::error::{Code, WireError};
use redcall_common::leash::Leash;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use self::command::Bounds;
use self::environment::Environment;
use crate::failure::{causes, with_causes};
use crate::request::Request;
use crate::state::StateMap;

/// The place where the programs of a mapping run, and their limits.
pub(crate) struct ProgramContext<'a> {
    /// The folder of the settings file.
    pub(crate) dir: &'a Path,
    pub(crate) bounds: Bounds,
    /// Ends the programs with this worker.
    pub(crate) leash: &'a Leash,
    /// The environment that programs may get.
    pub(crate) environment: &'a Environment,
}

/// The result of a handler.
pub(crate) type HandlerResult = Result<Box<RawValue>, HandlerError>;

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

/// The error of a handler. Message and data go to the caller, the cause to the worker's log.
#[derive(Debug)]
pub struct HandlerError {
    pub(crate) error: WireError,
    /// Only logged.
    pub(crate) cause: Option<String>,
    pub(crate) retry_after: Option<Duration>,
}

impl HandlerError {
    /// Returns an error with the code `handler_failed`.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self::with_code(Code::HandlerFailed, message)
    }

    /// Adds `data` for the caller; omits it if it cannot be serialised as JSON.
    #[must_use]
    pub fn data<T: Serialize + ?Sized>(mut self, data: &T) -> Self {
        self.error.data = to_raw_value(data).ok();
        self
    }

    /// Asks for a retry after `pause`, a day at most, if the job's mapping has `retries` left.
    /// Overrides `retries.on`.
    #[must_use]
    pub fn retry_after(mut self, pause: Duration) -> Self {
        self.retry_after = Some(pause);
        self
    }

    /// Adds a cause for the worker's log: `error`, and its own causes. The caller does not get it.
    #[must_use]
    pub fn caused_by(mut self, error: &dyn std::error::Error) -> Self {
        self.cause = Some(with_causes(error));
        self
    }

    pub(crate) fn with_code(code: Code, message: impl Into<String>) -> Self {
        Self::of(WireError::new(code, message))
    }

    pub(crate) fn of(error: WireError) -> Self {
        Self { error, cause: None, retry_after: None }
    }
}

impl<E: std::error::Error> From<E> for HandlerError {
    /// The caller gets the error's message without its causes, which are logged.
    fn from(error: E) -> Self {
        Self { cause: causes(&error), ..Self::new(error.to_string()) }
    }
}
