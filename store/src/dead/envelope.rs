//! The envelope in a dead letter: reading it, and building the one that is queued again.

use std::collections::BTreeMap;

use serde_json::value::{RawValue, to_raw_value};

use redcall_common::auth::{Claims, Keyring, LONGEST_MS};
use redcall_common::decode::fields;
use redcall_common::name::{is_id, is_job_name, new_id};
use redcall_common::request::{FIELDS, OnRetry};

/// The time at which a request with `enqueued_at` is retried: its budget then begins at its first
/// lease, and `enqueued_at` only states its age.
const RETRIED_AT: &str = "retried_at";

/// The header of a re-signed request that holds the id of the request it retries.
const RETRY_OF: &str = "retry_of";

/// The reason for skipping a signed letter.
const NOT_SIGNED: &str = "the request was signed, and workers with keys refuse it unsigned: \
                          set auth.sign_with, and retry to sign it again";

/// Signs letters again.
pub(super) struct Signing<'a> {
    pub(super) keyring: &'a Keyring,
    /// The queue's name.
    pub(super) queue: &'a str,
}

/// Returns the job's name, if `raw` is an envelope with one.
pub(super) fn name(raw: &[u8]) -> Option<String> {
    let fields = fields(raw).ok()?;
    text(&fields, "name")
}

/// Returns the request's data.
pub(super) fn data(raw: &[u8]) -> Option<&RawValue> {
    let fields = fields(raw).ok()?;
    fields.iter().find(|(field, _)| field == "data").map(|(_, data)| *data)
}

/// Builds the request to queue again: its id and its bytes. The id comes first; all other fields
/// keep order and bytes. `at_ms` is the time of the retry, Redis time.
///
/// # Errors
///
/// The reason why it cannot be retried, human-readable.
pub(super) fn requeued(
    raw: &[u8],
    at_ms: u64,
    signing: Option<&Signing<'_>>,
) -> Result<(String, String), String> {
    let fields = fields(raw).map_err(|rejected| rejected.error.message)?;
    let id = text(&fields, "id").filter(|id| is_id(id));
    let id = id.ok_or("its `id` is not 1 to 64 of [A-Za-z0-9_-]")?;
    // A frame that could not be pushed has an id too.
    if !text(&fields, "name").is_some_and(|name| is_job_name(&name)) {
        return Err("the request has no valid `name`".to_owned());
    }
    if !fields.iter().any(|(field, _)| field == "data") {
        return Err("the request has no `data`".to_owned());
    }
    if fields.iter().any(|(field, auth)| field == "auth" && auth.get() != "null") {
        let signing = signing.ok_or(NOT_SIGNED)?;
        return signed(&fields, &id, at_ms, signing);
    }
    Ok(written(&fields, &id, &[], at_ms))
}

/// Signs the request again under a new id: workers remember the old id, and refuse a copy.
fn signed(
    fields: &[(String, &RawValue)],
    of: &str,
    at_ms: u64,
    signing: &Signing<'_>,
) -> Result<(String, String), String> {
    let raw = |name: &str| fields.iter().find(|(field, _)| field == name).map(|(_, value)| *value);
    let read = |name: &str| raw(name).filter(|value| value.get() != "null");
    let id = new_id();
    let mut headers: BTreeMap<String, String> = read("headers")
        .map_or(Ok(BTreeMap::new()), |headers| serde_json::from_str(headers.get()))
        .map_err(|_| "its `headers` cannot be read")?;
    headers.insert(RETRY_OF.to_owned(), of.to_owned());
    let budget_ms = read("budget_ms").map(|budget| serde_json::from_str(budget.get())).transpose();
    let token = signing.keyring.sign(&Claims {
        id: &id,
        name: &text(fields, "name").unwrap_or_default(),
        queue: signing.queue,
        data: raw("data").map_or("null", RawValue::get),
        response_key: None,
        notify: None,
        idempotency_key: None,
        headers: &headers,
        budget_ms: budget_ms.map_err(|_| "its `budget_ms` cannot be read")?,
        // It may wait in the queue for any time.
        expires_at: at_ms.saturating_add(LONGEST_MS),
    });
    let token = token.ok_or(NOT_SIGNED)?;
    let json = |value: serde_json::Result<Box<RawValue>>| value.map_err(|error| error.to_string());
    let (headers, token) = (json(to_raw_value(&headers))?, json(to_raw_value(&token))?);
    Ok(written(fields, &id, &[("headers", &headers), ("auth", &token)], at_ms))
}

