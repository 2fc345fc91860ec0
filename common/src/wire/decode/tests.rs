//! One test per rule of the envelope.

use super::*;
use crate::rules::keys::Keys;

const KEY: &str = "redcall:{q}:response:x1";

fn run(raw: &str) -> Result<DecodedRequest, Rejected> {
    let limits = Limits { request: 1000, depth: 5, ..Limits::default() };
    decode(raw.as_bytes(), "x1", &Keys::new("redcall").of("q"), &limits)
}

/// Refused without an answer: message of the dead letter.
fn dead_lettered(raw: &str) -> String {
    let rejected = run(raw).unwrap_err();
    assert!(rejected.reply.is_none() && rejected.dead_letter, "{rejected:?}");
    assert_eq!(rejected.error.code, Code::InvalidRequest);
    rejected.error.message
}

/// Refused with an answer at its own response key.
fn answered(raw: &str) -> WireError {
    let rejected = run(raw).unwrap_err();
    assert_eq!(rejected.reply.expect("an answer").response_key, KEY);
    rejected.error
}

#[test]
fn the_three_required_fields_are_enough() {
    let request = run(r#"{"id": "x1", "name": "add", "data": [], "later": {"a": 1}}"#).unwrap();
    assert_eq!((request.name.as_str(), request.data.get()), ("add", "[]"));
    assert!(request.reply.is_none() && request.budget_ms.is_none());
}

#[test]
fn a_waited_request_keeps_its_answer_for_the_budget_and_thirty_seconds() {
    let notify = r#""notify":"redcall:{q}:notify:me""#;
    let raw = format!(
        r#"{{"id":"x1","name":"a","data":1,"response_key":"{KEY}","budget_ms":5000,{notify}}}"#
    );
    let reply = run(&raw).unwrap().reply.unwrap();
    assert_eq!(reply.ttl_ms, 35_000);
    assert_eq!(reply.notify.as_deref(), Some("redcall:{q}:notify:me"));
}

#[test]
fn both_readers_read_the_time_of_the_start() {
    let raw = |more: &str| format!(r#"{{"id":"x1","name":"a","data":1,"start_ms":50{more}}}"#);
    // The second one has an unknown field, which the fast reader leaves to the other.
    for more in ["", r#","later":1"#] {
        assert_eq!(run(&raw(more)).unwrap().start_ms, Some(50));
    }
}

#[test]
fn invalid_envelope_is_dead_lettered() {
    assert!(dead_lettered("nonsense").starts_with("not a JSON object"));
    assert!(dead_lettered("[1,2]").starts_with("not a JSON object"));
    assert!(
        dead_lettered(r#"{"id":"x1","name":"a","data":1} tail"#).starts_with("not a JSON object")
    );
    assert!(dead_lettered("{\"id\":\"x1\",\"name\":\"a\",\"data\":\"\u{1}\"}").contains("control"));
    assert!(dead_lettered(r#"{"name":"a","data":1}"#).starts_with("`id` is not"));
    assert!(dead_lettered(r#"{"id":7,"name":"a","data":1}"#).starts_with("`id`"));
}

#[test]
fn repeated_field_is_dead_lettered_despite_valid_response_key() {
    let raw = format!(r#"{{"id":"x1","name":"a","data":1,"data":2,"response_key":"{KEY}"}}"#);
    assert_eq!(dead_lettered(&raw), "the field `data` occurs twice");
}

#[test]
fn foreign_keys_are_dead_lettered() {
    for key in ["redcall:{q}:queue", "redcall:{p}:response:x1", "redcall:{q}:response:x2"] {
        let raw = format!(r#"{{"id":"x1","name":"a","data":1,"response_key":"{key}"}}"#);
        assert!(dead_lettered(&raw).starts_with("`response_key`"));
    }
    let raw = format!(
        r#"{{"id":"x1","name":"a","data":1,"response_key":"{KEY}","notify":"redcall:{{q}}:queue"}}"#
    );
    assert!(dead_lettered(&raw).starts_with("`notify`"));
}

#[test]
fn another_version_is_answered_and_dead_lettered() {
    let raw = format!(r#"{{"id":"x1","v":2,"data":1,"response_key":"{KEY}"}}"#);
    let rejected = run(&raw).unwrap_err();
    assert!(rejected.dead_letter && rejected.reply.is_some());
    assert_eq!(rejected.error.message, "wire version 2; this worker speaks 1");
}

#[test]
fn missing_and_wrong_fields_are_answered() {
    let with = |rest: &str| format!(r#"{{"id":"x1","response_key":"{KEY}"{rest}}}"#);
    assert_eq!(answered(&with(r#","data":1"#)).message, "the field `name` is missing");
    assert_eq!(answered(&with(r#","name":"a""#)).message, "the field `data` is missing");
    assert!(answered(&with(r#","name":"a b","data":1"#)).message.starts_with("`name`"));
    let wrong = answered(&with(r#","name":"a","data":1,"budget_ms":"soon""#));
    assert!(wrong.message.starts_with("`budget_ms`: invalid type"), "{wrong}");
}

#[test]
fn too_deep_is_answered_and_brackets_in_strings_do_not_count() {
    let with =
        |data: &str| format!(r#"{{"id":"x1","name":"a","response_key":"{KEY}","data":{data}}}"#);
    assert!(answered(&with("[[[[[1]]]]]")).message.contains("deeper than 5"));
    assert!(run(&with("[[[[1]]]]")).is_ok());
    assert!(run(&with(r#""[[[[[[ \" [[[[[""#)).is_ok());
}

#[test]
fn too_large_is_answered_when_its_response_key_stands_at_either_end() {
    let big = "x".repeat(2000);
    let raw = format!(r#"{{"id":"x1","name":"a","data":"{big}","response_key":"{KEY}"}}"#);
    assert_eq!(answered(&raw).code, Code::TooLarge);
    let rejected = run(&format!(r#"{{"id":"x1","name":"a","data":"{big}"}}"#)).unwrap_err();
    assert!(rejected.reply.is_none() && rejected.dead_letter);
}
