//! `redcall call`: its output and exit codes.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use redcall_tests::{Bench, RunningWorker};
use redcall_worker::{HandlerError, Json, Request, Worker};
use redis::AsyncCommands;
use serde_json::{Value, json};

use crate::support::{QUEUE, Ran, run_with_input};

const TWO_ONES: &str = r#"{"a":1,"b":1}"#;

async fn steps(request: Request, Json(n): Json<u64>) -> Result<Json<u64>, HandlerError> {
    for step in 0..n {
        request.progress(&json!({ "step": step })).await?;
    }
    if n == 7 { Err(HandlerError::new("seven")) } else { Ok(Json(n)) }
}

/// A worker, and the environment of a `redcall`.
struct Setup {
    // First, since it takes its leave of a server that still runs.
    _worker: RunningWorker,
    env: BTreeMap<String, String>,
    bench: Bench,
}

impl Setup {
    async fn new() -> Self {
        let bench = Bench::new().await;
        let build = |worker: Worker| worker.handler("steps", steps);
        Self { _worker: bench.worker_with(build).await, env: bench.environment(), bench }
    }

    async fn run(&self, args: &[&str]) -> Ran {
        Ran::new("redcall", args, &self.env).await
    }
}

fn error(ran: &Ran) -> Value {
    assert_eq!(ran.stdout, "");
    serde_json::from_str::<Value>(&ran.stderr).unwrap()["error"].take()
}

#[tokio::test]
async fn a_waited_call_prints_the_answer_as_json() {
    let setup = Setup::new().await;
    for args in [["call", "add", TWO_ONES, "--wait"], ["--json", "call", "add", TWO_ONES]] {
        let args: Vec<&str> =
            args.into_iter().chain((args[0] == "--json").then_some("--wait")).collect();
        let ran = setup.run(&args).await;
        assert_eq!((ran.code, &*ran.stdout, &*ran.stderr), (0, "{\"answer\":2}\n", ""));
    }
    // Without data it is null.
    let ran = setup.run(&["call", "echo", "--wait"]).await;
    assert_eq!((ran.code, &*ran.stdout), (0, "null\n"));
}

