//! Arguments and return values of compiled-in tasks of a service.

use redcall_common::error::Code;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::handler::compiled::answer::IntoAnswer;
use crate::handler::compiled::extract::{FromRequest, Json};
use crate::handler::error::{HandlerError, HandlerResult};
use crate::run::request::Request;

/// The input of a task: an argument of a handler that a service names.
///
/// ```
/// use redcall_worker::{Last, Next, ServiceRequest, Worker};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Counter {
///     value: i64,
/// }
///
/// async fn init(request: ServiceRequest<(), i64>) -> Next<Counter, ()> {
///     Next { state: Counter { value: request.args }, answer: () }
/// }
///
/// async fn execute(request: ServiceRequest<Counter, i64>) -> Next<Counter, i64> {
///     let value = request.state.value + request.args;
///     Next { state: Counter { value }, answer: value }
/// }
///
/// async fn exit(request: ServiceRequest<Counter, ()>) -> Last<i64> {
///     Last { answer: request.state.value }
/// }
///
/// // In the settings: `[services.counter]` with `execute = "counter.execute"` and so on.
/// # redcall_testkit::example::with_worker(|mut settings| {
/// # settings.services.insert("counter".to_owned(), redcall_testkit::example::counter());
/// let worker = Worker::from_settings(settings)?
///     .handler("counter.init", init)
///     .handler("counter.execute", execute)
///     .handler("counter.exit", exit);
/// # Ok(worker) }, async |client| {
/// let counter = client.service("counter").instance("user-42");
/// counter.initialize(&1000).await?;
/// assert_eq!(counter.execute(&-100).await?.json::<i64>()?, 900);
/// assert_eq!(counter.terminate(&()).await?.json::<i64>()?, 900);
/// # Ok(()) });
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ServiceRequest<S, A> {
    /// The state that the previous task left; `()` for `init`.
    pub state: S,
    /// The caller's arguments.
    pub args: A,
    /// The instance's key; empty for the default instance.
    pub instance: String,
}

impl<S: DeserializeOwned + Send, A: DeserializeOwned + Send> FromRequest for ServiceRequest<S, A> {
    /// Returns `invalid_data` if arguments or state have another type; `data.path` of the error
    /// names the position.
    fn from_request(request: &Request) -> Result<Self, HandlerError> {
        if request.job().run.get().is_none() {
            let message =
                "the handler takes a request to a service, but is mapped as a job: see [services]";
            return Err(HandlerError::with_code(Code::Internal, message));
        }
        Json::from_request(request).map(|Json(task)| task)
    }
}

/// The return value of `init` and `execute`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Next<S, T> {
    /// The new state, 1 MiB of JSON at most.
    pub state: S,
    /// The caller's answer.
    pub answer: T,
}

impl<S: Serialize, T: Serialize> IntoAnswer for Next<S, T> {
    fn into_answer(self) -> HandlerResult {
        Json(self).into_answer()
    }
}

/// The return value of `exit`: the answer; the state is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Last<T> {
    /// The caller's answer.
    pub answer: T,
}

impl<T: Serialize> IntoAnswer for Last<T> {
    fn into_answer(self) -> HandlerResult {
        Json(self).into_answer()
    }
}
