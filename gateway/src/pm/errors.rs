//! Errors in both directions: the codes of Redcall as the peers know them, and theirs as Redcall's.

use redcall_client::Code;

use super::wire::PeerError;
use crate::door::Failure;

/// The frame is not JSON.
pub(super) const PARSE_ERROR: i32 = -32700;
/// The message is not a JSON-RPC 2.0 request.
pub(super) const INVALID_REQUEST: i32 = -32600;
/// The method does not exist.
const METHOD_NOT_FOUND: i32 = -32601;
/// The method cannot read its data.
pub(super) const INVALID_PARAMS: i32 = -32602;
/// The time is over, or the call was cancelled.
const CANCELLED: i32 = -32000;
/// The peer may not call the method.
const UNAUTHORIZED: i32 = -32001;
/// The method failed: the peers' own code for an exception.
const EXCEPTION: i32 = -1;
/// Try later: the peers' own code for an application that is not connected.
const NOT_CONNECTED: i32 = -2;

/// Returns code and message of a failed call, as the peer gets them.
pub(super) fn to_peer(failure: &Failure) -> (i32, &str) {
    let code = match failure.code {
        // The peers' own text.
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
    (code, &failure.message)
}

/// Returns the failure of a job that the peer has answered with an error.
pub(super) fn from_peer(error: PeerError) -> Failure {
    let PeerError { code, message } = error;
    match i32::try_from(code) {
        Ok(METHOD_NOT_FOUND) => Failure::new(Code::UnknownJob, message),
        Ok(INVALID_PARAMS) => Failure::new(Code::InvalidData, message),
        _ => Failure::new(Code::HandlerFailed, message).with_data(format!("{{\"code\":{code}}}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_the_peers_number() {
        let numbers = Code::ALL.iter().map(|code| to_peer(&Failure::new(*code, "m")).0);
        let expected = [
            -32601, -2, -1, -1, -32600, -32602, -1, -2, -32001, -1, -1, -32000, -32000, -32000, -2,
            -2, -1,
        ];
        assert_eq!(numbers.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn message_of_the_handler_reaches_the_peer() {
        let failed = Failure::new(Code::HandlerFailed, "out of paper");
        assert_eq!(to_peer(&failed), (-1, "out of paper"));
        let unknown = Failure::new(Code::UnknownJob, "unknown job `x`");
        assert_eq!(to_peer(&unknown), (-32601, "Method not found"));
    }

    #[test]
    fn error_of_the_peer_keeps_its_number() {
        let native = |code| {
            let failure = from_peer(PeerError { code, message: "m".to_owned() });
            (failure.code, failure.message, failure.data.map(|data| data.get().to_owned()))
        };
        let m = || "m".to_owned();
        assert_eq!(native(-32601), (Code::UnknownJob, m(), None));
        assert_eq!(native(-32602), (Code::InvalidData, m(), None));
        for code in [-1, -2, -3, 0, i64::MAX] {
            let data = Some(format!(r#"{{"code":{code}}}"#));
            assert_eq!(native(code), (Code::HandlerFailed, m(), data));
        }
    }
}
