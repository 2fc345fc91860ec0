//! Errors in both directions: the codes of Redcall as the peers know them, and theirs as Redcall's.

use redcall_common::error::{Code, WireError};
use serde_json::value::to_raw_value;

use super::wire::PeerError;

/// The frame is not JSON.
pub const PARSE_ERROR: i32 = -32700;
/// The message is not a JSON-RPC 2.0 request.
pub const INVALID_REQUEST: i32 = -32600;
/// The method does not exist.
pub const METHOD_NOT_FOUND: i32 = -32601;
/// The method cannot read its data.
pub const INVALID_PARAMS: i32 = -32602;
/// The time is over, or the call was cancelled.
pub const CANCELLED: i32 = -32000;
/// The peer may not call the method.
pub const UNAUTHORIZED: i32 = -32001;
/// The method failed: the peers' own code for an exception.
pub const EXCEPTION: i32 = -1;
/// Try later: the peers' own code for an application that is not connected.
pub const NOT_CONNECTED: i32 = -2;

/// Returns code and message of a failed call, as the peer gets them.
#[must_use]
pub fn to_peer(error: &WireError) -> (i32, &str) {
    let code = match error.code {
        // The only message that peers may compare.
        Code::UnknownJob => return (METHOD_NOT_FOUND, "Method not found"),
        Code::InvalidRequest => INVALID_REQUEST,
        Code::InvalidData => INVALID_PARAMS,
        Code::NotFound
        | Code::Conflict
        | Code::TooLarge
        | Code::HandlerFailed
        | Code::HandlerPanicked
        | Code::Internal => EXCEPTION,
        Code::Overloaded | Code::WorkerLost | Code::NoWorkers | Code::Unavailable => NOT_CONNECTED,
        Code::Unauthorized => UNAUTHORIZED,
        Code::Timeout | Code::DeadlineExceeded | Code::Cancelled => CANCELLED,
    };
    (code, &error.message)
}

/// Returns the error of a job that the peer has answered with an error.
#[must_use]
pub fn from_peer(error: PeerError) -> WireError {
    let PeerError { code, message } = error;
    let native = match i32::try_from(code) {
        Ok(METHOD_NOT_FOUND) => Code::UnknownJob,
        Ok(INVALID_PARAMS) => Code::InvalidData,
        _ => Code::HandlerFailed,
    };
    let mut error = WireError::new(native, message);
    if native == Code::HandlerFailed {
        error.data = to_raw_value(&serde_json::json!({ "code": code })).ok();
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_the_peers_number() {
        let numbers = Code::ALL.iter().map(|code| to_peer(&WireError::new(*code, "m")).0);
        let expected = [
            -32601, -2, -1, -1, -32600, -32602, -1, -2, -32001, -1, -1, -32000, -32000, -32000, -2,
            -2, -1,
        ];
        assert_eq!(numbers.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn message_of_the_handler_reaches_the_peer() {
        let failed = WireError::new(Code::HandlerFailed, "out of paper");
        assert_eq!(to_peer(&failed), (-1, "out of paper"));
        let unknown = WireError::new(Code::UnknownJob, "unknown job `x`");
        assert_eq!(to_peer(&unknown), (-32601, "Method not found"));
    }

    #[test]
    fn error_of_the_peer_keeps_its_number() {
        let native = |code| {
            let error = from_peer(PeerError { code, message: "m".to_owned() });
            (error.code, error.message, error.data.map(|data| data.get().to_owned()))
        };
        let m = || "m".to_owned();
        assert_eq!(native(-32601), (Code::UnknownJob, m(), None));
        assert_eq!(native(-32602), (Code::InvalidData, m(), None));
        for code in [-1, -2, -3, 0, i64::MAX] {
            assert_eq!(
                native(code),
                (Code::HandlerFailed, m(), Some(format!(r#"{{"code":{code}}}"#)))
            );
        }
    }
}
