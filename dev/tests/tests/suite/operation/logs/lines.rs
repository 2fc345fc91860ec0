//! A line of the log is one line, and as JSON an object without duplicate keys, for any output of a
//! handler, a program or a caller.

use std::collections::HashSet;
use std::fmt;

use futures_util::future::join_all;
use redcall_testkit::eventually;
use redcall_tests::Bench;
use rustix::process::Signal;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value, json};

use crate::support::{Logged, SettingsFile};

/// Text with everything that can break a line.
const UGLY: &str = "two\nlines\r\u{1b}[2J\u{9b}1m\u{202e}\u{2028}\u{0}\"}{";

/// JSON in which no object has a key twice.
struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Unique;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Unique, A::Error> {
                let (mut seen, mut object) = (HashSet::new(), Map::new());
                while let Some((key, Unique(value))) = map.next_entry::<String, Unique>()? {
                    if !seen.insert(key.clone()) {
                        return Err(A::Error::custom(format!("`{key}` stands twice")));
                    }
                    object.insert(key, value);
                }
                Ok(Unique(object.into()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Unique, A::Error> {
                let mut list = Vec::new();
                while let Some(Unique(item)) = items.next_element()? {
                    list.push(item);
                }
                Ok(Unique(list.into()))
            }

            fn visit_str<E>(self, text: &str) -> Result<Unique, E> {
                Ok(Unique(text.into()))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Unique, E> {
                Ok(Unique(number.into()))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Unique, E> {
                Ok(Unique(number.into()))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Unique, E> {
                Ok(Unique(number.into()))
            }

            fn visit_bool<E>(self, yes: bool) -> Result<Unique, E> {
                Ok(Unique(yes.into()))
            }

            fn visit_unit<E>(self) -> Result<Unique, E> {
                Ok(Unique(Value::Null))
            }
        }
        from.deserialize_any(Reader)
    }
}

/// The lines of a log of JSON, each an object without duplicate keys.
#[track_caller]
pub(super) fn parsed(log: &str) -> Vec<Value> {
    let parse = |line: &str| match serde_json::from_str(line) {
        Ok(Unique(line @ Value::Object(_))) => line,
        other => panic!("{:?}: {line}", other.map(|Unique(line)| line)),
    };
    log.lines().map(parse).collect()
}

/// A worker with this format, whose programs log their arguments.
async fn worker(program: &str, format: &str) -> (Bench, Logged, SettingsFile) {
    let bench = Bench::new().await;
    let text = format!(
        r#"
        redis.url = "{}"
        log.format = "{format}"
        log.level = "debug"
        [jobs.shell]
        command = ["sh", "-c", '''cat >&2; echo >&2; printf "a\033[2J\377\r\n" >&2; exit 1''']
        [jobs.process]
        process = ["sh", "-c", '''
        read s; echo '{{"id":0,"result":1}}'
        while read -r line; do
            id=${{line#*\"id\":}}; id=${{id%%,*}}
            printf '%s\n' "$line" >&2
            echo '{{"level":"x","level":"y"}}' >&2
            echo "{{\"id\":$id,\"error\":{{\"code\":1,\"message\":\"a\\nb\"}}}}"
        done''']
        [schedules.often]
        job = "absent"
        cron = "* * * * * *"
        "#,
        bench.redis.url()
    );
    let (file, mut env) = (SettingsFile::new(&text), bench.environment());
    env.insert("REDCALL_SETTINGS".into(), file.arg().into());
    let worker = Logged::start(program, &[], &env);
    worker.line("ready").await;
    (bench, worker, file)
}

/// Has the worker log all kinds of lines, and stops it.
async fn log_all(bench: &Bench, worker: &Logged) {
    let client = bench.client().await;
    for _ in 0..3 {
        for (name, data) in [
            ("fail", json!({"message": UGLY})),
            ("add", json!({"a": UGLY})),
            ("shell", UGLY.into()),
            ("process", UGLY.into()),
            ("reserved", UGLY.into()),
            ("caused", Value::Null),
            ("late", Value::Null),
            ("panics", Value::Null),
            ("echo", UGLY.into()),
        ] {
            let _ = client.call_and_wait(name, &data).await;
        }
    }
    let mut conn = bench.redis.connection().await;
    for element in [UGLY.to_owned(), json!({"id": "x", "name": UGLY, "data": 1}).to_string()] {
        let push = redis::cmd("RPUSH").arg("redcall:{default}:queue").arg(element).to_owned();
        let _: u64 = push.query_async(&mut conn).await.unwrap();
    }
    worker.line("invalid_request").await;
    // A reload, a lost connection, an end.
    worker.signal(Signal::HUP);
    worker.line("reloaded the jobs").await;
    let kill = redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("normal").to_owned();
    let _: u64 = kill.query_async(&mut conn).await.unwrap();
    worker.line("connected to Redis again").await;
    worker.signal(Signal::TERM);
    worker.ended().await;
}

#[tokio::test]
async fn no_line_has_a_key_twice_and_each_parses() {
    let (bench, worker, _file) = worker("failing", "json").await;
    log_all(&bench, &worker).await;
    let log = worker.log();
    let lines = parsed(&log);
    assert!(lines.len() > 60, "{log}");
    for line in &lines {
        for key in ["timestamp", "level", "target"] {
            assert!(line[key].is_string(), "{key}: {line}");
        }
    }
    let of = |text: &str| lines.iter().find(|line| line["message"] == text).unwrap();
    assert_eq!(of(&format!("failed: {UGLY}"))["code"], "handler_failed");
    let reserved = of(UGLY);
    assert_eq!((&reserved["level"], &reserved["level_"]), (&"WARN".into(), &1.into()));
    assert_eq!((&reserved["message_"], &reserved["timestamp_"]), (&UGLY.into(), &UGLY.into()));
    assert_eq!(reserved["span"]["name"], "inner", "{reserved}");
    assert_eq!(reserved["spans"][0]["name_"], UGLY, "{reserved}");
    // No line has a raw character that ends a line or steers a terminal; JSON allows some.
    let raw = |c: char| c.is_control() && c != '\n' || matches!(c, '\u{2028}' | '\u{202e}');
    assert!(!log.contains(raw));
}

#[tokio::test]
async fn no_text_of_others_breaks_a_line_of_text() {
    let (bench, worker, _file) = worker("failing", "text").await;
    log_all(&bench, &worker).await;
    let log = worker.log();
    for line in log.lines() {
        let begin = line.split_whitespace().nth(1).unwrap_or_default();
        assert!(["ERROR", "WARN", "INFO", "DEBUG"].contains(&begin), "{line}");
    }
    let raw = |c: char| c.is_control() && c != '\n' || matches!(c, '\u{2028}' | '\u{202e}');
    assert!(!log.contains(raw));
    assert!(log.contains(r#"failed: two\nlines\r\u{1b}[2J\u{9b}1m\u{202e}\u{2028}\u{0}"}{ id=""#));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stderr_of_programs_is_logged_under_the_job_that_wrote_it() {
    let bench = Bench::new().await;
    let text = format!(
        r#"
        redis.url = "{}"
        log.format = "json"
        worker.concurrency = 8
        [jobs.command]
        command = ["sh", "-c", 'echo "of $REDCALL_JOB_ID" >&2; echo 1']
        [jobs.process]
        instances = 2
        process = ["sh", "-c", '''
        read s; echo '{{"id":0,"result":1}}'
        while read -r line; do
            id=${{line#*\"id\":}}; id=${{id%%,*}}
            of=${{line#*\"job\":\{{\"id\":\"}}; of=${{of%%\"*}}
            echo "of $of" >&2; echo "and of $of" >&2
            echo "{{\"id\":$id,\"result\":1}}"
        done''']
        "#,
        bench.redis.url()
    );
    let file = SettingsFile::new(&text);
    let worker = Logged::start("redcall-worker", &["--settings", file.arg()], &[].into());
    worker.line("\"ready\"").await;
    let client = bench.client().await;
    let names = (0..240).map(|n| if n % 6 == 0 { "command" } else { "process" });
    for called in join_all(names.map(|name| client.call_and_wait(name, &Value::Null))).await {
        called.unwrap();
    }
    let logged = eventually("all lines", async || {
        let mut lines = parsed(&worker.log());
        lines.retain(|line| line["message"].as_str().unwrap_or_default().starts_with("stderr: "));
        (lines.len() == 40 + 2 * 200).then_some(lines)
    })
    .await;
    for line in logged {
        let of = line["message"].as_str().unwrap().rsplit_once("of ").unwrap().1;
        assert_eq!(line["id"], of, "{line}");
        assert!(["command", "process"].map(Value::from).contains(&line["name"]), "{line}");
    }
}
