//! The data of a service's requests, and the results of its tasks.
//!
//! A service is a queue with state: all its instances share the queue `service:NAME`, and the
//! requests of one instance run one at a time, in order. Each gets the state that the previous one
//! returned.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

/// The operation that a request runs on an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceOp {
    /// Create the first state.
    Init,
    /// Use the state, and return a new one.
    Execute,
    /// Delete the instance.
    Exit,
}

impl ServiceOp {
    /// Returns the name on the wire: `init`, `execute`, `exit`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Execute => "execute",
            Self::Exit => "exit",
        }
    }
}

/// The field of a call by which requests are partitioned.
pub const INSTANCE: &str = "instance";

/// The data of a request to a service.
#[derive(Debug, Serialize, Deserialize)]
pub struct ServiceCall {
    /// The operation.
    pub task: ServiceOp,
    /// The task's arguments; `null` if absent.
    #[serde(default = "null")]
    pub args: Box<RawValue>,
    /// The instance, up to 64 of `[A-Za-z0-9_.@-]`; empty, or absent, for the one without a key.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub instance: String,
    /// `true` if the caller wants a `progress` frame when its task starts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub receipt: bool,
}

/// The data of a task.
#[derive(Debug, Serialize)]
pub struct TaskData<'a> {
    /// The state; `null` for `init`.
    pub state: &'a RawValue,
    /// The caller's arguments.
    pub args: &'a RawValue,
    /// The instance's key; empty for the one without a key.
    pub instance: &'a str,
}

/// The result of a task.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct TaskResult {
    /// The new state. Required from `init` and `execute`.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub state: Option<Box<RawValue>>,
    /// The answer to the caller; `null` if absent.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub answer: Option<Box<RawValue>>,
}

fn null() -> Box<RawValue> {
    RawValue::NULL.to_owned()
}

/// An explicit `null` is a value.
fn given<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(from).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_of_null_is_a_state() {
        let result: TaskResult = serde_json::from_str(r#"{"state":null}"#).unwrap();
        assert_eq!(result.state.unwrap().get(), "null");
        assert!(result.answer.is_none());
    }

    #[test]
    fn call_omits_unset_fields() {
        let call: ServiceCall = serde_json::from_str(r#"{"task":"execute"}"#).unwrap();
        assert_eq!(
            (call.task, call.args.get(), call.instance.as_str()),
            (ServiceOp::Execute, "null", "")
        );
        assert_eq!(serde_json::to_string(&call).unwrap(), r#"{"task":"execute","args":null}"#);
        assert!(serde_json::from_str::<ServiceCall>(r#"{"task":"stop"}"#).is_err());
    }
}
