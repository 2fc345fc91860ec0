//! JSON-RPC 2.0 between a pool and its processes: one message a line.
//!
//! To the process: requests, first `$/start`, and the notifications `$/cancel` and `$/token`. From
//! it: responses, and the notifications `$/progress`, `$/chunk` and `$/defer`. Names with `$/`
//! belong to the connection, as in the Language Server Protocol (3.17, "Notification and Request
//! Messages").

use std::borrow::Cow;
use std::collections::BTreeMap;

use redcall_common::error::{Code, WireError};
use redcall_common::frame::FrameType;
use redcall_common::time::millis;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::run::request::Request;

/// A message to the process.
#[derive(Serialize)]
struct Message<'a, P: Serialize> {
    jsonrpc: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    method: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    params: Option<P>,
    /// An addition to JSON-RPC; processes that do not know it ignore it.
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<JobInfo<'a>>,
}

/// Metadata of the job.
#[derive(Serialize)]
struct JobInfo<'a> {
    id: &'a str,
    attempt: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    budget_ms: Option<u64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    headers: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
struct StartParams<'a> {
    protocol: u32,
    version: &'a str,
}

#[derive(Serialize)]
struct CancelParams {
    id: u64,
}

#[derive(Serialize)]
struct TokenParams<'a> {
    id: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

/// A message from a process.
#[derive(Debug)]
pub(super) enum Incoming<'a> {
    /// The answer to the request of this number.
    Answer(u64, Result<Box<RawValue>, WireError>),
    /// A frame for readers of the stream of this request.
    Frame(FrameType, u64, &'a RawValue),
    /// The answer is deferred.
    Defer(Deferral<'a>),
    /// An unknown notification, which JSON-RPC has receivers ignore.
    Other,
}

impl Incoming<'_> {
    /// Returns the number of the request that the message is about, if any.
    pub(super) fn id(&self) -> Option<u64> {
        match self {
            Incoming::Answer(id, _) | Incoming::Frame(_, id, _) => Some(*id),
            Incoming::Defer(deferral) => Some(deferral.id),
            Incoming::Other => None,
        }
    }

    /// Returns `true` if the message is rate-limited: it is neither an answer nor a part of one.
    pub(super) fn is_paced(&self) -> bool {
        !matches!(self, Incoming::Answer(..) | Incoming::Frame(FrameType::Chunk, ..))
    }
}

/// A line from the process.
#[derive(Deserialize)]
struct RawMessage<'a> {
    #[serde(default)]
    id: Option<u64>,
    #[serde(borrow, default)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<RpcError<'a>>,
}

#[derive(Deserialize)]
struct RpcError<'a> {
    code: i64,
    message: String,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Part<'a> {
    id: u64,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// The params of `$/defer`.
#[derive(Debug, Deserialize)]
pub(super) struct Deferral<'a> {
    /// Number of the request.
    pub(super) id: u64,
    /// The data of the `deferred` frame; `None` for null.
    #[serde(borrow, default)]
    pub(super) data: Option<&'a RawValue>,
    /// How long the answer may take.
    #[serde(default)]
    pub(super) within_ms: Option<u64>,
    /// `true` to publish the result as an event.
    #[serde(default)]
    pub(super) notify: bool,
}

/// Returns `null` as a result of its own.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

fn line(message: &impl Serialize) -> Vec<u8> {
    // Strings, numbers and JSON that was read: nothing here can fail to serialise.
    let mut line = serde_json::to_vec(message).unwrap_or_default();
    // The caller's data may span several lines; within JSON strings there are no line breaks.
    line.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
    line.push(b'\n');
    line
}

/// Returns the first request, number 0: an answer to it completes the handshake.
pub(super) fn start() -> Vec<u8> {
    let params = Some(StartParams { protocol: 1, version: env!("CARGO_PKG_VERSION") });
    line(&Message { jsonrpc: "2.0", id: Some(0), method: "$/start", params, job: None })
}

/// Returns the request of number `id`. `params` are the job's data if that is an object or an
/// array, omitted for null, else an array with it: JSON-RPC allows nothing else.
pub(super) fn request(id: u64, request: &Request) -> Vec<u8> {
    let wrapped;
    let data = request.data();
    let params = match data.get().as_bytes().first() {
        Some(b'{' | b'[') => Some(data),
        Some(b'n') | None => None,
        Some(_) => {
            wrapped = RawValue::from_string(format!("[{}]", data.get()));
            wrapped.as_deref().ok()
        }
    };
    let budget_ms = request.remaining().map(millis);
    let (attempt, headers) = (request.attempt(), request.headers());
    let job = Some(JobInfo { id: request.id(), attempt, budget_ms, headers });
    line(&Message { jsonrpc: "2.0", id: Some(id), method: request.method(), params, job })
}

/// Returns the notification that the request of number `id` is cancelled.
pub(super) fn cancel(id: u64) -> Vec<u8> {
    let params = Some(CancelParams { id });
    line(&Message { jsonrpc: "2.0", id: None, method: "$/cancel", params, job: None })
}

/// Returns the token of the deferred request of number `id`, or the error.
pub(super) fn token(id: u64, token: Result<&str, &str>) -> Vec<u8> {
    let params = Some(TokenParams { id, token: token.ok(), error: token.err() });
    line(&Message { jsonrpc: "2.0", id: None, method: "$/token", params, job: None })
}

