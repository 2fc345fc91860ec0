//! One request to an instance of a service: the input of its task and the change of its state.
//!
//! Requests of one instance are leased one at a time, in call order (`poll.lua` partitions them by
//! instance, as it does the requests of limited names). So the state is read after the lease,
//! and no other run changes it. If it changes nevertheless, its version does not match: the
//! settlement is refused, and the request runs again.

use std::time::Duration;

use redcall_common::auth::{Signer, StateClaims};
use redcall_common::error::{Code, WireError};
use redcall_common::name::is_instance;
use redcall_common::service::{ServiceCall, ServiceOp, TaskData, TaskResult};
use redcall_store::{InstanceState, SideEffect, StateChange};
use serde_json::value::{RawValue, to_raw_value};

use crate::handler::bounds::check_depth;
use crate::handler::error::{HandlerError, HandlerResult};

/// Most bytes of a state.
pub(crate) const MAX_STATE: usize = 1 << 20;

/// The rules of a service's requests, in addition to those of all jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ServiceRules {
    /// How long a state is kept after its last change.
    pub(crate) idle: Duration,
}

/// A service's request, with the state of its instance.
#[derive(Debug)]
pub(crate) struct TaskRun {
    pub(crate) task: ServiceOp,
    /// The input of the task.
    pub(crate) data: Box<RawValue>,
    instance: String,
    version: u64,
    rules: ServiceRules,
    sealer: Option<Sealer>,
}

/// Signs the state that a signed request leaves.
#[derive(Debug)]
pub(crate) struct Sealer {
    /// Name of the service's queue.
    pub(crate) queue: String,
    pub(crate) signer: Signer,
}

impl Sealer {
    fn seal(&self, instance: &str, version: u64, state: &str) -> String {
        self.signer.seal_state(&StateClaims { queue: &self.queue, instance, version, state })
    }
}

/// Parses the service call of a request.
pub(crate) fn call(data: &RawValue) -> Result<ServiceCall, WireError> {
    let wrong = |message: String| WireError::new(Code::InvalidData, message);
    let call: ServiceCall = serde_json::from_str(data.get()).map_err(|error| {
        let example = r#"{"task": "init", "execute" or "exit", "args": …, "instance": "…"}"#;
        wrong(format!("a request to a service needs data like {example}: {error}"))
    })?;
    // `poll.lua` must be able to read the instance: otherwise requests of one instance run at once.
    serde_json::from_str::<serde_json::Value>(data.get()).map_err(|error| {
        wrong(format!("the data is not JSON that every reader accepts: {error}"))
    })?;
    if !is_instance(&call.instance) {
        return Err(wrong(
            "the instance key must be up to 64 characters of [A-Za-z0-9_.@-]".to_owned(),
        ));
    }
    Ok(call)
}

/// Returns the run of the task, or the error that prevents it.
pub(crate) fn run(
    call: &ServiceCall,
    found: Option<InstanceState>,
    rules: ServiceRules,
    sealer: Option<Sealer>,
) -> Result<TaskRun, WireError> {
    let conflict = |message: &str| Err(WireError::new(Code::Conflict, message));
    let (state, version) = match (call.task, found) {
        (ServiceOp::Init, Some(_)) => {
            return conflict("the instance is already initialized: terminate it first");
        }
        (ServiceOp::Execute | ServiceOp::Exit, None) => {
            return conflict("the instance is not initialized, or has ended: initialize it first");
        }
        (ServiceOp::Init, None) => (RawValue::NULL.to_owned(), 0),
        (_, Some(found)) => {
            let unreadable =
                |_| WireError::new(Code::Internal, "the instance's state is not valid JSON");
            (RawValue::from_string(found.state).map_err(unreadable)?, found.version)
        }
    };
    let data = TaskData { state: &state, args: &call.args, instance: &call.instance };
    let unwritten = |_| WireError::new(Code::Internal, "the task's input cannot be serialised");
    let data = to_raw_value(&data).map_err(unwritten)?;
    let instance = call.instance.clone();
    Ok(TaskRun { task: call.task, data, instance, version, rules, sealer })
}

/// Splits a task's result into its answer and the change of the state. A failed task changes
/// nothing; a task that returns more than `depth` levels has failed.
pub(crate) fn split_result(
    run: &TaskRun,
    result: HandlerResult,
    depth: usize,
) -> (HandlerResult, Option<SideEffect>) {
    let fitting = result.and_then(|data| check_depth(data.get().as_bytes(), depth).map(|()| data));
    match fitting.and_then(|data| change(run, &data)) {
        Ok((answer, change)) => (Ok(answer), Some(SideEffect::State(change))),
        Err(error) => (Err(error), None),
    }
}

fn change(run: &TaskRun, data: &RawValue) -> Result<(Box<RawValue>, StateChange), HandlerError> {
    let result: TaskResult = serde_json::from_str(data.get()).map_err(|error| {
        let example = r#"{"state": …, "answer": …}"#;
        HandlerError::new(format!("a request to a service must return {example}: {error}"))
    })?;
    let task = run.task.as_str();
    let state = match (run.task, result.state) {
        (ServiceOp::Exit, _) => None,
        (_, Some(state)) => Some(String::from(Box::<str>::from(state))),
        (_, None) => {
            return Err(HandlerError::new(format!("the task `{task}` must return a `state`")));
        }
    };
    if let Some(size) = state.as_ref().map(String::len).filter(|size| *size > MAX_STATE) {
        let message = format!("the state has {size} bytes, the limit is {MAX_STATE} bytes");
        return Err(HandlerError::with_code(Code::TooLarge, message));
    }
    let answer = result.answer.unwrap_or_else(|| RawValue::NULL.to_owned());
    let (instance, version, keep) = (run.instance.clone(), run.version, run.rules.idle);
    let seal = run.sealer.as_ref().zip(state.as_ref());
    let seal = seal.map(|(sealer, state)| sealer.seal(&instance, version + 1, state));
    Ok((answer, StateChange { instance, version, state, keep, seal }))
}
