//! The arguments of the messages to a client, as JSON.

use redcall_client::Code;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::wire::message::Outcome;
use crate::door::Failure;

/// A message to a client.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) outcome: Outcome,
    pub(super) args: Box<RawValue>,
}

/// The text of a rejected token.
pub(super) const WRONG_TOKEN: &str = "Invalid client authentication.";

/// Arguments with a text. Every message but a receipt states that the client need not answer.
#[derive(Serialize)]
struct Text<'a> {
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    await_response: Option<bool>,
}

impl Reply {
    /// The receipt of a message of type `name`.
    pub(super) fn receipt(name: &str) -> Self {
        let message = &format!("Received '{name}'");
        Self::text(Outcome::Ok, Text { message, code: None, await_response: None })
    }

    /// A success without data.
    pub(super) fn done(message: &str) -> Self {
        Self::text(Outcome::Ok, Text { message, code: None, await_response: Some(false) })
    }

    /// An error of the protocol itself.
    pub(super) fn refused(message: &str) -> Self {
        Self::text(Outcome::Error, Text { message, code: None, await_response: Some(false) })
    }

    /// The error of a call; `conflict` states what a conflict means for it.
    pub(super) fn failed(failure: &Failure, conflict: &str) -> Self {
        let message = message(failure, conflict);
        let code = Some(failure.code.as_str());
        Self::text(Outcome::Error, Text { message, code, await_response: Some(false) })
    }

    /// The answer of a task: an object as it is, anything else under `answer`.
    pub(super) fn answer(data: &RawValue) -> Self {
        let data = data.get().trim();
        let object = match data.strip_prefix('{').and_then(|data| data.strip_suffix('}')) {
            Some(inner) => inner.trim().to_owned(),
            None if data == "null" => String::new(),
            None => format!("\"answer\":{data}"),
        };
        let comma = if object.is_empty() { "" } else { "," };
        let args = RawValue::from_string(format!("{{{object}{comma}\"await_response\":false}}"));
        Self { outcome: Outcome::Ok, args: args.unwrap_or_else(|_| RawValue::NULL.to_owned()) }
    }

    fn text(outcome: Outcome, text: Text<'_>) -> Self {
        let args = to_raw_value(&text).unwrap_or_else(|_| RawValue::NULL.to_owned());
        Self { outcome, args }
    }
}

/// Returns the text of an error. Codes without a text of bgpy keep their message.
fn message<'a>(failure: &'a Failure, conflict: &'a str) -> &'a str {
    match failure.code {
        Code::Conflict => conflict,
        Code::Unauthorized => WRONG_TOKEN,
        Code::UnknownJob
        | Code::NoWorkers
        | Code::NotFound
        | Code::InvalidRequest
        | Code::InvalidData
        | Code::TooLarge
        | Code::Overloaded
        | Code::HandlerFailed
        | Code::HandlerPanicked
        | Code::Timeout
        | Code::DeadlineExceeded
        | Code::Cancelled
        | Code::WorkerLost
        | Code::Unavailable
        | Code::Internal => &failure.message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_becomes_an_object() {
        let args = |data: &str| {
            Reply::answer(&RawValue::from_string(data.to_owned()).unwrap()).args.get().to_owned()
        };
        assert_eq!(args("null"), r#"{"await_response":false}"#);
        assert_eq!(args("{ }"), r#"{"await_response":false}"#);
        assert_eq!(args(r#"{"n":1.50}"#), r#"{"n":1.50,"await_response":false}"#);
        assert_eq!(args("[1]"), r#"{"answer":[1],"await_response":false}"#);
        assert_eq!(args(r#""}""#), r#"{"answer":"}","await_response":false}"#);
    }

    #[test]
    fn error_has_the_text_of_bgpy_or_its_own() {
        let args = |code| {
            let failure = Failure::new(code, "why");
            Reply::failed(&failure, "Not yet initialized.").args.get().to_owned()
        };
        let expected = |message: &str, code: &str| {
            format!(r#"{{"message":"{message}","code":"{code}","await_response":false}}"#)
        };
        assert_eq!(args(Code::Conflict), expected("Not yet initialized.", "conflict"));
        assert_eq!(args(Code::Unauthorized), expected(WRONG_TOKEN, "unauthorized"));
        assert_eq!(args(Code::HandlerFailed), expected("why", "handler_failed"));
    }
}
