//! `redcall dead`: letters of a real worker, and letters by hand.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

use std::collections::BTreeMap;

use redcall_testkit::eventually;
use redcall_tests::{Bench, Program};
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use serde_json::{Value, json};

use crate::support::{DEAD, QUEUE, Ran};

/// A server with dead letters, and `redcall dead` on it.
struct Morgue {
    bench: Bench,
    env: BTreeMap<String, String>,
    conn: MultiplexedConnection,
}

impl Morgue {
    async fn new() -> Self {
        let bench = Bench::new().await;
        let (env, conn) = (bench.environment(), bench.redis.connection().await);
        Self { bench, env, conn }
    }

    /// Dead-letters by hand, as entry `<ms>-0`.
    async fn dead_letter(&mut self, ms: u64, id: &str, code: &str, request: &str, history: Value) {
        let mut add = redis::cmd("XADD");
        add.arg(DEAD).arg(format!("{ms}-0")).arg("id").arg(id).arg("code").arg(code);
        add.arg("reason").arg("it did\nnot \x1b[31mwork").arg("worker").arg("w1");
        add.arg("request").arg(request).arg("history").arg(history.to_string());
        let _: String = add.query_async(&mut self.conn).await.unwrap();
    }

    /// Two of `add`, one of `other`, and one that is not a request.
    async fn filled() -> Self {
        let mut morgue = Self::new().await;
        let history = json!([
            {"attempt": 1, "worker": "w0", "started_at": 1_763_683_200_000_u64,
                "ended_at": 1_763_683_201_500_u64, "code": "handler_failed", "message": "first"},
            {"attempt": 2, "worker": "w1", "ended_at": 1_763_683_203_000_u64,
                "code": "worker_lost"},
        ]);
        for (ms, id, name) in [(1000, "a", "add"), (2000, "b", "add"), (3000, "c", "other")] {
            let request = format!(r#"{{"id":"{id}","name":"{name}","data":{{"n":1.50}}}}"#);
            let code = if id == "a" { "handler_failed" } else { "timeout" };
            morgue.dead_letter(ms, id, code, &request, history.clone()).await;
        }
        morgue.dead_letter(4000, "", "invalid_request", "non\x07sense", json!([])).await;
        morgue
    }

    async fn dead(&self, args: &[&str]) -> Ran {
        Ran::new("redcall", &[&["dead"], args].concat(), &self.env).await
    }

    /// The same with `--json`: exit code and stdout.
    async fn json(&self, args: &[&str]) -> (i32, Value) {
        let ran = self.dead(&[args, &["--json"]].concat()).await;
        let json = serde_json::from_str(&ran.stdout);
        (ran.code, json.unwrap_or_else(|error| panic!("{error}: {ran:?}")))
    }

    async fn left(&mut self) -> usize {
        redis::cmd("XLEN").arg(DEAD).query_async(&mut self.conn).await.unwrap()
    }

    async fn queued(&mut self) -> Vec<String> {
        self.conn.lrange(QUEUE, 0, -1).await.unwrap()
    }
}

fn ids(letters: &Value) -> Vec<&str> {
    letters.as_array().unwrap().iter().map(|letter| letter["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_job_that_failed_is_listed_shown_and_retried() {
    let mut morgue = Morgue::new().await;
    let _worker = Program::start("redcall-worker", &[], &morgue.env);
    eventually("the worker to appear", async || {
        (morgue.bench.workers().await.len() == 1).then_some(())
    })
    .await;
    let call = ["call", "fail", r#"{"n":[1.50]}"#, "--json"];
    let receipt: Value =
        serde_json::from_str(&Ran::new("redcall", &call, &morgue.env).await.stdout).unwrap();
    let id = receipt["id"].as_str().unwrap();
    eventually("the dead letter", async || (morgue.left().await == 1).then_some(())).await;
    let (code, page) = morgue.json(&["list"]).await;
    let letter = &page["letters"][0];
    assert_eq!((code, &page["next"]), (0, &Value::Null));
    assert_eq!((&letter["id"], &letter["name"]), (&json!(id), &json!("fail")));
    assert_eq!(letter["code"], "handler_failed");
    assert_eq!(letter["request"]["data"], json!({"n": [1.5]}));
    let run = &letter["history"][0];
    assert_eq!((&run["attempt"], &run["worker"]), (&json!(1), &letter["worker"]));
    assert!(run["started_at"].as_u64().unwrap() <= run["ended_at"].as_u64().unwrap(), "{run}");
    let shown = morgue.dead(&["show", id]).await;
    assert!(shown.stdout.contains(r#"{"n":[1.50]}"#), "{}", shown.stdout);

    // It fails again: another letter of the same request, and the first is gone.
    let ran = morgue.dead(&["retry", id]).await;
    assert_eq!((ran.code, &*ran.stdout), (0, "1 requeued\n"));
    let first = letter["entry"].clone();
    let again = eventually("another dead letter", async || {
        let (_, page) = morgue.json(&["list"]).await;
        let letter = page["letters"].get(0)?.clone();
        (letter["entry"] != first).then_some(letter)
    })
    .await;
    assert_eq!((&again["id"], &again["history"][0]["attempt"]), (&json!(id), &json!(1)));
    assert_eq!(morgue.left().await, 1);
    // A retry of all retries each once, although it fails again at once.
    let (code, report) = morgue.json(&["retry", "--all"]).await;
    assert_eq!((code, report["done"].as_array().unwrap().len()), (0, 1));
}

#[tokio::test]
async fn dead_letters_are_listed_newest_first_as_text() {
    let morgue = Morgue::filled().await;
    let ran = morgue.dead(&["list"]).await;
    assert_eq!(ran.code, 0);
    let rows: Vec<Vec<&str>> =
        ran.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["TIME", "ID", "JOB", "CODE", "ATTEMPTS", "REASON"]);
    // A letter without an id is known by its entry.
    assert_eq!(rows[1][..5], ["1970-01-01T00:00:04Z", "4000-0", "-", "invalid_request", "0"]);
    assert_eq!(rows[4][..5], ["1970-01-01T00:00:01Z", "a", "add", "handler_failed", "2"]);
    assert_eq!(rows[4][5..], ["it", "did", "not", "\\u{1b}[31mwork"]);
    let ran = morgue.dead(&["list", "--queue", "other"]).await;
    assert_eq!((ran.code, &*ran.stdout), (0, "no dead letters\n"));
}

#[tokio::test]
async fn letters_are_picked_and_paged() {
    let morgue = Morgue::filled().await;
    for (args, expected) in [
        (&["list"][..], vec!["", "c", "b", "a"]),
        (&["list", "--oldest"], vec!["a", "b", "c", ""]),
        (&["list", "--code", "timeout"], vec!["c", "b"]),
        (&["list", "--name", "add"], vec!["b", "a"]),
        (&["list", "--name", "add", "--code", "timeout"], vec!["b"]),
        (&["list", "c", "1000-0"], vec!["a", "c"]),
        (&["list", "--all"], vec!["", "c", "b", "a"]),
        (&["list", "--limit", "2"], vec!["", "c"]),
        (&["list", "--limit", "2", "--after", "3000-0"], vec!["b", "a"]),
    ] {
        let (code, page) = morgue.json(args).await;
        assert_eq!((code, ids(&page["letters"])), (0, expected), "{args:?}");
    }
    assert_eq!(morgue.json(&["list", "--limit", "2"]).await.1["next"], "3000-0");
    let ran = morgue.dead(&["list", "--limit", "2"]).await;
    assert!(ran.stdout.ends_with("there are more: --after 3000-0\n"), "{}", ran.stdout);
    assert_eq!(morgue.json(&["list", "--limit", "4"]).await.1["next"], Value::Null);
}

#[tokio::test]
async fn one_is_shown_with_its_whole_history_and_its_data() {
    let morgue = Morgue::filled().await;
    let ran = morgue.dead(&["show", "a"]).await;
    let lines: Vec<&str> = ran.stdout.lines().map(str::trim_end).collect();
    assert_eq!(ran.code, 0);
    assert_eq!(lines[..3], ["entry   1000-0", "time    1970-01-01T00:00:01Z", "id      a"]);
    assert_eq!(lines[6..8], ["reason  it did", "not \\u{1b}[31mwork"]);
    let runs: Vec<Vec<&str>> =
        lines[9..12].iter().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(runs[0], ["ATTEMPT", "STARTED", "TOOK", "CODE", "WORKER", "MESSAGE"]);
    assert_eq!(runs[1], ["1", "2025-11-21T00:00:00Z", "1s", "handler_failed", "w0", "first"]);
    assert_eq!(runs[2], ["2", "2025-11-21T00:00:03Z", "-", "worker_lost", "w1"]);
    assert_eq!(lines[13..], ["data", r#"{"n":1.50}"#]);

    let ran = morgue.dead(&["show", "4000-0"]).await;
    assert!(ran.stdout.ends_with("request\nnon\\u{7}sense\n"), "{}", ran.stdout);
    let (code, letter) = morgue.json(&["show", "4000-0"]).await;
    assert_eq!((code, &letter["request"]), (0, &json!("non\u{7}sense")));
    let (code, letter) = morgue.json(&["show", "b"]).await;
    assert_eq!((code, &letter["history"][0]["message"]), (0, &json!("first")));

    let ran = morgue.dead(&["show", "absent"]).await;
    assert_eq!((ran.code, &*ran.stdout), (1, ""));
    ran.stderr_has("no dead letter of queue `default` has the id `absent`");
    let ran = morgue.dead(&["show", "absent", "--json"]).await;
    assert!(ran.stderr.contains(r#""code":"not_found""#), "{ran:?}");
}

#[tokio::test]
async fn retry_and_purge_match_their_dry_run() {
    let mut morgue = Morgue::filled().await;
    let env = morgue.env.clone();
    let call = redcall_tests::Program::run("redcall", &["call", "add"], &env);
    assert!(call.status.success(), "{call:?}");
    let before = morgue.queued().await;
    let timeouts = ["--code", "timeout", "--name", "add"];
    for dry_run in [true, false] {
        let flag: &[&str] = if dry_run { &["--dry-run"] } else { &[] };
        let (code, report) = morgue.json(&[&["retry"], &timeouts[..], flag].concat()).await;
        let expected = json!({
            "done": [{"entry": "2000-0", "id": "b", "name": "add"}],
            "skipped": [], "gone": 0, "full": false, "unknown": [],
            "queue": "default", "dry_run": dry_run,
        });
        assert_eq!((code, report), (0, expected));
        let queued = morgue.queued().await;
        assert_eq!(queued.len(), before.len() + usize::from(!dry_run));
        assert_eq!(morgue.left().await, if dry_run { 4 } else { 3 });
    }
    assert_eq!(morgue.queued().await[1], r#"{"id":"b","name":"add","data":{"n":1.50}}"#);

    let ran = morgue.dead(&["purge", "c", "--dry-run"]).await;
    assert!(ran.stdout.ends_with("1 would be purged\n"), "{}", ran.stdout);
    assert_eq!((ran.code, morgue.left().await), (0, 3));
    let ran = morgue.dead(&["purge", "c"]).await;
    assert_eq!((ran.code, &*ran.stdout, morgue.left().await), (0, "1 purged\n", 2));
    let ran = morgue.dead(&["purge", "--all", "--limit", "1"]).await;
    assert_eq!((ran.code, morgue.left().await), (0, 1));
    assert_eq!(morgue.json(&["list"]).await.1["letters"][0]["entry"], "4000-0");
    let ran = morgue.dead(&["purge", "--code", "timeout"]).await;
    assert_eq!((ran.code, &*ran.stdout), (0, "0 purged\n"));
}

#[tokio::test]
async fn impossible_request_is_reported_with_exit_code_1() {
    let mut morgue = Morgue::filled().await;
    let ran = morgue.dead(&["retry", "--all", "--dry-run"]).await;
    assert_eq!(ran.code, 1);
    ran.stderr_has("1 cannot be retried");
    assert!(ran.stdout.contains("4000-0"), "{}", ran.stdout);
    let ran = morgue.dead(&["purge", "a", "absent"]).await;
    assert_eq!((ran.code, &*ran.stdout, morgue.left().await), (1, "1 purged\n", 3));
    ran.stderr_has("no dead letter found with id absent");

    morgue.env.insert("REDCALL__QUEUES__default__MAX_LENGTH".to_owned(), "1".to_owned());
    let ran = morgue.dead(&["retry", "b", "c"]).await;
    assert_eq!((ran.code, morgue.queued().await.len(), morgue.left().await), (1, 1, 2));
    ran.stderr_has("the queue is full");
    let (code, report) = morgue.json(&["retry", "c"]).await;
    assert_eq!((code, &report["full"]), (1, &json!(true)));
}

#[tokio::test]
async fn wrong_use_ends_with_2_and_no_redis_with_3() {
    let env = [("REDIS_URL".to_owned(), "redis+unix:///nowhere".to_owned())].into();
    for args in [
        &["retry"][..],
        &["purge"],
        &["purge", "--dry-run"],
        &["retry", "--limit", "3"],
        &["retry", "--code", "no_such_code"],
        &["purge", "--all", "--queue", "a:b"],
        &["list", "--after", "soon"],
        &["list", "--all", "--limit", "3"],
        &["show"],
        &[],
    ] {
        let args = [&["dead"], args].concat();
        assert_eq!(Ran::new("redcall", &args, &env).await.code, 2, "{args:?}");
    }
    for args in [&["list"][..], &["show", "a"], &["retry", "--all"], &["purge", "a"]] {
        let args = [&["dead"], args].concat();
        assert_eq!(Ran::new("redcall", &args, &env).await.code, 3, "{args:?}");
    }
}
