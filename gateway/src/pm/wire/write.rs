//! Writes messages. A library of the peers ends its process, or never answers, at some legal
//! messages; this writer has no way to produce them: ids begin at 1 and are the caller's numbers,
//! `params` are always there and in an envelope, an error has an envelope, and there are no batches
//! and no empty frames.

use serde_json::value::RawValue;
use tokio_util::bytes::Bytes;

use super::frames::HEAD;
use super::read::Id;

/// Writes messages with the members in the order of one of the two original programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// As an application writes them: the version last.
    Application,
    /// As the server writes them: the version first.
    Server,
}

impl Writer {
    /// Writes a request. `data` of null become an empty object: a peer ignores `params` of null.
    #[must_use]
    pub fn request(self, id: u64, method: &str, sid: &str, data: &RawValue) -> Bytes {
        let data = if data.get() == "null" { "{}" } else { data.get() };
        let params = envelope(sid, "params", data);
        self.message(Some(&id.to_string()), &[("method", &text(method)), ("params", &params)])
    }

    /// Writes the progress of a request of the peer.
    #[must_use]
    pub fn progress(self, method: &str, sid: Option<&str>, progress: &RawValue) -> Bytes {
        let data = format!("{{\"method\": {}, \"progress\": {}}}", text(method), progress.get());
        let params = wrapped(sid, "params", data);
        self.message(None, &[("method", "\"progress_change\""), ("params", &params)])
    }

    /// Writes the result of a request of the peer.
    #[must_use]
    pub fn result(self, id: &Id, sid: Option<&str>, data: &str) -> Bytes {
        let result = wrapped(sid, "result", data.to_owned());
        self.message(Some(id.json()), &[("result", &result)])
    }

    /// Writes an error; `id` is `None` if the request's cannot be read.
    #[must_use]
    pub fn error(self, id: Option<&Id>, sid: Option<&str>, code: i32, message: &str) -> Bytes {
        let error = format!("{{\"code\": {code}, \"message\": {}}}", text(message));
        let error = wrapped(sid, "error", error);
        self.message(Some(id.map_or("null", Id::json)), &[("error", &error)])
    }

    /// Writes a frame: `body`, with version and id. Names need no escapes, values are JSON.
    fn message(self, id: Option<&str>, body: &[(&str, &str)]) -> Bytes {
        let version = ("jsonrpc", "\"2.0\"");
        let id = id.map(|id| ("id", id));
        let body = body.iter().copied();
        let members: Vec<(&str, &str)> = match self {
            Self::Application => body.chain(id).chain([version]).collect(),
            Self::Server => [version].into_iter().chain(id).chain(body).collect(),
        };
        let size = members.iter().map(|(name, value)| name.len() + value.len() + 6).sum::<usize>();
        let mut frame = Vec::with_capacity(HEAD + size);
        frame.extend_from_slice(&[0; HEAD]);
        for (at, (name, value)) in members.into_iter().enumerate() {
            frame.extend_from_slice(if at == 0 { b"{\"" } else { b", \"" });
            for part in [name, "\": ", value] {
                frame.extend_from_slice(part.as_bytes());
            }
        }
        frame.push(b'}');
        // Answers of 4 GiB are beyond `limits.answer`.
        let length = u32::try_from(frame.len() - HEAD).unwrap_or(u32::MAX);
        frame[..HEAD].copy_from_slice(&length.to_be_bytes());
        frame.into()
    }
}

fn wrapped(sid: Option<&str>, name: &str, value: String) -> String {
    match sid {
        Some(sid) => envelope(sid, name, &value),
        None => value,
    }
}

fn envelope(sid: &str, name: &str, value: &str) -> String {
    format!("{{\"sid\": {}, \"{name}\": {value}}}", text(sid))
}

/// Returns a text as JSON.
fn text(text: &str) -> String {
    // A text always serialises.
    serde_json::to_string(text).unwrap_or_default()
}
