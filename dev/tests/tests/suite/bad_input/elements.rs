//! Wrong elements with a response key; and unusual ones that are right.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

use redcall_client::Code;
use redcall_tests::Bench;

use crate::support::{Foreign, WAYS, error_frame, response_key, result_frame, waited};

const DATA: &str = r#"{"a":1,"b":1}"#;

/// Pushes an element with a response key, and expects an error there; and the same one without,
/// which is dead-lettered.
async fn is_refused(foreign: &mut Foreign, before: &str, code: Code, message: &str) {
    let raw = format!(r#"{{"id":"x1"{before},"response_key":"{}"}}"#, response_key("x1"));
    foreign.is_answered(raw, "x1", &error_frame("x1", code, message, "")).await;
    let raw = format!(r#"{{"id":"x1"{before}}}"#);
    for way in WAYS {
        foreign.push(way, &raw).await;
        let letter = foreign.dead_letter().await;
        assert_eq!((&*letter.id, &*letter.code), ("x1", code.as_str()), "{raw}");
        assert_eq!((&*letter.reason, letter.request), (message, raw.clone().into_bytes()));
        foreign.goes_on().await;
    }
}

#[tokio::test]
async fn an_element_without_name_or_data_is_refused() {
    let mut foreign = Foreign::start().await;
    let invalid = Code::InvalidRequest;
    is_refused(&mut foreign, r#","data":1"#, invalid, "the field `name` is missing").await;
    is_refused(&mut foreign, r#","name":null,"data":1"#, invalid, "the field `name` is missing")
        .await;
    is_refused(&mut foreign, r#","name":"add""#, invalid, "the field `data` is missing").await;
}

#[tokio::test]
async fn a_field_of_the_wrong_type_is_refused() {
    let mut foreign = Foreign::start().await;
    let mut refused = async |rest: &str, message: &str| {
        is_refused(&mut foreign, rest, Code::InvalidRequest, message).await;
    };
    let name = "`name` is not 1 to 128 characters without spaces";
    refused(r#","name":"a b","data":1"#, name).await;
    refused(r#","name":"","data":1"#, name).await;
    let message = "`name`: invalid type: integer `7`, expected a string at line 1 column 1";
    refused(r#","name":7,"data":1"#, message).await;
    let message = "`budget_ms`: invalid type: string \"soon\", expected u64 at line 1 column 6";
    refused(r#","name":"add","data":1,"budget_ms":"soon""#, message).await;
    let message = "`enqueued_at`: invalid value: integer `-1`, expected u64 at line 1 column 2";
    refused(r#","name":"add","data":1,"enqueued_at":-1"#, message).await;
    let message = "`headers`: invalid type: sequence, expected a map at line 1 column 0";
    refused(r#","name":"add","data":1,"headers":[]"#, message).await;
}

#[tokio::test]
async fn another_wire_version_is_answered_and_dead_lettered() {
    let mut foreign = Foreign::start().await;
    let other = "wire version 2; this worker speaks 1";
    let text = "`v`: invalid type: string \"1\", expected u64 at line 1 column 3";
    for (v, message) in [("2", other), ("\"1\"", text)] {
        for way in WAYS {
            let raw = waited("x1", "add", DATA, &format!(r#","v":{v}"#));
            foreign.push(way, &raw).await;
            let letter = foreign.dead_letter().await;
            assert_eq!((&*letter.id, &*letter.code), ("x1", "invalid_request"));
            assert_eq!((&*letter.reason, letter.request), (message, raw.into_bytes()));
            let frame = error_frame("x1", Code::InvalidRequest, message, "");
            assert_eq!(foreign.frame("x1").await, frame);
            foreign.goes_on().await;
        }
    }
}

#[tokio::test]
async fn deeply_nested_request_is_refused() {
    let mut foreign = Foreign::start().await;
    let deep = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
    let message = "nested deeper than 64 levels (limits.depth)";
    for levels in [64, 200, 5000] {
        let rest = format!(r#","name":"echo","data":{}"#, deep(levels));
        is_refused(&mut foreign, &rest, Code::InvalidRequest, message).await;
    }
    // The envelope is a level of its own.
    let data = deep(63);
    let frame = result_frame("x1", &data);
    foreign.is_answered(waited("x1", "echo", &data, ""), "x1", &frame).await;
}

#[tokio::test]
async fn oversized_request_is_refused() {
    let mut bench = Bench::new().await;
    bench.settings.limits.request = 10_000;
    let mut foreign = Foreign::with(bench, |worker| worker).await;
    let text = "x".repeat(20_000);
    let message = |raw: &str| {
        format!("the request has {} bytes, the limit is 10000 (limits.request)", raw.len())
    };
    // The response key follows the data, then precedes it.
    let key = response_key("x1");
    let last = waited("x1", "echo", &format!(r#""{text}""#), "");
    let first = format!(r#"{{"id":"x1","response_key":"{key}","name":"echo","data":"{text}"}}"#);
    for raw in [last, first] {
        let frame = error_frame("x1", Code::TooLarge, &message(&raw), "");
        for way in WAYS {
            foreign.push(way, &raw).await;
            assert_eq!(foreign.frame("x1").await, frame);
            let letter = foreign.dead_letter().await;
            assert_eq!((&*letter.code, letter.request), ("too_large", raw.clone().into_bytes()));
            foreign.goes_on().await;
        }
    }
    // One byte less than too large.
    let empty = waited("x1", "echo", r#""""#, "");
    let data = format!(r#""{}""#, &text[..10_000 - empty.len()]);
    let frame = result_frame("x1", &data);
    foreign.is_answered(waited("x1", "echo", &data, ""), "x1", &frame).await;
}

#[tokio::test]
async fn oversized_request_with_foreign_key_is_dead_lettered() {
    let mut bench = Bench::new().await;
    bench.settings.limits.request = 10_000;
    let mut foreign = Foreign::with(bench, |worker| worker).await;
    let text = "x".repeat(20_000);
    for rest in ["", r#","response_key":"redcall:{default}:response:x2""#] {
        let raw = format!(r#"{{"id":"x1","name":"echo","data":"{text}"{rest}}}"#);
        for way in WAYS {
            foreign.push(way, &raw).await;
            let letter = foreign.dead_letter().await;
            let reason =
                format!("the request has {} bytes, the limit is 10000 (limits.request)", raw.len());
            assert_eq!((&*letter.id, &*letter.code), ("x1", "too_large"));
            assert_eq!((letter.reason, letter.request), (reason, raw.clone().into_bytes()));
            foreign.goes_on().await;
        }
    }
}

#[tokio::test]
async fn key_order_spaces_and_unknown_fields_do_not_matter() {
    let mut foreign = Foreign::start().await;
    let key = response_key("p-1_Z");
    let (id, reply) = (r#""id": "p-1_Z""#, format!(r#""response_key": "{key}""#));
    let answer = result_frame("p-1_Z", r#"{"answer":3}"#);
    for raw in [
        // As Python's json.dumps writes a dict.
        format!(r#"{{"name": "add", "data": {{"a": 1, "b": 2}}, {id}, {reply}}}"#),
        format!(r#"{{"data": {{"a": 1, "b": 2}}, {reply}, "name": "add", {id}}}"#),
        // The id first, and room around everything.
        format!(
            " {{ \"id\" : \"p-1_Z\" ,\r\n\t\"response_key\" : \"{key}\" , \"name\" : \"add\" , \
             \"data\" : {{ \"a\" : 1 , \"b\" : 2 }} }} \n"
        ),
        // The id in a form that has to be parsed.
        format!(r#"{{"id":"p\u002d1_Z","name":"\u0061dd","data":{{"a":1,"b":2}},{reply}}}"#),
        // An id elsewhere is none.
        format!(r#"{{"data":{{"a":1,"b":2,"id":"no"}},{id},"name":"add",{reply}}}"#),
        waited(
            "p-1_Z",
            "add",
            r#"{"a":1,"b":2,"c":[]}"#,
            r#","v":1,"queue":"elsewhere","later":{"a":[1e400,null]},"maximum":"?","auth":[]"#,
        ),
        waited("p-1_Z", "add", r#"{"a":1,"b":2}"#, r#","notify":null,"budget_ms":null"#),
    ] {
        foreign.is_answered(&raw, "p-1_Z", &answer).await;
    }
}

#[tokio::test]
async fn data_comes_back_as_it_was_written() {
    let mut foreign = Foreign::start().await;
    for data in [
        "[]",
        "{}",
        "123456789012345678901234567890.123456789012345678901234567890",
        r#"{"b":[],"a":{},"a":1}"#,
        r#""\u00e9\ud83d\ude00 é / \/""#,
        "[ 1 ,\n2 ]",
    ] {
        let frame = result_frame("x1", data);
        foreign.is_answered(waited("x1", "echo", data, ""), "x1", &frame).await;
    }
}

#[tokio::test]
async fn expired_budget_is_answered_and_future_one_is_not() {
    let mut foreign = Foreign::start().await;
    let message = "the caller's timeout ended while the request was queued";
    let frame = error_frame("x1", Code::DeadlineExceeded, message, "");
    for rest in [r#","budget_ms":0"#, r#","budget_ms":5000,"enqueued_at":1000"#] {
        foreign.is_answered(waited("x1", "add", DATA, rest), "x1", &frame).await;
    }
    let frame = result_frame("x1", r#"{"answer":2}"#);
    let far = u64::MAX;
    for rest in [
        format!(r#","budget_ms":5000,"enqueued_at":{far}"#),
        r#","budget_ms":5000"#.to_owned(),
        r#","enqueued_at":1000"#.to_owned(),
    ] {
        foreign.is_answered(waited("x1", "add", DATA, &rest), "x1", &frame).await;
    }
}
