//! What the tasks of a service take and return, where they are compiled in.

use redcall_common::error::Code;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::answer::IntoAnswer;
use crate::extract::{FromRequest, Json};
use crate::handler::{Ending, HandlerError};
use crate::request::Request;

/// What a task works on. As an argument of a handler that a service names.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ServiceRequest<S, A> {
    /// The state as the task before has left it; `()` for `init`.
    pub state: S,
    /// What the caller sent.
    pub args: A,
    /// The instance's key; empty for the one without.
    pub instance: String,
}

impl<S: DeserializeOwned + Send, A: DeserializeOwned + Send> FromRequest for ServiceRequest<S, A> {
    /// Arguments, or a state, of another form are `invalid_data`; its `data.path` says where.
    fn from_request(request: &Request) -> Result<Self, HandlerError> {
        if request.job().run.get().is_none() {
            let message = "the handler takes a task of a service, but is mapped as a job";
            return Err(HandlerError::with_code(Code::Internal, message));
        }
        Json::from_request(request).map(|Json(task)| task)
    }
}

/// What `init` and `execute` return.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Next<S, T> {
    /// The state from now on, 1 MiB of JSON at most.
    pub state: S,
    /// What the caller gets.
    pub answer: T,
}

impl<S: Serialize, T: Serialize> IntoAnswer for Next<S, T> {
    fn into_answer(self) -> Ending {
        Json(self).into_answer()
    }
}

/// What `exit` returns: the answer, after which there is no state any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Last<T> {
    /// What the caller gets.
    pub answer: T,
}

impl<T: Serialize> IntoAnswer for Last<T> {
    fn into_answer(self) -> Ending {
        Json(self).into_answer()
    }
}