/// Returns the most concurrent requests of a process, by its answer to [`start`]; one by default.
pub(super) fn concurrency(answer: &Result<Box<RawValue>, WireError>) -> usize {
    #[derive(Deserialize)]
    struct Started {
        concurrency: usize,
    }
    let started = answer.as_ref().ok().map(|answer| serde_json::from_str::<Started>(answer.get()));
    started.and_then(Result::ok).map_or(1, |started| started.concurrency.clamp(1, 1024))
}

/// Parses a line.
///
/// # Errors
///
/// The mistake in it.
pub(super) fn read(text: &str) -> Result<Incoming<'_>, String> {
    let line: RawMessage<'_> = serde_json::from_str(text)
        .map_err(|error| format!("a line that is not a JSON-RPC message ({error})"))?;
    match line {
        RawMessage { method: Some(method), params, id: None, .. } => {
            let params = params.map_or("null", RawValue::get);
            let kind = match &*method {
                "$/progress" => FrameType::Progress,
                "$/chunk" => FrameType::Chunk,
                "$/defer" => {
                    let deferral = serde_json::from_str(params)
                        .map_err(|error| format!("an invalid `{method}` ({error})"))?;
                    return Ok(Incoming::Defer(deferral));
                }
                _ => return Ok(Incoming::Other),
            };
            let Part { id, data } = serde_json::from_str(params)
                .map_err(|error| format!("a `{method}` without id and data ({error})"))?;
            Ok(Incoming::Frame(kind, id, data))
        }
        RawMessage { method: Some(method), .. } => {
            Err(format!("a request of its own (`{method}`)"))
        }
        RawMessage { id: Some(id), result: Some(result), error: None, .. } => {
            Ok(Incoming::Answer(id, Ok(result.to_owned())))
        }
        RawMessage { id: Some(id), result: None, error: Some(failure), .. } => {
            Ok(Incoming::Answer(id, Err(failure.into_error())))
        }
        _ => Err("a response without id, or without either result or error".to_owned()),
    }
}

impl RpcError<'_> {
    fn into_error(self) -> WireError {
        let mut error = WireError::new(code_of(self.code), self.message);
        error.data = self.data.map(RawValue::to_owned);
        error
    }
}

/// Returns the code for a number of JSON-RPC, or of docs/reference/errors.md if a handler may use
/// it.
fn code_of(number: i64) -> Code {
    const ALLOWED: [Code; 7] = [
        Code::UnknownJob,
        Code::NotFound,
        Code::Conflict,
        Code::InvalidData,
        Code::TooLarge,
        Code::Overloaded,
        Code::Unauthorized,
    ];
    match number {
        -32601 => Code::UnknownJob,
        -32602 => Code::InvalidData,
        number => {
            let allowed = ALLOWED.into_iter().find(|code| i64::from(code.number()) == number);
            allowed.unwrap_or(Code::HandlerFailed)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str) -> Result<String, (Code, String)> {
        match read(text).unwrap() {
            Incoming::Answer(7, Ok(data)) => Ok(data.get().to_owned()),
            Incoming::Answer(7, Err(error)) => Err((error.code, error.message)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn handshake_sets_the_concurrency() {
        let concurrency_of =
            |text: &str| concurrency(&Ok(RawValue::from_string(text.to_owned()).unwrap()));
        let all = ["null", "{}", r#"{"concurrency":0}"#, r#"{"concurrency":"8"}"#, "8"];
        assert!(all.into_iter().all(|text| concurrency_of(text) == 1));
        assert_eq!(concurrency_of(r#"{"concurrency":8,"more":1}"#), 8);
        assert_eq!(concurrency_of(r#"{"concurrency":100000}"#), 1024);
        assert_eq!(concurrency(&Err(WireError::new(Code::UnknownJob, "no"))), 1);
    }

    #[test]
    fn null_is_an_answer() {
        assert_eq!(answer(r#"{"jsonrpc":"2.0","id":7,"result":null}"#).unwrap(), "null");
    }

    #[test]
    fn numbers_of_errors_become_codes() {
        for (number, code) in [
            (-32601, Code::UnknownJob),
            (-32602, Code::InvalidData),
            (-32004, Code::Conflict),
            // Would count as a crash of the process.
            (Code::WorkerLost.number(), Code::HandlerFailed),
            (-32000, Code::HandlerFailed),
            (1, Code::HandlerFailed),
        ] {
            let text = format!(r#"{{"id":7,"error":{{"code":{number},"message":"m"}}}}"#);
            assert_eq!(answer(&text).unwrap_err(), (code, "m".to_owned()), "{number}");
        }
    }

    #[test]
    fn other_messages_are_refused() {
        for text in [
            "",
            "hello",
            "[]",
            r#"{"id":7}"#,
            r#"{"result":1}"#,
            r#"{"id":7,"result":1,"error":{"code":1,"message":"m"}}"#,
            r#"{"id":"7","result":1}"#,
            r#"{"id":7,"method":"ask"}"#,
            r#"{"method":"$/progress"}"#,
            r#"{"method":"$/defer","params":{"data":1}}"#,
            r#"{"method":"$/progress","params":{"id":7}}"#,
        ] {
            read(text).unwrap_err();
        }
        assert!(matches!(read(r#"{"method":"$/log","params":[]}"#), Ok(Incoming::Other)));
    }
}
