//! Errors of calls as results of commands.

use redcall_client::{Code, ResultKind};

use super::command::Command;
use super::reply::Reply;
use crate::door::Failure;

/// Of the system: the command did not run, or its program broke.
const SYSTEM: u8 = 1;
/// Of the command.
const COMMAND: u8 = 2;

/// Returns result and error kind of a failure.
fn result_of(failure: &Failure) -> (ResultKind, u8) {
    match failure.code {
        Code::UnknownJob | Code::InvalidRequest => (ResultKind::Unrecognized, SYSTEM),
        Code::Timeout | Code::DeadlineExceeded if !failure.was_answered => {
            (ResultKind::Unavailable, SYSTEM)
        }
        Code::InvalidData
        | Code::NotFound
        | Code::Conflict
        | Code::TooLarge
        | Code::Unauthorized
        | Code::HandlerFailed
        | Code::Timeout
        | Code::DeadlineExceeded
        | Code::Cancelled => (ResultKind::Failed, COMMAND),
        Code::HandlerPanicked | Code::Internal | Code::WorkerLost => {
            (ResultKind::Exception, SYSTEM)
        }
        Code::Overloaded | Code::NoWorkers | Code::Unavailable => (ResultKind::Unavailable, SYSTEM),
    }
}

/// Returns the answer to a command that failed, as JSON.
pub(super) fn answer(command: &Command, failure: &Failure) -> String {
    let (result, error_kind) = result_of(failure);
    let data = failure.data.as_ref().map_or("null", |data| data.get());
    let reply = Reply::of(&command.nonce, command.number, result, data);
    let (error_code, error_message) = (failure.code.number(), Some(&*failure.message));
    Reply { error_kind, error_code, error_message, ..reply }.write()
}

/// Returns the answer to a message that is not a command, as JSON.
pub(super) fn unrecognized(nonce: &str) -> String {
    let reply = Reply::of(nonce, 0, ResultKind::Unrecognized, "null");
    let (error_code, message) = (Code::InvalidRequest.number(), "the message is not a command");
    Reply { error_kind: SYSTEM, error_code, error_message: Some(message), ..reply }.write()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_its_result() {
        let of = |code, was_answered| {
            let failure = Failure { was_answered, ..Failure::new(code, "") };
            let (result, kind) = result_of(&failure);
            (result.number(), kind)
        };
        for code in Code::ALL {
            let expected = match code.as_str() {
                "unknown_job" | "invalid_request" => (0, 1),
                "handler_panicked" | "internal" | "worker_lost" => (500, 1),
                "overloaded" | "no_workers" | "unavailable" => (9999, 1),
                _ => (400, 2),
            };
            assert_eq!(of(*code, true), expected, "{code}");
        }
        assert_eq!(of(Code::DeadlineExceeded, false), (9999, 1));
        assert_eq!(of(Code::Timeout, false), (9999, 1));
        assert_eq!(of(Code::Cancelled, false), (400, 2));
    }
}
