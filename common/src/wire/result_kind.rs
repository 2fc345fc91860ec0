//! The result of a command as a number: the result kinds of clients that number them, and the event
//! that reports one.
//!
//! One table below generates the numbers, the frames and the codes in both directions, and the
//! table in docs/reference/protocol.md.

use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::rules::error::{Code, WireError};
use crate::wire::frame::FrameType;

/// The header that identifies a command in the event about its result.
pub const NONCE: &str = "nonce";

/// The result of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResultKind {
    /// The command is unknown.
    Unrecognized,
    /// The command succeeded.
    Success,
    /// Its answer is deferred; a waiting caller receives it.
    Deferred,
    /// Its answer is deferred, and will be published as well.
    DeferredWithNotification,
    /// It was refused, or failed.
    Failed,
    /// The handler crashed.
    Exception,
    /// No worker can run it now.
    Unavailable,
}

impl ResultKind {
    /// All kinds, ordered by number.
    pub const ALL: [Self; 7] = [
        Self::Unrecognized,
        Self::Success,
        Self::Deferred,
        Self::DeferredWithNotification,
        Self::Failed,
        Self::Exception,
        Self::Unavailable,
    ];

    /// Returns number, name, frame type, and the error code if the frame is an error.
    const fn row(self) -> (u32, &'static str, FrameType, Option<Code>) {
        use FrameType::{Deferred, Error, Result};
        match self {
            Self::Unrecognized => (0, "unrecognized", Error, Some(Code::UnknownJob)),
            Self::Success => (100, "success", Result, None),
            Self::Deferred => (200, "deferred", Deferred, None),
            Self::DeferredWithNotification => (201, "deferred_with_notification", Deferred, None),
            Self::Failed => (400, "failed", Error, Some(Code::HandlerFailed)),
            Self::Exception => (500, "exception", Error, Some(Code::HandlerPanicked)),
            Self::Unavailable => (9999, "unavailable", Error, Some(Code::Unavailable)),
        }
    }

    /// Returns its number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.row().0
    }

    /// Returns its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.row().1
    }

    /// Returns the frame type that carries it.
    #[must_use]
    pub const fn frame(self) -> FrameType {
        self.row().2
    }

    /// Returns the error code of its answer; `None` if it is not an error.
    #[must_use]
    pub const fn code(self) -> Option<Code> {
        self.row().3
    }

    /// Returns the kind with this number, if there is one.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }

    /// Returns the kind of an error.
    #[must_use]
    pub const fn of(code: Code) -> Self {
        match code {
            Code::UnknownJob | Code::InvalidRequest => Self::Unrecognized,
            Code::NotFound
            | Code::Conflict
            | Code::InvalidData
            | Code::TooLarge
            | Code::Unauthorized
            | Code::HandlerFailed
            | Code::Timeout
            | Code::DeadlineExceeded
            | Code::Cancelled => Self::Failed,
            Code::HandlerPanicked | Code::WorkerLost | Code::Internal => Self::Exception,
            Code::NoWorkers | Code::Overloaded | Code::Unavailable => Self::Unavailable,
        }
    }
}

/// Builds the context of an event `command_result`: the result of the request `id`, a command of
/// this name. `nonce` is the caller's own id of it. Data of more than `max` bytes are omitted: then
/// it has `"cut": true`.
#[must_use]
pub fn command_result(
    (id, name, nonce): (&str, &str, Option<&str>),
    result: Result<&RawValue, &WireError>,
    max: usize,
) -> String {
    let (kind, data, code, message) = match result {
        Ok(data) => (ResultKind::Success, Some(data), 0, None),
        Err(error) => {
            let code = error.code.number();
            (ResultKind::of(error.code), error.data.as_deref(), code, Some(&error.message))
        }
    };
    let mut head = json!({
        "id": id,
        "nonce": nonce,
        "command": name,
        "result": kind.number(),
        "errorCode": code,
        "errorMessage": message,
    });
    let fits = data.is_none_or(|data| data.get().len() + head.to_string().len() + 20 <= max);
    if !fits {
        head["cut"] = Value::Bool(true);
    }
    // The data unchanged: parsing would round large numbers.
    let data = data.filter(|_| fits).map_or("null", RawValue::get);
    let head = head.to_string();
    format!("{},\"data\":{data}}}", head.strip_suffix('}').unwrap_or(&head))
}

/// Returns the kinds as the markdown table of docs/reference/protocol.md.
#[must_use]
pub fn table() -> String {
    let mut out = String::from("| number | name | frame | answered as | stands for |\n");
    out.push_str("|---|---|---|---|---|\n");
    for kind in ResultKind::ALL {
        let codes = Code::ALL.iter().filter(|code| ResultKind::of(**code) == kind);
        let codes: Vec<String> = codes.map(|code| format!("`{code}`")).collect();
        let (number, name, frame) = (kind.number(), kind.name(), kind.frame().as_str());
        let code = kind.code().map_or_else(|| "-".to_owned(), |code| format!("`{code}`"));
        let codes = if codes.is_empty() { "-".to_owned() } else { codes.join(", ") };
        out.push_str(&format!("| {number} | `{name}` | `{frame}` | {code} | {codes} |\n"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_number_and_code() {
        for kind in ResultKind::ALL {
            assert_eq!(ResultKind::from_number(kind.number()), Some(kind));
            assert_eq!(kind.code().is_some(), kind.frame() == FrameType::Error);
            assert!(kind.code().is_none_or(|code| ResultKind::of(code) == kind), "{kind:?}");
        }
        let numbers = ResultKind::ALL.map(ResultKind::number);
        assert_eq!(numbers, [0, 100, 200, 201, 400, 500, 9999]);
        assert_eq!(ResultKind::from_number(1), None);
    }

    #[test]
    fn the_context_of_a_result_is_fixed() {
        let data = RawValue::from_string("[1.50]".to_owned()).unwrap();
        let of = |nonce, result, max| command_result(("x1", "start", nonce), result, max);
        let head = r#"{"command":"start","errorCode":0,"errorMessage":null,"id":"x1","#;
        assert_eq!(
            of(Some("7"), Ok(&data), 1000),
            format!(r#"{head}"nonce":"7","result":100,"data":[1.50]}}"#)
        );
        let large = of(None, Ok(&data), 100);
        assert!(large.contains(r#""cut":true"#) && large.ends_with(r#""data":null}"#), "{large}");
        let error = WireError::new(Code::HandlerFailed, "no }");
        let failed: Value = serde_json::from_str(&of(None, Err(&error), 1000)).unwrap();
        assert_eq!(failed["errorCode"], -32010);
        assert_eq!(failed["errorMessage"], "no }");
        assert_eq!((&failed["result"], &failed["data"]), (&json!(400), &Value::Null));
    }
}
