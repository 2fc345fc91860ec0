//! Services: what is asked of one instance of one.

use std::time::Duration;

use redcall_common::error::{Code, WireError};
use redcall_common::name::{is_instance, is_plain, service_queue};
use redcall_common::service::{ServiceCall, ServiceOp};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::client::Client;
use crate::error::CallError;
use crate::request::Request;
use crate::response::Response;

/// One instance of a service: made by [`Client::service`]. Cheap to clone.
///
/// Its requests run one at a time and in the order in which they reach Redis, whoever sends them
/// and on whatever worker. Each that is answered has changed the state once; one that failed has
/// not.
#[derive(Clone)]
#[must_use = "it asks for nothing by itself"]
pub struct Service {
    client: Client,
    name: String,
    instance: String,
}

/// What an instance remembers.
#[derive(Debug, Clone)]
pub struct ServiceState {
    /// The state, as its last task left it.
    pub state: Box<RawValue>,
    /// How many changes there were since it was initialised, that included.
    pub version: u64,
}

impl Client {
    /// The service `name` (a `[services.NAME]` of its workers' settings), as the instance without
    /// a key; [`Service::instance`] has others.
    pub fn service(&self, name: &str) -> Service {
        Service { client: self.clone(), name: name.to_owned(), instance: String::new() }
    }
}

impl Service {
    /// The instance of this key (up to 64 of `[A-Za-z0-9_.@-]`), with a state of its own.
    pub fn instance(mut self, key: &str) -> Self {
        key.clone_into(&mut self.instance);
        self
    }

    /// Has the `init` task make the first state of `args`. Cancel safe as [`Request::wait`].
    ///
    /// # Errors
    ///
    /// `conflict` if it is initialised already; else as [`Client::call_and_wait`].
    pub async fn initialize<T: Serialize + ?Sized>(&self, args: &T) -> Result<Response, CallError> {
        self.request(ServiceOp::Init, args)?.wait().await
    }

    /// Has the `execute` task do something with `args` and the state. Cancel safe as
    /// [`Request::wait`].
    ///
    /// # Errors
    ///
    /// `conflict` if it is not initialised; what the task failed with, and the state is as before;
    /// else as [`Client::call_and_wait`]. An error that says that the request may be queued leaves
    /// open whether the state was changed.
    pub async fn execute<T: Serialize + ?Sized>(&self, args: &T) -> Result<Response, CallError> {
        self.request(ServiceOp::Execute, args)?.wait().await
    }

    /// Has the `exit` task end the instance. It can be initialised anew. Cancel safe as
    /// [`Request::wait`].
    ///
    /// # Errors
    ///
    /// As [`Service::execute`].
    pub async fn terminate<T: Serialize + ?Sized>(&self, args: &T) -> Result<Response, CallError> {
        self.request(ServiceOp::Exit, args)?.wait().await
    }

    /// A request to the instance, for all that a request can be: let go, submitted, with a timeout
    /// or an idempotency key of its own.
    ///
    /// # Errors
    ///
    /// `invalid_request` if the name or the instance's key is none; `args` that cannot be written
    /// as JSON.
    pub fn request<T: Serialize + ?Sized>(
        &self,
        task: ServiceOp,
        args: &T,
    ) -> Result<Request, CallError> {
        self.service_call(task, args, false)
    }

    /// As [`Service::request`], with a receipt: who follows the request gets
    /// [`crate::Update::Progress`] when its task begins.
    ///
    /// # Errors
    ///
    /// As [`Service::request`].
    pub fn request_with_receipt<T: Serialize + ?Sized>(
        &self,
        task: ServiceOp,
        args: &T,
    ) -> Result<Request, CallError> {
        self.service_call(task, args, true)
    }

    fn service_call<T: Serialize + ?Sized>(
        &self,
        task: ServiceOp,
        args: &T,
        receipt: bool,
    ) -> Result<Request, CallError> {
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

    /// What is wrong with its name or key.
    fn problem(&self) -> Option<&'static str> {
        if !is_plain(&self.name) {
            return Some("a service's name is 1 to 64 of [A-Za-z0-9_.-]");
        }
        let is_wrong = !is_instance(&self.instance);
        is_wrong.then_some("an instance's key is up to 64 of [A-Za-z0-9_.@-]")
    }

    /// The state at this moment, without asking any worker; `None` if the instance is not
    /// initialised, has ended, or was evicted. Waits for Redis up to `within`.
    ///
    /// # Errors
    ///
    /// `invalid_request` as [`Service::request`]; `unauthorized` where this client has keys, and
    /// none of them has signed the state as it is; when Redis cannot be reached within `within`, or
    /// refuses.
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
                let message = format!("this is not the state that a worker has left: {why}");
                CallError::Failed(WireError::new(Code::Unauthorized, message))
            })?;
        }
        let state = RawValue::from_string(found.state).map_err(CallError::Decode)?;
        Ok(Some(ServiceState { state, version: found.version }))
    }
}