#[tokio::test]
async fn a_program_that_ends_leaves_no_answer_that_it_has_read() {
    let setup = Setup::new().await;
    let mut conn = setup.bench.redis.connection().await;
    for _ in 0..5 {
        assert_eq!(setup.run(&["call", "add", TWO_ONES, "--wait"]).await.code, 0);
    }
    let keys = crate::support::keys(&mut conn).await;
    let left: Vec<&String> = keys.iter().filter(|key| key.contains(":response:")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn data_may_come_from_stdin() {
    let setup = Setup::new().await;
    let env = setup.env.clone();
    let args = ["call", "add", "-", "--wait"];
    let run = move || run_with_input("redcall", &args, &env, " {\"a\": 20,\n \"b\": 22}\n");
    let ran = tokio::task::spawn_blocking(run).await.unwrap();
    assert_eq!((ran.code, &*ran.stdout, &*ran.stderr), (0, "{\"answer\":42}\n", ""));
}

#[tokio::test]
async fn error_is_printed_with_its_code_on_stderr() {
    let setup = Setup::new().await;
    let data = r#"{"message":"on purpose"}"#;
    let ran = setup.run(&["call", "fail", data, "--wait"]).await;
    assert_eq!((ran.code, &*ran.stdout), (1, ""));
    ran.stderr_has("× handler_failed: on purpose");
    ran.stderr_has("help: It may have run: call again only if running twice is harmless.");
    let ran = setup.run(&["call", "absent", "--wait"]).await;
    assert_eq!((ran.code, &*ran.stdout), (1, ""));
    ran.stderr_has("× unknown_job: no live worker handles the job `absent`");
    ran.stderr_has("help: Live workers handle: ");
    ran.stderr_has("Correct the name, or add `[jobs.absent]` to a worker's settings.");
}

#[tokio::test]
async fn an_error_is_an_object_with_json() {
    let setup = Setup::new().await;
    let data = r#"{"message":"on purpose"}"#;
    let ran = setup.run(&["--json", "call", "fail", data, "--wait"]).await;
    let expected = json!({
        "code": "handler_failed", "message": "on purpose", "data": null, "may_be_queued": true,
    });
    assert_eq!((ran.code, error(&ran)), (1, expected));
    let ran = setup.run(&["call", "add", r#"{"a":1,"b":"x"}"#, "--wait", "--json"]).await;
    let error = error(&ran);
    assert_eq!((ran.code, &error["code"]), (1, &json!("invalid_data")));
    assert_eq!(error["data"], json!({ "path": "b" }));
}

#[tokio::test]
async fn call_on_a_queue_without_workers_is_refused() {
    let mut setup = Setup::new().await;
    setup.env.insert("REDCALL__CLIENT__NO_WORKERS_GRACE".to_owned(), "50ms".to_owned());
    let args = ["call", "add", TWO_ONES, "--wait", "--queue", "elsewhere"];
    let ran = setup.run(&args).await;
    assert_eq!((ran.code, &*ran.stdout), (1, ""));
    ran.stderr_has(
        "no_workers: no worker serves queue `elsewhere`; start one, or correct the name",
    );
    ran.stderr_has("help: Run `redcall-worker` with this queue in `worker.queues`");
    ran.stderr_has("Nothing was queued: calling again is safe.");
    let ran = setup.run(&[&args[..], &["--json"]].concat()).await;
    let error = error(&ran);
    assert_eq!((&error["code"], &error["may_be_queued"]), (&json!("no_workers"), &json!(false)));
    let mut conn = setup.bench.redis.connection().await;
    assert!(!conn.exists::<_, bool>("redcall:{elsewhere}:queue").await.unwrap());
}

#[tokio::test]
async fn data_without_json_is_a_wrong_flag() {
    let setup = Setup::new().await;
    let ran = setup.run(&["call", "add", "{a:1}", "--wait"]).await;
    assert_eq!((ran.code, &*ran.stdout), (2, ""));
    ran.stderr_has("× the data are not valid JSON: key must be a string at line 1 column 2");
    ran.stderr_has(
        r#"help: Expected a JSON value, quoted for the shell, such as '{"a": 1}' or '"text"'."#,
    );
    // Reported before a connection to Redis.
    let nowhere = ["--redis", "redis://127.0.0.1:1", "call", "add", "{a:1}"];
    assert_eq!(Ran::new("redcall", &nowhere, &[].into()).await.code, 2);
    let ran = setup.run(&["--json", "call", "add", "{a:1}"]).await;
    let message = "the data are not valid JSON: key must be a string at line 1 column 2";
    let expected = json!({ "code": "invalid_data", "message": message });
    assert_eq!((ran.code, error(&ran)), (2, expected));
}

#[tokio::test]
async fn wrong_flags_end_with_two() {
    let setup = Setup::new().await;
    for (args, advice) in [
        (&["call"][..], "error: the following required arguments were not provided:\n  <NAME>"),
        (
            &["call", "add", "--wait", "--stream"],
            "error: the argument '--wait' cannot be used with '--stream'",
        ),
        (
            &["call", "add", "--timeout", "soon"],
            "error: invalid value 'soon' for '--timeout <TIME>': expected number at 0",
        ),
        (
            &["call", "add", "--delay", "1s", "--at", "2026-01-31T18:00:00Z"],
            "error: the argument '--delay <TIME>' cannot be used with '--at <RFC3339>'",
        ),
        (&["call", "add", "--at", "noon"], "error: invalid value 'noon' for '--at <RFC3339>'"),
        (&["cancel"], "error: the following required arguments were not provided:\n  <ID>"),
        (&["cal"], "error: unrecognized subcommand 'cal'\n\n  tip: a similar subcommand exists: "),
        (&[], "Usage: redcall [OPTIONS] <COMMAND>"),
    ] {
        let ran = setup.run(args).await;
        assert_eq!((ran.code, &*ran.stdout), (2, ""), "{args:?}");
        assert!(ran.stderr.contains(advice), "{}", ran.stderr);
    }
    let ran = setup.run(&["--settings", "none.toml", "queues"]).await;
    assert_eq!(ran.code, 2);
    ran.stderr_has("none.toml: there is no such file");
    let ran = setup.run(&["--settings", "none.toml", "queues", "--json"]).await;
    assert_eq!((ran.code, &error(&ran)["code"]), (2, &json!("invalid_settings")));
    let ran = setup.run(&["--redis", "http://cache", "queues", "--json"]).await;
    assert_eq!((ran.code, &error(&ran)["code"]), (2, &json!("invalid_settings")));
}

#[tokio::test]
async fn a_redis_that_does_not_answer_ends_with_three() {
    let nowhere = ["--redis", "redis://127.0.0.1:1"];
    for verb in [&["call", "add", "--wait"][..], &["call", "add"], &["queues"], &["workers"]] {
        let ran = Ran::new("redcall", &[&nowhere[..], verb].concat(), &[].into()).await;
        assert_eq!((ran.code, &*ran.stdout), (3, ""), "{verb:?}");
        ran.stderr_has("× Redis at 127.0.0.1:1 cannot be reached");
        ran.stderr_has(
            "help: Check that Redis runs there. Set `redis.url` in the settings, or REDIS_URL;",
        );
        let ran =
            Ran::new("redcall", &[&nowhere[..], &["--json"], verb].concat(), &[].into()).await;
        let message = "Redis at 127.0.0.1:1 cannot be reached";
        let expected = json!({ "code": "unavailable", "message": message });
        assert_eq!((ran.code, error(&ran)), (3, expected));
    }
}

#[tokio::test]
async fn a_stream_prints_each_update_on_a_line() {
    let setup = Setup::new().await;
    let ran = setup.run(&["call", "steps", "3", "--stream"]).await;
    let expected = [
        r#"{"progress":{"step":0}}"#,
        r#"{"progress":{"step":1}}"#,
        r#"{"progress":{"step":2}}"#,
        r#"{"result":3}"#,
    ];
    assert_eq!((ran.code, &*ran.stderr), (0, ""));
    assert_eq!(ran.stdout.lines().collect::<Vec<_>>(), expected);
    let ran = setup.run(&["call", "steps", "7", "--stream"]).await;
    assert_eq!((ran.code, ran.stdout.lines().count()), (1, 7));
    ran.stderr_has("× handler_failed: seven");
}

#[tokio::test]
async fn a_call_without_wait_prints_id_and_queue() {
    let bench = Bench::new().await;
    let env = bench.environment();
    let mut conn = bench.redis.connection().await;
    let mut pushed = async |queue: &str| {
        let key = format!("redcall:{{{queue}}}:queue");
        let raw: String = conn.lpop::<_, Option<String>>(key, None).await.unwrap().unwrap();
        let envelope: Value = serde_json::from_str(&raw).unwrap();
        assert_eq!((&envelope["name"], &envelope["data"]), (&json!("add"), &json!([1, "x"])));
        assert_eq!(envelope.get("response_key"), None);
        envelope["id"].as_str().unwrap().to_owned()
    };
    let ran = Ran::new("redcall", &["call", "add", r#"[1,"x"]"#], &env).await;
    let expected = format!("queued {} on default\n", pushed("default").await);
    assert_eq!((ran.code, ran.stdout, &*ran.stderr), (0, expected, ""));
    let args = ["call", "add", r#"[1,"x"]"#, "--queue", "high", "--json"];
    let ran = Ran::new("redcall", &args, &env).await;
    let printed: Value = serde_json::from_str(&ran.stdout).unwrap();
    let expected = json!({
        "id": pushed("high").await, "queue": "high", "deduplicated": false, "durability": "memory",
    });
    assert_eq!(printed, expected);
    // Where the mapping sends it.
    let mut env = env;
    env.insert("REDCALL__JOBS__ADD__QUEUE".to_owned(), "mapped".to_owned());
    let ran = Ran::new("redcall", &["call", "add", r#"[1,"x"]"#], &env).await;
    assert_eq!(ran.stdout, format!("queued {} on mapped\n", pushed("mapped").await));
}

#[tokio::test]
async fn a_call_with_queue_is_answered_from_there() {
    let setup = Setup::new().await;
    let ran = setup.run(&["call", "add", TWO_ONES, "--wait", "--queue", "low"]).await;
    assert_eq!((ran.code, &*ran.stdout), (0, "{\"answer\":2}\n"));
}

#[tokio::test]
async fn a_call_ends_with_its_timeout() {
    let setup = Setup::new().await;
    let since = Instant::now();
    let args = ["call", "sleep", r#"{"ms":60000}"#, "--wait", "--timeout", "1500ms"];
    let ran = setup.run(&args).await;
    // Far below the minute of the job.
    assert!(since.elapsed() < Duration::from_secs(15), "{:?}", since.elapsed());
    assert_eq!((ran.code, &*ran.stdout), (1, ""));
    ran.stderr_has("× deadline_exceeded: ");
    ran.stderr_has("help: It may have run: call again only if running twice is harmless.");
    let ran = setup.run(&[&args[..], &["--json"]].concat()).await;
    let error = error(&ran);
    assert_eq!(error["code"], "deadline_exceeded");
    assert_eq!(error["may_be_queued"], true);
    let mut conn = setup.bench.redis.connection().await;
    assert_eq!(conn.llen::<_, usize>(QUEUE).await.unwrap(), 0);
}
