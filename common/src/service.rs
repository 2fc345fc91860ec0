//! What a service's requests carry as their data, and what its tasks return.
//!
//! A service is a queue with state: all its instances share the queue `service:NAME`, and the
//! requests of one instance run one at a time, in their order. Each gets the state as the one
//! before it left it.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

/// What a request asks of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceOp {
    /// Make its first state.
    Init,
    /// Do something with its state, and leave it another one.
    Execute,
    /// End it.
    Exit,
}

impl ServiceOp {
    /// The name on the wire: `init`, `execute`, `exit`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Execute => "execute",
            Self::Exit => "exit",
        }
    }
}

/// The field of an order by which requests are sorted.
pub const INSTANCE: &str = "instance";

/// Data of a request to a service.
#[derive(Debug, Serialize, Deserialize)]
pub struct ServiceCall {
    /// What is asked.
    pub task: ServiceOp,
    /// What the task gets; `null` if absent.
    #[serde(default = "null")]
    pub args: Box<RawValue>,
    /// Which instance, up to 64 of `[A-Za-z0-9_.@-]`; empty, or absent, is the one without a key.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub instance: String,
    /// Whether the caller wants a `progress` frame when its task begins.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub receipt: bool,
}

/// What a task gets as its data.
#[derive(Debug, Serialize)]
pub struct TaskData<'a> {
    /// The state; `null` for `init`.
    pub state: &'a RawValue,
    /// What the caller sent.
    pub args: &'a RawValue,
    /// The instance's key; empty for the one without.
    pub instance: &'a str,
}

/// What a task returns.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct TaskResult {
    /// The new state. `init` and `execute` have to say it.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub state: Option<Box<RawValue>>,
    /// The answer to the caller; `null` if absent.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub answer: Option<Box<RawValue>>,
}

fn null() -> Box<RawValue> {
    RawValue::NULL.to_owned()
}

/// A `null` that was written is a value.
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
    fn an_order_says_no_more_than_it_must() {
        let order: ServiceCall = serde_json::from_str(r#"{"task":"execute"}"#).unwrap();
        assert_eq!(
            (order.task, order.args.get(), order.instance.as_str()),
            (ServiceOp::Execute, "null", "")
        );
        assert_eq!(serde_json::to_string(&order).unwrap(), r#"{"task":"execute","args":null}"#);
        assert!(serde_json::from_str::<ServiceCall>(r#"{"task":"stop"}"#).is_err());
    }
}