/// Writes the envelope of `fields` under this id. `others` replace the fields of their names.
fn written(
    fields: &[(String, &RawValue)],
    id: &str,
    others: &[(&str, &RawValue)],
    at_ms: u64,
) -> (String, String) {
    let mut envelope = String::new();
    envelope.push_str("{\"id\":\"");
    envelope.push_str(id);
    envelope.push('"');
    let kept = fields.iter().map(|(field, value)| (field.as_str(), *value));
    let kept = kept.filter(|(field, value)| {
        let is_other = others.iter().any(|(other, _)| other == field);
        let is_unreadable = *field == "enqueued_at" && !is_time(value);
        let is_of_then = FIELDS.contains(&(*field, OnRetry::Drop)) || *field == RETRIED_AT;
        *field != "id" && !is_of_then && !is_other && !is_unreadable
    });
    let mut has_time = false;
    for (field, value) in kept.chain(others.iter().copied()) {
        has_time |= field == "enqueued_at";
        envelope.push(',');
        // Serialising a string cannot fail.
        envelope.push_str(&serde_json::to_string(field).unwrap_or_default());
        envelope.push(':');
        envelope.push_str(value.get());
    }
    if has_time {
        envelope.push_str(&format!(",\"{RETRIED_AT}\":{at_ms}"));
    }
    envelope.push('}');
    (id.to_owned(), envelope)
}

/// Returns `true` if workers accept the value as a time; otherwise the request would be refused
/// again.
fn is_time(value: &RawValue) -> bool {
    serde_json::from_str::<Option<u64>>(value.get()).is_ok()
}

fn text(fields: &[(String, &RawValue)], name: &str) -> Option<String> {
    let (_, value) = fields.iter().find(|(field, _)| field == name)?;
    serde_json::from_str(value.get()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requeue_removes_call_fields_and_keeps_other_bytes() {
        let old = concat!(
            r#"{ "name":"add", "response_key":"redcall:{q}:response:a","#,
            r#""data": {"n":1234567890123456789012345.0, "e": [], "u":"\u00e9"},"#,
            r#""notify":"redcall:{q}:notify:c","idempotency_key":"k","enqueued_at": 1,"#,
            r#""response_ttl_ms":1000,"budget_ms":5e3,"id":"a","max_attempts":2,"#,
            r#""headers":{"a":"b"},"v":1,"more \"here\"":null}"#,
        );
        let new = concat!(
            r#"{"id":"a","name":"add","data":{"n":1234567890123456789012345.0, "e": [], "#,
            r#""u":"\u00e9"},"enqueued_at":1,"budget_ms":5e3,"max_attempts":2,"#,
            r#""headers":{"a":"b"},"v":1,"more \"here\"":null,"retried_at":7}"#,
        );
        assert_eq!(requeued(old.as_bytes(), 7, None), Ok(("a".to_owned(), new.to_owned())));
        // A second retry changes only `retried_at`.
        let again = new.replace(":7}", ":8}");
        assert_eq!(requeued(new.as_bytes(), 8, None), Ok(("a".to_owned(), again)));
    }

    #[test]
    fn time_that_no_worker_can_read_goes() {
        for (given, kept) in [("1", true), ("null", true), ("\"now\"", false), ("-1", false)] {
            let old = format!(r#"{{"id":"a","name":"add","data":1,"enqueued_at":{given}}}"#);
            let (_, new) = requeued(old.as_bytes(), 7, None).unwrap();
            assert_eq!(new.contains("enqueued_at"), kept, "{new}");
            assert_eq!(new.contains("retried_at"), kept, "{new}");
        }
    }

    #[test]
    fn invalid_envelope_has_a_reason_against_retry() {
        for (raw, why) in [
            (&br#"{"id":"a","name":"add","data":{"x":"cut"#[..], "not a JSON object"),
            (b"nonsense", "not a JSON object"),
            (b"[1]", "not a JSON object"),
            (b"\xff", "not a JSON object"),
            (br#"{"id":"a","response_key":"k","type":"result","seq":1,"data":1}"#, "`name`"),
            (br#"{"id":"a b","name":"add","data":1}"#, "`id`"),
            (br#"{"id":7,"name":"add","data":1}"#, "`id`"),
            (br#"{"id":"a","name":"a b","data":1}"#, "`name`"),
            (br#"{"id":"a","name":"add"}"#, "`data`"),
            (br#"{"id":"a","name":"add","data":1,"data":2}"#, "occurs twice"),
        ] {
            let refusal = requeued(raw, 7, None).unwrap_err();
            assert!(refusal.contains(why), "{}: {refusal}", String::from_utf8_lossy(raw));
        }
    }
}
