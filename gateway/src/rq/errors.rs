//! Errors as data of an answer. python-rpc has none of its own: its callers wait without limit.

use redcall_client::Code;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::door::Failure;

/// Returns `{"error": {"code", "message"}}`. Every code keeps its name.
pub(super) fn data(failure: &Failure) -> Box<RawValue> {
    #[derive(Serialize)]
    struct Data<'a> {
        error: Error<'a>,
    }
    #[derive(Serialize)]
    struct Error<'a> {
        code: Code,
        message: &'a str,
    }
    let data = Data { error: Error { code: failure.code, message: &failure.message } };
    to_raw_value(&data).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// Returns `true` if a call without an answer stays in the inbox until Redcall accepts it: the
/// caller waits for nothing, and its job must not be lost.
pub(super) fn is_repeated(code: Code) -> bool {
    match code {
        Code::Unavailable | Code::Overloaded | Code::NoWorkers => true,
        Code::UnknownJob
        | Code::NotFound
        | Code::Conflict
        | Code::InvalidRequest
        | Code::InvalidData
        | Code::TooLarge
        | Code::Unauthorized
        | Code::HandlerFailed
        | Code::HandlerPanicked
        | Code::Timeout
        | Code::DeadlineExceeded
        | Code::Cancelled
        | Code::WorkerLost
        | Code::Internal => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_is_code_and_message() {
        let failure = Failure::new(Code::UnknownJob, "unknown job `a\"b`");
        let wanted = r#"{"error":{"code":"unknown_job","message":"unknown job `a\"b`"}}"#;
        assert_eq!(data(&failure).get(), wanted);
    }
}
