//! One dead letter, as stored in the stream.

use std::collections::HashMap;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use super::envelope;

/// A request, or another queue element, that could not be run or answered.
///
/// As JSON: its fields, with `request` as JSON if it is JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadLetter {
    /// Its entry id in the stream, `<ms>-<number>`: unique, and in order of arrival.
    pub entry: String,
    /// When it was dead-lettered, Redis time in ms.
    pub at_ms: u64,
    /// The request's id; empty if it had none.
    pub id: String,
    /// The job's name, if the request can be read.
    pub name: Option<String>,
    /// The error, one of the codes of the protocol.
    pub code: String,
    /// The reason, human-readable.
    pub reason: String,
    /// Id of the worker that dead-lettered it.
    pub worker: String,
    /// Its unsuccessful runs: the first and the last 19. Empty if it never ran.
    pub history: Vec<Run>,
    /// The element as it was; if it exceeds 4 MiB, only the first 64 KiB.
    #[serde(serialize_with = "as_json")]
    pub request: Vec<u8>,
}

/// One unsuccessful run of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Its number, from 1.
    #[serde(default)]
    pub attempt: u32,
    /// Id of the worker that ran it.
    #[serde(default)]
    pub worker: String,
    /// Redis time of its start, ms; unknown for a run whose worker died.
    #[serde(default)]
    pub started_at: Option<u64>,
    /// Redis time of its end, ms.
    #[serde(default)]
    pub ended_at: Option<u64>,
    /// The code with which it ended.
    #[serde(default)]
    pub code: String,
    /// The message with which it ended, shortened.
    #[serde(default)]
    pub message: String,
}

impl DeadLetter {
    /// Reads an entry. Missing fields become empty, invalid UTF-8 is replaced.
    pub(crate) fn read(entry: String, mut fields: HashMap<Vec<u8>, Vec<u8>>) -> Self {
        let mut text = |name: &str| {
            let bytes = fields.remove(name.as_bytes()).unwrap_or_default();
            String::from_utf8(bytes)
                .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
        };
        let (id, code, reason, worker) = (text("id"), text("code"), text("reason"), text("worker"));
        let history = serde_json::from_str(&text("history")).unwrap_or_default();
        let request = fields.remove(&b"request"[..]).unwrap_or_default();
        let at_ms = entry_time(&entry).map_or(0, |(ms, _)| ms);
        let name = envelope::name(&request);
        Self { entry, at_ms, id, name, code, reason, worker, history, request }
    }

    /// Returns the number of runs, as far as the history shows; 0 if it never ran.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.history.last().map_or(0, |run| run.attempt)
    }

    /// Returns the request's data, if the request can be read and has data.
    #[must_use]
    pub fn data(&self) -> Option<&RawValue> {
        envelope::data(&self.request)
    }

    /// Returns the approximate size in bytes.
    pub(super) fn size(&self) -> usize {
        let runs = self.history.iter().map(|run| 100 + run.worker.len() + run.message.len());
        200 + self.reason.len() + self.request.len() + runs.sum::<usize>()
    }
}

/// Returns the two numbers of an entry id, which order entries; `None` if it is not one.
pub(super) fn entry_time(entry: &str) -> Option<(u64, u64)> {
    let (ms, number) = entry.split_once('-')?;
    let plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !plain(ms) || !plain(number) {
        return None;
    }
    Some((ms.parse().ok()?, number.parse().ok()?))
}

/// Serialises JSON as JSON, other bytes as text.
fn as_json<S: Serializer>(request: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    match serde_json::from_slice::<&RawValue>(request) {
        Ok(json) => json.serialize(serializer),
        Err(_) => String::from_utf8_lossy(request).serialize(serializer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(fields: &[(&str, &[u8])]) -> DeadLetter {
        let fields = fields.iter().map(|(name, bytes)| (name.as_bytes().to_vec(), bytes.to_vec()));
        DeadLetter::read("1763683200000-7".to_owned(), fields.collect())
    }

    #[test]
    fn letter_of_any_writer_is_read() {
        let empty = letter(&[]);
        assert_eq!((empty.at_ms, empty.attempts(), empty.name), (1_763_683_200_000, 0, None));
        let damaged =
            letter(&[("id", b"\xff"), ("history", b"[1"), ("request", b"\xfe{"), ("x", b"")]);
        assert_eq!(
            (&*damaged.id, damaged.history.len(), &*damaged.request),
            ("\u{fffd}", 0, &b"\xfe{"[..])
        );
        // The run of a dead worker has few fields.
        let runs = br#"[{"attempt":1,"worker":"w","started_at":1,"ended_at":2,"code":"timeout",
            "message":"m"},{"attempt":2,"code":"worker_lost","later":{}}]"#;
        let whole = letter(&[("history", runs), ("request", br#"{"name":"add","data":[1]}"#)]);
        assert_eq!((whole.attempts(), whole.name.as_deref()), (2, Some("add")));
        assert_eq!(whole.data().map(RawValue::get), Some("[1]"));
        assert_eq!((whole.history[0].started_at, whole.history[1].started_at), (Some(1), None));
    }

    #[test]
    fn as_json_a_request_is_json_if_it_was() {
        let shown = |request: &[u8]| {
            let json = serde_json::to_string(&letter(&[("request", request)])).unwrap();
            json.split_once("\"request\":").unwrap().1.to_owned()
        };
        assert_eq!(shown(br#"{"n":12345678901234567890123}"#), r#"{"n":12345678901234567890123}}"#);
        assert_eq!(shown(b"{\"n\""), r#""{\"n\""}"#);
        assert_eq!(shown(b"\xff"), "\"\u{fffd}\"}");
    }

    #[test]
    fn entry_ids_differ_from_other_ids() {
        assert_eq!(entry_time("17-3"), Some((17, 3)));
        for other in ["", "17", "17-", "-3", "+1-3", "a-3", "1-2-3", "99999999999999999999-0"] {
            assert_eq!(entry_time(other), None, "{other}");
        }
    }
}
