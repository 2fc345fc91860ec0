//! Elements without a usable response key: they go to the dead letters, and no key that they name
//! is written.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

use std::sync::Arc;

use redcall_tests::Bench;
use redcall_worker::{State, Worker};
use redis::AsyncCommands;
use tokio::sync::Semaphore;

use crate::support::{Foreign, WAYS, Way, response_key, result_frame, waited};

const NO_ID: &str = "not a JSON object with an `id` of 1 to 64 of [A-Za-z0-9_-] in its first 4 KiB";

/// Waits for the test's leave.
async fn hold(gate: State<Arc<Semaphore>>) {
    gate.acquire().await.unwrap().forget();
}

#[tokio::test]
async fn element_without_an_id_is_dead_lettered() {
    let mut foreign = Foreign::start().await;
    let key = response_key("x1");
    for raw in [
        "",
        " ",
        "nonsense",
        "[1,2]",
        r#"["id","x1"]"#,
        r#""x1""#,
        "7",
        "null",
        "{}",
        "\u{feff}{\"id\":\"x1\",\"name\":\"add\",\"data\":1}",
        r#"{"name":"add","data":1"#,
    ] {
        foreign.is_dead_lettered(raw, "", NO_ID).await;
    }
    foreign.is_dead_lettered(b"\xff\xfe\x00", "", NO_ID).await;
    foreign
        .is_dead_lettered(format!(r#"{{"name":"add","data":1,"response_key":"{key}"}}"#), "", NO_ID)
        .await;
}

#[tokio::test]
async fn an_id_of_another_form_is_dead_lettered() {
    let mut foreign = Foreign::start().await;
    let long = format!(r#""{}""#, "x".repeat(65));
    for id in ["7", "null", r#""""#, r#""a:b""#, r#""a b""#, "\"\u{e9}\"", "[\"x1\"]", &long] {
        let raw = format!(r#"{{"id":{id},"name":"add","data":{{"a":1,"b":1}}}}"#);
        foreign.is_dead_lettered(raw, "", NO_ID).await;
    }
}

#[tokio::test]
async fn broken_envelope_is_dead_lettered_under_its_id() {
    let mut foreign = Foreign::start().await;
    let key = response_key("x1");
    let reason = "not a JSON object: expected `,` or `}` at line 1 column 12";
    foreign.is_dead_lettered(r#"{"id":"x1" nonsense"#, "x1", reason).await;
    let raw = waited("x1", "add", r#"{"a":1,"b":1}"#, "") + " tail";
    let reason =
        format!("not a JSON object: trailing characters at line 1 column {}", raw.len() - 3);
    foreign.is_dead_lettered(&raw, "x1", &reason).await;
    let mut raw =
        format!(r#"{{"id":"x1","name":"add","response_key":"{key}","data":"#).into_bytes();
    let column = raw.len() + 2;
    raw.extend_from_slice(b"\"\xff\"}");
    let reason = format!("not a JSON object: invalid unicode code point at line 1 column {column}");
    foreign.is_dead_lettered(raw, "x1", &reason).await;
}

#[tokio::test]
async fn duplicate_field_is_dead_lettered() {
    let mut foreign = Foreign::start().await;
    let key = response_key("x1");
    let (own, other) = (format!(r#","response_key":"{key}""#), response_key("x2"));
    for (field, rest) in [
        ("id", r#","id":"x1""#),
        ("id", r#","id":"x2""#),
        // The same name, written otherwise.
        ("id", r#","\u0069d":"x2""#),
        ("name", r#","name":"add""#),
        ("data", r#","data":{"a":1,"b":1}"#),
        ("response_key", &own),
        ("response_key", &format!(r#","response_key":"{other}""#)),
        ("later", r#","later":1,"later":1"#),
    ] {
        let raw = waited("x1", "add", r#"{"a":1,"b":1}"#, rest);
        foreign.is_dead_lettered(raw, "x1", &format!("the field `{field}` occurs twice")).await;
    }
    // The script takes the first of both, at any position.
    let raw =
        format!(r#"{{"name":"add","id":"x1","data":1,"id":"x2","response_key":"{key}","v":1}}"#);
    foreign.is_dead_lettered(raw, "x1", "the field `id` occurs twice").await;
}

const NOT_ITS_KEY: &str = "`response_key` is not the response key of this id";

#[tokio::test]
async fn nothing_is_written_to_a_foreign_response_key() {
    let mut foreign = Foreign::start().await;
    for key in [
        "redcall:{other}:response:x1",
        "redcall:{default}:queue",
        "redcall:{default}:response:x2",
        "redcall:{default}:response:",
        "redcall:{default}:response:x1:x1",
        "redcall:{default}:dead",
        "redcall:{default}:workers",
        "redcall:queues",
        "other:{default}:response:x1",
        "outside",
        "",
    ] {
        // A job that would be answered, and one that is unknown.
        for name in ["add", "unheard-of"] {
            let start = format!(r#"{{"id":"x1","name":"{name}","data":{{"a":1,"b":1}}"#);
            let raw = start + &format!(r#","response_key":"{key}"}}"#);
            foreign.is_dead_lettered(raw, "x1", NOT_ITS_KEY).await;
        }
    }
    let raw = r#"{"id":"x1","name":"add","data":{"a":1,"b":1},"response_key":7}"#;
    let reason = "`response_key`: invalid type: integer `7`, expected a string at line 1 column 1";
    foreign.is_dead_lettered(raw, "x1", reason).await;
}

#[tokio::test]
async fn foreign_list_keeps_its_elements_and_ttl() {
    let mut foreign = Foreign::start().await;
    let key = "redcall:{other}:response:x1";
    let () = foreign.conn.rpush(key, "kept").await.unwrap();
    for way in WAYS {
        let start = r#"{"id":"x1","name":"add","data":{"a":1,"b":1},"response_ttl_ms":1000"#;
        let raw = start.to_owned() + &format!(r#","response_key":"{key}"}}"#);
        foreign.push(way, raw).await;
        assert_eq!(foreign.dead_letter().await.reason, NOT_ITS_KEY);
        let kept: Vec<String> = foreign.conn.lrange(key, 0, -1).await.unwrap();
        assert_eq!(kept, ["kept"]);
        assert_eq!(foreign.conn.ttl::<_, i64>(key).await.unwrap(), -1);
    }
    let () = foreign.conn.del(key).await.unwrap();
    foreign.goes_on().await;
}

#[tokio::test]
async fn nothing_is_published_on_a_foreign_channel() {
    let mut foreign = Foreign::start().await;
    let reason = "`notify` is not a notify channel of this queue";
    for channel in [
        "redcall:{other}:notify:me",
        "redcall:{default}:notify:",
        "redcall:{default}:notify:a:b",
        "redcall:{default}:queue",
        "news",
        "",
    ] {
        let rest = format!(r#","notify":"{channel}""#);
        let raw = waited("x1", "add", r#"{"a":1,"b":1}"#, &rest);
        foreign.is_dead_lettered(raw, "x1", reason).await;
    }
}

#[tokio::test]
async fn duplicate_of_a_live_id_is_refused_and_first_answered_once() {
    let gate = Arc::new(Semaphore::new(0));
    let shared = gate.clone();
    let build = |worker: Worker| worker.state(shared).handler("hold", hold);
    let mut foreign = Foreign::with(Bench::new().await, build).await;
    for way in WAYS {
        foreign.push(Way::Idle, waited("twin", "hold", "null", "")).await;
        foreign.is_leased("twin").await;
        let second = waited("twin", "add", r#"{"a":1,"b":1}"#, "");
        foreign.push(way, &second).await;
        let letter = foreign.dead_letter().await;
        assert_eq!((&*letter.id, &*letter.code), ("twin", "invalid_request"));
        assert_eq!(letter.reason, "a live request of this queue has the same id");
        assert_eq!(letter.request, second.into_bytes());
        // The worker has finished a whole call since, and the key does not exist yet.
        let call = foreign.client.call_and_wait("echo", &1).await.unwrap();
        assert_eq!(call.data.get(), "1");
        assert!(!foreign.conn.exists::<_, bool>(response_key("twin")).await.unwrap());
        gate.add_permits(1);
        assert_eq!(foreign.frame("twin").await, result_frame("twin", "null"));
        foreign.goes_on().await;
    }
}

#[tokio::test]
async fn an_id_is_free_again_once_its_request_has_ended() {
    let mut foreign = Foreign::start().await;
    for n in 0..3 {
        foreign.push(Way::Idle, waited("again", "echo", &n.to_string(), "")).await;
        assert_eq!(foreign.frame("again").await, result_frame("again", &n.to_string()));
    }
    foreign.goes_on().await;
}
