//! What runs a job: one kind per file, and the one trait behind which no type parameter is seen.

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
use crate::failure::{causes, whole};
use crate::request::Request;
use crate::state::States;

/// Where and how the programs of a mapping run.
pub(crate) struct Place<'a> {
    /// The folder of the settings file.
    pub(crate) dir: &'a Path,
    pub(crate) bounds: Bounds,
    /// Ends them with this worker.
    pub(crate) leash: &'a Leash,
    /// What they may see of the worker's environment.
    pub(crate) environment: &'a Environment,
}

/// What a handler ends with.
pub(crate) type Ending = Result<Box<RawValue>, HandlerError>;

/// A handler as a future. Dropping it ends what it does, as far as that can be ended.
pub(crate) type Running = Pin<Box<dyn Future<Output = Ending> + Send>>;

/// Runs one job at a time, any number of them at once.
pub(crate) trait Handler: Send + Sync {
    /// Its kind and what stands behind it, for `redcall-worker check`.
    fn describe(&self) -> String;

    /// Whether everything that it needs is there, before the first job.
    fn check(&self, states: &States) -> Result<(), String>;

    /// Runs the job.
    fn call(&self, request: Request) -> Running;

    /// Ends what it keeps between jobs, in order, when no further job comes.
    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {})
    }
}

/// Why a handler gives no answer. Message and data go to the caller, the cause to the worker's log.
#[derive(Debug)]
pub struct HandlerError {
    pub(crate) error: WireError,
    /// For the log alone.
    pub(crate) cause: Option<String>,
    pub(crate) retry_after: Option<Duration>,
}

impl HandlerError {
    /// An error `handler_failed`.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self::with_code(Code::HandlerFailed, message)
    }

    /// The same with `data` for the caller; left out if it cannot be written as JSON.
    #[must_use]
    pub fn data<T: Serialize + ?Sized>(mut self, data: &T) -> Self {
        self.error.data = to_raw_value(data).ok();
        self
    }

    /// The same, to be tried again after so long, a day at most, if the job's mapping has
    /// `retries` left; whatever `retries.on` says.
    #[must_use]
    pub fn retry_after(mut self, pause: Duration) -> Self {
        self.retry_after = Some(pause);
        self
    }

    /// The same with a cause for the worker's log: `error`, and what it says of its own causes.
    /// The caller does not get it.
    #[must_use]
    pub fn caused_by(mut self, error: &dyn std::error::Error) -> Self {
        self.cause = Some(whole(error));
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
    /// Tells the caller what the error says, without its causes: those go to the log.
    fn from(error: E) -> Self {
        Self { cause: causes(&error), ..Self::new(error.to_string()) }
    }
}
