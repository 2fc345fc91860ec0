//! The tasks of a service as one handler.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::future::join_all;
use redcall_common::error::Code;
use redcall_common::service::{ServiceCall, ServiceOp, TaskResult};
use serde_json::value::{RawValue, to_raw_value};

use super::error::{HandlerError, HandlerResult};
use super::interface::{Handler, Running};
use crate::handler::compiled::state::StateMap;
use crate::run::request::Request;

/// Runs the tasks of a service: each handler gets `state`, `args` and `instance` as its data, and
/// answers with `state` and `answer`.
pub(crate) struct ServiceHandler {
    pub(crate) init: Option<Arc<dyn Handler>>,
    pub(crate) execute: Arc<dyn Handler>,
    pub(crate) exit: Option<Arc<dyn Handler>>,
}

impl ServiceHandler {
    /// Returns each handler once: a pool of processes runs all three tasks.
    fn handlers(&self) -> Vec<&Arc<dyn Handler>> {
        let mut handlers = vec![&self.execute];
        for other in [&self.init, &self.exit].into_iter().flatten() {
            if handlers.iter().all(|known| !Arc::ptr_eq(known, other)) {
                handlers.push(other);
            }
        }
        handlers
    }
}

impl Handler for ServiceHandler {
    fn describe(&self) -> String {
        let each: Vec<String> = self.handlers().iter().map(|handler| handler.describe()).collect();
        format!("service {}", each.join(", "))
    }

    fn check(&self, states: &StateMap) -> Result<(), String> {
        self.handlers().into_iter().try_for_each(|handler| handler.check(states))
    }

    fn call(&self, request: Request) -> Running {
        let task = request.job().run.get().map(|run| run.task);
        let handler = match task {
            Some(ServiceOp::Init) => self.init.as_ref(),
            Some(ServiceOp::Execute) => Some(&self.execute),
            Some(ServiceOp::Exit) => self.exit.as_ref(),
            None => {
                let message = "the task was not prepared";
                let error = HandlerError::with_code(Code::Internal, message);
                return Box::pin(async { Err(error) });
            }
        };
        match handler {
            Some(handler) => handler.call(request),
            None => Box::pin(async move { without(&request) }),
        }
    }

    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let closing = self.handlers().into_iter().map(|handler| handler.close());
        Box::pin(async { drop(join_all(closing).await) })
    }
}

/// The default tasks: `init` uses its arguments as the state, and `exit` answers with the last
/// state.
fn without(request: &Request) -> HandlerResult {
    let call: ServiceCall = serde_json::from_str(request.job().request.data.get())?;
    let result = match call.task {
        ServiceOp::Exit => TaskResult { state: None, answer: Some(state(request)?) },
        ServiceOp::Init | ServiceOp::Execute => TaskResult { state: Some(call.args), answer: None },
    };
    Ok(to_raw_value(&result)?)
}

fn state(request: &Request) -> Result<Box<RawValue>, HandlerError> {
    #[derive(serde::Deserialize)]
    struct Given {
        state: Box<RawValue>,
    }
    Ok(serde_json::from_str::<Given>(request.data().get())?.state)
}
