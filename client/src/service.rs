//! Requests to one instance of a service.

use std::time::Duration;

use redcall_common::error::{Code, WireError};
use redcall_common::name::{is_instance, is_plain, service_queue};
use redcall_common::service::{ServiceCall, ServiceOp};
use redcall_store::SharedOps as _;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::call::request::RequestBuilder;
use crate::engine::client::Client;
use crate::error::CallError;
use crate::response::Response;

/// One instance of a service, created by [`Client::service`]. Cheap to clone.
///
/// Its requests run one at a time, in the order in which they reach Redis, on any worker. A request
/// that succeeds changes the state exactly once; one that fails does not change it.
///
/// ```
/// # redcall_testkit::example::with_client(async |client| {
/// let counter = client.service("counter").instance("user-42");
/// counter.initialize(&1000).await?;
/// assert_eq!(counter.execute(&-100).await?.json::<i64>()?, 900); // one after the other
/// counter.terminate(&()).await?;
/// # Ok(()) });
/// ```
#[derive(Clone)]
#[must_use = "does nothing until a method is called"]
pub struct Service {
    client: Client,
    name: String,
    instance: String,
}

/// State of an instance.
#[derive(Debug, Clone)]
pub struct ServiceState {
    /// The state after its last task.
    pub state: Box<RawValue>,
    /// Number of changes since initialization, including the first.
    pub version: u64,
}

impl Client {
    /// Returns service `name` (`[services.NAME]` in the settings of its workers), as the instance
    /// without a key; see [`Service::instance`] for others.
    pub fn service(&self, name: &str) -> Service {
        Service { client: self.clone(), name: name.to_owned(), instance: String::new() }
    }
}

impl Service {
    /// Selects the instance with this key (at most 64 of `[A-Za-z0-9_.@-]`). Each has its own
    /// state.
    pub fn instance(mut self, key: &str) -> Self {
        key.clone_into(&mut self.instance);
        self
    }

    /// Creates the state: runs the task `init` with `args`. Cancel safe as
    /// [`RequestBuilder::wait`].
    ///
    /// # Errors
    ///
    /// `conflict` if the instance is already initialized; otherwise as [`Client::call_and_wait`].
    pub async fn initialize<T: Serialize + ?Sized>(&self, args: &T) -> Result<Response, CallError> {
        self.request(ServiceOp::Init, args)?.wait().await
    }

    /// Runs the task `execute` with `args` and the state. Cancel safe as [`RequestBuilder::wait`].
    ///
    /// # Errors
    ///
    /// `conflict` if the instance is not initialized; the error of the task, which leaves the state
    /// unchanged; otherwise as [`Client::call_and_wait`]. If the error states that the request may
    /// be queued, the state may have changed.
    pub async fn execute<T: Serialize + ?Sized>(&self, args: &T) -> Result<Response, CallError> {
        self.request(ServiceOp::Execute, args)?.wait().await
    }

    /// Ends the instance: runs the task `exit`. The instance can be initialized again. Cancel safe
    /// as [`RequestBuilder::wait`].
    ///
    /// # Errors
    ///
    /// As [`Service::execute`].
    pub async fn terminate<T: Serialize + ?Sized>(&self, args: &T) -> Result<Response, CallError> {
        self.request(ServiceOp::Exit, args)?.wait().await
    }

    /// Returns a request to the instance, for options such as fire and forget, submit, a timeout or
    /// an idempotency key.
    ///
    /// ```
    /// # redcall_testkit::example::with_client(async |client| {
    /// use std::time::Duration;
    ///
    /// use redcall_client::ServiceOp;
    ///
    /// let counter = client.service("counter").instance("user-42");
    /// counter.initialize(&1000).await?;
    /// let request = counter.request(ServiceOp::Execute, &-100)?;
    /// let request = request.timeout(Duration::from_secs(5)).idempotency_key("order-7");
    /// let answer = request.wait().await?;
    /// assert_eq!(answer.json::<i64>()?, 900);
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    ///
    /// `invalid_request` if the service name or the instance key is invalid; `invalid_data` if
    /// `args` cannot be serialized as JSON.
    pub fn request<T: Serialize + ?Sized>(
        &self,
        task: ServiceOp,
        args: &T,
    ) -> Result<RequestBuilder, CallError> {
        self.service_call(task, args, false)
    }

    /// As [`Service::request`], with a receipt: a stream of the request gets
    /// [`crate::Update::Progress`] when its task begins.
    ///
    /// # Errors
    ///
    /// As [`Service::request`].
    pub fn request_with_receipt<T: Serialize + ?Sized>(
        &self,
        task: ServiceOp,
        args: &T,
    ) -> Result<RequestBuilder, CallError> {
        self.service_call(task, args, true)
    }

    fn service_call<T: Serialize + ?Sized>(
        &self,
        task: ServiceOp,
        args: &T,
        receipt: bool,
    ) -> Result<RequestBuilder, CallError> {
        self.check()?;
        let args = to_raw_value(args).map_err(CallError::Encode)?;
        let call = ServiceCall { task, args, instance: self.instance.clone(), receipt };
        let queue = service_queue(&self.name);
        Ok(self.client.request(&self.name).queue(&queue).data(&call))
    }

    fn check(&self) -> Result<(), CallError> {
        match self.problem() {
            Some(message) => Err(CallError::rejected(Code::InvalidRequest, message)),
            None => Ok(()),
        }
    }

    /// Returns the error of an invalid name or key.
    fn problem(&self) -> Option<&'static str> {
        if !is_plain(&self.name) {
            return Some("invalid service name: expected 1 to 64 of [A-Za-z0-9_.-]");
        }
        let is_wrong = !is_instance(&self.instance);
        is_wrong.then_some("invalid instance key: expected at most 64 of [A-Za-z0-9_.@-]")
    }

    /// Returns the current state without involving a worker; `None` if the instance is not
    /// initialized, has ended, or has expired. Waits for Redis for at most `timeout`.
    ///
    /// ```
    /// # redcall_testkit::example::with_client(async |client| {
    /// use std::time::Duration;
    ///
    /// let counter = client.service("counter").instance("user-42");
    /// counter.initialize(&1000).await?;
    /// let state = counter.state(Duration::from_secs(5)).await?.expect("an initialized instance");
    /// assert_eq!((state.state.get(), state.version), ("1000", 1));
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    ///
    /// `invalid_request` as [`Service::request`]; `unauthorized` if this client has keys and none
    /// of them signed the state; an error of Redis if it refuses or cannot be reached within
    /// `timeout`.
    pub async fn state(&self, timeout: Duration) -> Result<Option<ServiceState>, CallError> {
        if let Some(message) = self.problem() {
            return Err(CallError::refused(Code::InvalidRequest, message));
        }
        let inner = &self.client.inner;
        let keys = inner.keys.of(&service_queue(&self.name));
        let found = inner.reads.instance_state(&keys, &self.instance, timeout).await;
        let found = found.map_err(CallError::unanswered)?;
        let Some(found) = found else { return Ok(None) };
        if let Some(keyring) = &inner.keyring {
            found.judge(keyring, keys.name(), &self.instance).map_err(|why| {
                let message = format!("the state was not written by a worker: {why}");
                CallError::Failed(WireError::new(Code::Unauthorized, message))
            })?;
        }
        let state = RawValue::from_string(found.state).map_err(CallError::Decode)?;
        Ok(Some(ServiceState { state, version: found.version }))
    }
}
