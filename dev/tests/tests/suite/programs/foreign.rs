//! Text of others that the programs print: nothing in it steers a terminal.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

use std::collections::BTreeMap;

use redcall_client::Kind;
use redcall_tests::{Bench, RunningWorker};
use redcall_worker::{HandlerError, Json, Request, Worker};
use redis::AsyncCommands;
use serde_json::{Value, json};

use crate::support::{Ran, run_with_input};

/// Clears a screen by C0 and by C1, turns the order of letters round, rings, hides, breaks lines.
const EVIL: &str = "a\u{1b}[2J\u{9b}2J\u{202e}\u{2066}\u{61c}\u{200f}\u{7}\u{7f}\u{2028}\u{85}z";

fn steers(c: char) -> bool {
    let marks = ['\u{61c}', '\u{200e}', '\u{200f}', '\u{2028}', '\u{2029}'];
    (c.is_control() && c != '\n')
        || marks.contains(&c)
        || ('\u{202a}'..='\u{202e}').contains(&c)
        || ('\u{2066}'..='\u{2069}').contains(&c)
}

async fn fails(request: Request) -> Result<(), HandlerError> {
    request.progress(EVIL).await?;
    Err(HandlerError::new(EVIL).data(EVIL))
}

async fn answers(request: Request) -> Result<Json<Value>, HandlerError> {
    request.chunk(EVIL).await?;
    Ok(Json(json!({ EVIL: [EVIL] })))
}

/// A worker that writes unsafe text, and the environment of a `redcall`.
struct Setup {
    // First, since it takes its leave of a server that still runs.
    _worker: RunningWorker,
    env: BTreeMap<String, String>,
    bench: Bench,
}

impl Setup {
    async fn new() -> Self {
        let bench = Bench::new().await;
        let build = |worker: Worker| worker.handler("fails", fails).handler("answers", answers);
        Self { _worker: bench.worker_with(build).await, env: bench.environment(), bench }
    }

    /// Runs a verb, with text and with JSON output: both have to be clean.
    async fn is_clean(&self, args: &[&str], has_text: bool) {
        for args in [args.to_vec(), [&["--json"], args].concat()] {
            let ran = Ran::new("redcall", &args, &self.env).await;
            clean(&args, &ran, has_text);
            if has_text && args[0] == "--json" {
                json_has_text(&ran);
            }
        }
    }
}

#[track_caller]
fn clean(args: &[&str], ran: &Ran, has_text: bool) {
    for text in [&ran.stdout, &ran.stderr] {
        let wrong = text.chars().find(|c| steers(*c));
        assert_eq!(wrong, None, "{args:?} prints {text:?}");
    }
    let text = format!("{}{}", ran.stdout, ran.stderr);
    assert!(!has_text || text.contains("2J"), "{args:?} reports nothing about it: {text}");
}

/// JSON keeps its meaning: the text is the one that was sent.
#[track_caller]
fn json_has_text(ran: &Ran) {
    let lines = ran.stdout.lines().chain(ran.stderr.lines());
    let has_text = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let has_text: Vec<Value> = has_text.collect();
    assert!(has_text.iter().any(|value| holds(value, EVIL)), "{ran:?}");
}

fn holds(value: &Value, text: &str) -> bool {
    match value {
        Value::String(string) => string.contains(text),
        Value::Array(items) => items.iter().any(|item| holds(item, text)),
        Value::Object(fields) => fields.iter().any(|(_, value)| holds(value, text)),
        _ => false,
    }
}

#[tokio::test]
async fn answers_errors_and_statuses_are_printed_clean() {
    let setup = Setup::new().await;
    setup.is_clean(&["call", "fails", "--wait"], true).await;
    setup.is_clean(&["call", "fails", "--stream"], true).await;
    setup.is_clean(&["call", "answers", "--wait"], true).await;
    setup.is_clean(&["call", "answers", "--stream"], true).await;
    let call = ["call", "fails", "--track-status", "1h", "--json"];
    let receipt: Value =
        serde_json::from_str(&Ran::new("redcall", &call, &setup.env).await.stdout).unwrap();
    let id = receipt["id"].as_str().unwrap();
    setup.is_clean(&["monitor", id], true).await;
    setup.is_clean(&["status", id], true).await;
    // The doctor's findings are text, also as JSON.
    setup.is_clean(&["doctor", "--call", "fails"], false).await;
    for verb in [["dead", "list"].as_slice(), &["dead", "show", id]] {
        setup.is_clean(verb, true).await;
    }
    setup.is_clean(&["call", EVIL, "--wait"], false).await;
    setup.is_clean(&["cancel", EVIL], true).await;
    setup.is_clean(&["status", EVIL], true).await;
    setup.is_clean(&["follow", EVIL], true).await;
    setup.is_clean(&["dead", "retry", EVIL], true).await;
}

#[tokio::test]
async fn console_prints_clean() {
    let setup = Setup::new().await;
    let lines = "wait fails\nstream fails\ncommand fails\nwait answers\ncommand answers\n\
                 status x\u{9b}y\nnonsense\u{202e}\n";
    for args in [&["console"][..], &["--json", "console"]] {
        let (env, args) = (setup.env.clone(), args.to_vec());
        let owned: Vec<String> = args.iter().map(ToString::to_string).collect();
        let run = move || {
            let args: Vec<&str> = owned.iter().map(String::as_str).collect();
            run_with_input("redcall", &args, &env, lines)
        };
        let ran = tokio::task::spawn_blocking(run).await.unwrap();
        clean(&args, &ran, true);
    }
}

#[tokio::test]
async fn queues_workers_and_events_of_others_are_printed_clean() {
    let setup = Setup::new().await;
    let mut conn = setup.bench.redis.connection().await;
    // As any client of the same Redis can write it.
    let () = conn.zadd("redcall:queues", EVIL, 1).await.unwrap();
    let () = conn.zadd("redcall:queues", "default", 1).await.unwrap();
    let info = json!({
        "id": "w9", "name": EVIL, "host": EVIL, "pid": 1, "version": EVIL, "started_at": 0,
        "state": EVIL, "queues": [EVIL], "jobs": [EVIL], "concurrency": 1, "running": 0,
        "overdue": [{"id": EVIL, "name": EVIL, "running_ms": 1}], "lease_ms": 3_600_000,
    });
    let () =
        conn.zadd("redcall:{default}:workers", "w9", crate::support::in_an_hour()).await.unwrap();
    let () = conn.set("redcall:{default}:worker:w9", info.to_string()).await.unwrap();
    let () = conn.rpush("redcall:{default}:queue", EVIL).await.unwrap();
    setup.is_clean(&["queues"], false).await;
    setup.is_clean(&["workers"], true).await;
    setup.is_clean(&["doctor"], false).await;
    let client = setup.bench.client().await;
    client.publish("news", Kind(7), &json!({ "text": EVIL })).await.unwrap();
    setup.is_clean(&["events", "tail", "news", "--since", "1h", "--limit", "1"], true).await;
    setup.is_clean(&["dead", "list"], false).await;
}
