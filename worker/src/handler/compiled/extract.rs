//! Arguments of compiled-in handlers.

use std::any::type_name;
use std::ops::Deref;
use std::sync::Arc;

use redcall_common::error::Code;
use serde::de::DeserializeOwned;

use crate::handler::compiled::state::StateMap;
use crate::handler::error::HandlerError;
use crate::run::request::Request;

/// An argument of a handler, made from its request.
///
/// ```
/// use redcall_worker::{FromRequest, HandlerError, Json, Request};
///
/// /// The header `tenant`, which every request must have.
/// struct Tenant(String);
///
/// impl FromRequest for Tenant {
///     fn from_request(request: &Request) -> Result<Self, HandlerError> {
///         let tenant = request.headers().get("tenant").cloned();
///         tenant.map(Tenant).ok_or_else(|| HandlerError::new("the header `tenant` is missing"))
///     }
/// }
///
/// async fn greet(Tenant(tenant): Tenant, Json(name): Json<String>) -> Json<String> {
///     Json(format!("{name} of {tenant}"))
/// }
/// # use redcall_worker::Worker;
/// # redcall_testkit::example::with_worker(|settings| {
/// # let worker = Worker::from_settings(settings)?.handler("greet", greet);
/// # Ok(worker) }, async |client| {
/// let request = client.request("greet").data("Ada").header("tenant", "acme");
/// assert_eq!(request.wait().await?.json::<String>()?, "Ada of acme");
/// assert!(client.call_and_wait("greet", "Ada").await.is_err());
/// # Ok(()) });
/// ```
pub trait FromRequest: Sized + Send {
    /// Extracts the argument from `request`.
    ///
    /// # Errors
    ///
    /// The error that the caller gets; the handler is then not run.
    fn from_request(request: &Request) -> Result<Self, HandlerError>;

    /// Checks, once before the first request, that the argument can be made.
    ///
    /// # Errors
    ///
    /// The missing part, as the worker's start reports it.
    fn check(states: &StateMap) -> Result<(), String> {
        let _ = states;
        Ok(())
    }
}

impl FromRequest for Request {
    fn from_request(request: &Request) -> Result<Self, HandlerError> {
        Ok(request.clone())
    }
}

/// The request's data as a `T`. As a return value: the answer.
///
/// ```
/// use redcall_worker::Json;
/// use serde_json::json;
///
/// #[derive(serde::Deserialize)]
/// struct Order {
///     items: i64,
/// }
///
/// async fn price(Json(order): Json<Order>) -> Json<i64> {
///     Json(order.items * 7)
/// }
/// # use redcall_worker::Worker;
/// # redcall_testkit::example::with_worker(|settings| {
/// # let worker = Worker::from_settings(settings)?.handler("price", price);
/// # Ok(worker) }, async |client| {
/// let answer = client.call_and_wait("price", &json!({"items": 6})).await?;
/// assert_eq!(answer.json::<i64>()?, 42);
///
/// let error = client.call_and_wait("price", &json!({"items": "six"})).await.unwrap_err();
/// assert!(error.to_string().starts_with("invalid_data: data at `items`"), "{error}");
/// # Ok(()) });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Json<T>(
    /// The value.
    pub T,
);

impl<T: DeserializeOwned + Send> FromRequest for Json<T> {
    /// Returns `invalid_data` if the data is not a `T`; `data.path` of the error names the
    /// position.
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

/// A value that all handlers of a worker share: see [`crate::Worker::state`].
///
/// ```
/// use redcall_worker::{Json, State, Worker};
///
/// /// Such as a pool of connections; it dereferences to the shared value.
/// struct Greeting(String);
///
/// async fn greet(greeting: State<Greeting>, Json(name): Json<String>) -> Json<String> {
///     Json(format!("{}, {name}", greeting.0))
/// }
///
/// # redcall_testkit::example::with_worker(|settings| {
/// let worker = Worker::from_settings(settings)?
///     .state(Greeting("hello".to_owned()))
///     .handler("greet", greet);
/// # Ok(worker) }, async |client| {
/// assert_eq!(client.call_and_wait("greet", "Ada").await?.json::<String>()?, "hello, Ada");
/// # Ok(()) });
/// ```
pub struct State<S>(Arc<S>);

impl<S> Deref for State<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.0
    }
}

impl<S: Send + Sync + 'static> FromRequest for State<S> {
    fn from_request(request: &Request) -> Result<Self, HandlerError> {
        // The worker has called `check` before it started.
        request.state().map(State).ok_or_else(|| {
            HandlerError::with_code(
                Code::Internal,
                "the worker has no shared state of the handler's type",
            )
        })
    }

    fn check(states: &StateMap) -> Result<(), String> {
        let name = type_name::<S>();
        let missing = || format!("it takes State<{name}>: add a value with `.state(...)`");
        states.get::<S>().map(|_| ()).ok_or_else(missing)
    }
}
