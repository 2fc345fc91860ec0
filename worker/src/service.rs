//! One request to an instance of a service: what its task gets, and what becomes of the state.
//!
//! Requests of one instance are leased one at a time, in their call (`poll.lua` sorts them by
//! their instance, as it does those of limited names). So the state is read after the lease and
//! nobody else changes it; and if anybody did, the settlement is refused by the state's version,
//! and the request is run again.

use std::time::Duration;

use redcall_common::auth::{Signer, StateClaims};
use redcall_common::error::{Code, WireError};
use redcall_common::frame::FrameType;
use redcall_common::name::is_instance;
use redcall_common::service::{ServiceCall, ServiceOp, TaskData, TaskResult};
use redcall_store::{Extra, InstanceState, StateChange};
use serde_json::value::{RawValue, to_raw_value};

use crate::ending::fits;
use crate::handler::{Ending, HandlerError};
use crate::job::Job;

/// Most bytes of a state.
pub(crate) const MAX_STATE: usize = 1 << 20;

/// How a service's requests are run, beside the rules that all jobs have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ServiceRules {
    /// How long a state is kept that nobody changes.
    pub(crate) idle: Duration,
}

/// What a request asks of an instance, with the state that it found.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) task: ServiceOp,
    /// What the task gets.
    pub(crate) data: Box<RawValue>,
    instance: String,
    version: u64,
    rules: ServiceRules,
    sealer: Option<Sealer>,
}

/// Seals the state that a signed request leaves.
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

/// The call that a request carries.
pub(crate) fn call(data: &RawValue) -> Result<ServiceCall, WireError> {
    let wrong = |message: String| WireError::new(Code::InvalidData, message);
    let call: ServiceCall = serde_json::from_str(data.get()).map_err(|error| {
        let example = r#"{"task": "init", "execute" or "exit", "args": …, "instance": "…"}"#;
        wrong(format!("the data of a request to a service is {example}: {error}"))
    })?;
    // What others cannot read they cannot sort by: it would run beside those of its instance.
    serde_json::from_str::<serde_json::Value>(data.get())
        .map_err(|error| wrong(format!("the data is no JSON that all can read: {error}")))?;
    if !is_instance(&call.instance) {
        return Err(wrong("an instance's key is up to 64 of [A-Za-z0-9_.@-]".to_owned()));
    }
    Ok(call)
}

/// What the task gets, or why it does not run.
pub(crate) fn run(
    call: &ServiceCall,
    found: Option<InstanceState>,
    rules: ServiceRules,
    sealer: Option<Sealer>,
) -> Result<Run, WireError> {
    let conflict = |message: &str| Err(WireError::new(Code::Conflict, message));
    let (state, version) = match (call.task, found) {
        (ServiceOp::Init, Some(_)) => return conflict("already initialized: terminate it first"),
        (ServiceOp::Execute | ServiceOp::Exit, None) => {
            return conflict("not initialized, or it has ended: initialize it first");
        }
        (ServiceOp::Init, None) => (RawValue::NULL.to_owned(), 0),
        (_, Some(found)) => {
            let unreadable = |_| WireError::new(Code::Internal, "its state is no JSON");
            (RawValue::from_string(found.state).map_err(unreadable)?, found.version)
        }
    };
    let data = TaskData { state: &state, args: &call.args, instance: &call.instance };
    let unwritten = |_| WireError::new(Code::Internal, "its data cannot be put together");
    let data = to_raw_value(&data).map_err(unwritten)?;
    let instance = call.instance.clone();
    Ok(Run { task: call.task, data, instance, version, rules, sealer })
}

impl Job {
    /// Says that the task begins, if its caller wants to hear so. Once: a further run has said so
    /// already.
    pub(crate) async fn receipt(&self, call: &ServiceCall) {
        if call.receipt && self.attempt() == 1 {
            let data = to_raw_value(&serde_json::json!({ "task": call.task }));
            // The answer does not depend on it.
            let _ = self.push(FrameType::Progress, data.ok().as_deref()).await;
        }
    }
}

/// The answer in what a task ended with, and what becomes of the state with it. A task that failed
/// changes nothing; one that returns more than `depth` levels has failed.
pub(crate) fn ending(run: &Run, ending: Ending, depth: usize) -> (Ending, Option<Extra>) {
    let fitting = ending.and_then(|data| fits(&data, depth).map(|()| data));
    match fitting.and_then(|data| change(run, &data)) {
        Ok((answer, change)) => (Ok(answer), Some(Extra::State(change))),
        Err(error) => (Err(error), None),
    }
}

fn change(run: &Run, data: &RawValue) -> Result<(Box<RawValue>, StateChange), HandlerError> {
    let result: TaskResult = serde_json::from_str(data.get()).map_err(|error| {
        let example = r#"{"state": …, "answer": …}"#;
        HandlerError::new(format!("a task of a service returns {example}: {error}"))
    })?;
    let task = run.task.as_str();
    let state = match (run.task, result.state) {
        (ServiceOp::Exit, _) => None,
        (_, Some(state)) => Some(String::from(Box::<str>::from(state))),
        (_, None) => {
            return Err(HandlerError::new(format!("the task `{task}` returned no `state`")));
        }
    };
    if let Some(size) = state.as_ref().map(String::len).filter(|size| *size > MAX_STATE) {
        let message = format!("the state has {size} bytes, the limit is {MAX_STATE}");
        return Err(HandlerError::with_code(Code::TooLarge, message));
    }
    let answer = result.answer.unwrap_or_else(|| RawValue::NULL.to_owned());
    let (instance, version, keep) = (run.instance.clone(), run.version, run.rules.idle);
    let seal = run.sealer.as_ref().zip(state.as_ref());
    let seal = seal.map(|(sealer, state)| sealer.seal(&instance, version + 1, state));
    Ok((answer, StateChange { instance, version, state, keep, seal }))
}
