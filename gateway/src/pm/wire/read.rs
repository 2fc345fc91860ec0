//! Reads one message: JSON-RPC 2.0, its values as raw JSON, so that key order, number texts and
//! escapes reach the other side unchanged.

use std::fmt;

use redcall_common::depth::data_fits;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::session::{open, present};

/// A message of the peer.
#[derive(Debug)]
pub enum Incoming {
    /// A call whose answer goes back under its id.
    Request(Id, Call),
    /// A call without an answer.
    Notification(Call),
    /// The answer to a request of this side.
    Answer(Answer),
}

/// A call of the peer.
#[derive(Debug)]
pub struct Call {
    /// The method.
    pub method: String,
    /// The session; `None` from a peer that has none.
    pub sid: Option<String>,
    /// The data; null if there are none.
    pub data: Box<RawValue>,
}

/// The answer to a request of this side.
#[derive(Debug)]
pub struct Answer {
    /// The id of the request; `None` if it cannot be one of this side.
    pub id: Option<u64>,
    /// `true` if it came in a session envelope.
    pub has_session: bool,
    /// The result, or the error.
    pub result: Result<Box<RawValue>, PeerError>,
}

/// The id of a request, as the peer wrote it: a text, a number or null.
#[derive(Debug, Clone)]
pub struct Id(Box<RawValue>);

impl Id {
    /// Returns the id as JSON.
    #[must_use]
    pub fn json(&self) -> &str {
        self.0.get()
    }
}

/// An error of the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerError {
    /// The peer's code; 0 if it has none.
    pub code: i64,
    /// The peer's message.
    pub message: String,
}

/// A message that cannot be carried out.
#[derive(Debug)]
pub enum Refusal {
    /// Not JSON: nothing after it can be trusted either.
    Json,
    /// Not one JSON-RPC 2.0 message. The text states why.
    Message(&'static str),
    /// A request whose data Redcall cannot carry. The link goes on.
    Data {
        /// The request; `None` if it is a notification.
        id: Option<Id>,
        /// Its session.
        sid: Option<String>,
        /// The reason.
        why: &'static str,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json => "the frame is not JSON in UTF-8",
            Self::Message(why) | Self::Data { why, .. } => why,
        })
    }
}

const NOT_AN_OBJECT: &str = "the message is not an object";
const TOO_DEEP: &str = "the data nest too deep";
const HALF_SURROGATE: &str = "a text has half of a surrogate pair";

/// Returns `true` if the member `jsonrpc` is the last one of the message in this frame. This is the
/// order of the applications' library, which reads no answer without an envelope, also if its
/// request had none.
#[must_use]
pub fn ends_with_version(frame: &[u8]) -> bool {
    let ends: [&[u8]; 4] = [b"}", b"\"2.0\"", b":", b"\"jsonrpc\""];
    ends.iter().try_fold(frame, |text, end| text.trim_ascii_end().strip_suffix(*end)).is_some()
}

/// Others are ignored; one of these twice is an error.
#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow, default)]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    method: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

/// Reads the message in a frame. Data that nest deeper than `depth` levels, the envelope of a
/// native request included, are refused. Nothing here calls itself.
///
/// # Errors
///
/// [`Refusal`].
pub fn read(frame: &[u8], depth: usize) -> Result<Incoming, Refusal> {
    let text = std::str::from_utf8(frame).map_err(|_| Refusal::Json)?;
    let whole: &RawValue = serde_json::from_str(text).map_err(|_| Refusal::Json)?;
    if !whole.get().starts_with('{') {
        return Err(Refusal::Message(NOT_AN_OBJECT));
    }
    let members: Members<'_> = serde_json::from_str(whole.get())
        .map_err(|_| Refusal::Message("the message has a member twice"))?;
    match members.method {
        Some(method) => call(&members, method, depth),
        None => answer(&members, depth).map(Incoming::Answer),
    }
}

fn call(members: &Members<'_>, method: &RawValue, depth: usize) -> Result<Incoming, Refusal> {
    let method: String = serde_json::from_str(method.get())
        .map_err(|_| Refusal::Message("the method is not a text"))?;
    if members.jsonrpc.is_none_or(|version| version.get() != "\"2.0\"") {
        return Err(Refusal::Message("the version is not \"2.0\""));
    }
    let is_id = |id: &RawValue| !id.get().starts_with(['{', '[', 't', 'f']);
    if members.id.is_some_and(|id| !is_id(id)) {
        return Err(Refusal::Message("the id is not a text, a number or null"));
    }
    let id = members.id.map(|id| Id(id.to_owned()));
    let params = members.params.map(|params| open("params", params));
    let (sid, data) = params.map_or((None, None), |params| (params.sid, params.value));
    if let Some(why) = data.and_then(|data| unfit(data, depth)) {
        return Err(Refusal::Data { id, sid, why });
    }
    let data = data.unwrap_or(RawValue::NULL).to_owned();
    let call = Call { method, sid, data };
    Ok(match id {
        Some(id) => Incoming::Request(id, call),
        None => Incoming::Notification(call),
    })
}

fn answer(members: &Members<'_>, depth: usize) -> Result<Answer, Refusal> {
    let id = members.id.and_then(|id| id.get().parse().ok());
    let (opened, is_error) = match (members.error, members.result) {
        (Some(error), _) => (open("error", error), true),
        (None, Some(result)) => (open("result", result), false),
        (None, None) => {
            return Err(Refusal::Message("the message has no method, result or error"));
        }
    };
    let value = opened.value.unwrap_or(RawValue::NULL);
    let result = match unfit(value, depth) {
        Some(why) => Err(PeerError { code: 0, message: format!("the peer's answer: {why}") }),
        None if is_error => Err(peer_error(value)),
        None => Ok(value.to_owned()),
    };
    Ok(Answer { id, has_session: opened.sid.is_some(), result })
}

fn peer_error(error: &RawValue) -> PeerError {
    #[derive(Deserialize)]
    struct Members<'a> {
        #[serde(default)]
        code: i64,
        #[serde(borrow, default)]
        message: std::borrow::Cow<'a, str>,
    }
    match serde_json::from_str::<Members<'_>>(error.get()) {
        Ok(Members { code, message }) => PeerError { code, message: message.into_owned() },
        Err(_) => {
            let message = "the peer's error is not one of JSON-RPC".to_owned();
            PeerError { code: 0, message }
        }
    }
}

/// Returns why Redcall cannot carry a value, if it cannot.
fn unfit(value: &RawValue, depth: usize) -> Option<&'static str> {
    if !data_fits(value.get().as_bytes(), depth) {
        return Some(TOO_DEEP);
    }
    has_half_surrogate(value.get()).then_some(HALF_SURROGATE)
}

/// Returns `true` if a text of this valid JSON escapes half of a surrogate pair. JSON's grammar
/// allows it, but such a text is not a sequence of characters.
fn has_half_surrogate(json: &str) -> bool {
    let unit = |escape: &str| {
        let hex = escape.strip_prefix("\\u").and_then(|rest| rest.get(..4));
        hex.and_then(|hex| u16::from_str_radix(hex, 16).ok())
    };
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        let escape = &rest[at..];
        let length = match unit(escape) {
            Some(0xD800..=0xDBFF) => match unit(escape.get(6..).unwrap_or_default()) {
                Some(0xDC00..=0xDFFF) => 12,
                _ => return true,
            },
            Some(0xDC00..=0xDFFF) => return true,
            // The second character may be a backslash itself, which begins no escape.
            _ => 2,
        };
        rest = escape.get(length..).unwrap_or_default();
    }
    false
}
