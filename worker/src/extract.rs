//! What a compiled-in handler may ask for: its arguments.

use std::any::type_name;
use std::ops::Deref;
use std::sync::Arc;

use redcall_common::error::Code;
use serde::de::DeserializeOwned;

use crate::handler::HandlerError;
use crate::request::Request;
use crate::state::States;

/// Made from a request, as an argument of a handler.
pub trait FromRequest: Sized + Send {
    /// Takes what it needs from `request`.
    ///
    /// # Errors
    ///
    /// What the caller is told instead of an answer; the handler is then not run.
    fn from_request(request: &Request) -> Result<Self, HandlerError>;

    /// Whether requests can be served at all, asked once before the first.
    ///
    /// # Errors
    ///
    /// What is missing, for the person who starts the worker.
    fn check(states: &States) -> Result<(), String> {
        let _ = states;
        Ok(())
    }
}

impl FromRequest for Request {
    fn from_request(request: &Request) -> Result<Self, HandlerError> {
        Ok(request.clone())
    }
}

/// The request's data as a `T`; as a return value, the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Json<T>(
    /// The value.
    pub T,
);

impl<T: DeserializeOwned + Send> FromRequest for Json<T> {
    /// Data that is not a `T` is `invalid_data`; its `data.path` says where.
    fn from_request(request: &Request) -> Result<Self, HandlerError> {
        let mut reader = serde_json::Deserializer::from_str(request.data().get());
        serde_path_to_error::deserialize(&mut reader).map(Json).map_err(|error| {
            let path = error.path().to_string();
            let message = format!("data at `{path}`: {}", error.inner());
            HandlerError::with_code(Code::InvalidData, message)
                .data(&serde_json::json!({ "path": path }))
        })
    }
}

/// A value that the handlers of a worker share: [`crate::Worker::state`].
pub struct State<S>(Arc<S>);

impl<S> Deref for State<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.0
    }
}

impl<S: Send + Sync + 'static> FromRequest for State<S> {
    fn from_request(request: &Request) -> Result<Self, HandlerError> {
        // `check` has been asked before the worker started.
        request.state().map(State).ok_or_else(|| {
            HandlerError::with_code(Code::Internal, "the worker lacks a shared state")
        })
    }

    fn check(states: &States) -> Result<(), String> {
        let name = type_name::<S>();
        let missing = || format!("it takes State<{name}>; put one in with `.state(...)`");
        states.get::<S>().map(|_| ()).ok_or_else(missing)
    }
}
