//! Standard output that cannot be written: each verb reports it, or ends quietly if its pipe was
//! closed.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use redcall_testkit::eventually;
use redcall_tests::{Bench, binary};
use serde_json::Value;

use crate::support::{Logged, QUEUE, Ran};

/// The exit codes: output cannot be written; the pipe was closed.
const UNWRITTEN: i32 = 5;
const CLOSED: i32 = 141;

const TERMS: &str = r#"{"a": 1, "b": 1}"#;

/// A worker, and the environment of callers.
async fn worker() -> (Bench, BTreeMap<String, String>, Logged) {
    let bench = Bench::new().await;
    let mut env = bench.environment();
    env.insert("REDCALL__JOBS__COUNT__HANDLER".into(), "builtin:count".into());
    let worker = Logged::start("redcall-worker", &[], &env);
    worker.line(": ready").await;
    (bench, env, worker)
}

/// Runs a program to its end with `stdout`, and `input` on stdin.
async fn run(
    (program, args, input): (&str, &[&str], &'static str),
    env: &BTreeMap<String, String>,
    stdout: Stdio,
) -> Ran {
    let mut command = Command::new(binary(program));
    command.args(args).env_clear().envs(env).stdin(Stdio::piped()).stdout(stdout);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let running = tokio::task::spawn_blocking(move || {
        // One that reads nothing may have ended.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    });
    running.await.unwrap().into()
}

fn full() -> Stdio {
    File::options().write(true).open("/dev/full").unwrap().into()
}

fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

/// All verbs that print something here, each with its input.
fn verbs(id: &str) -> Vec<(Vec<&str>, &'static str)> {
    let verbs: &[&[&str]] = &[
        &["queues"],
        &["workers"],
        &["call", "add", TERMS],
        &["call", "add", TERMS, "--wait"],
        &["call", "count", r#"{"to": 3}"#, "--stream"],
        &["status", id],
        &["monitor", id],
        &["cancel", "nothing"],
        &["pause", "low"],
        &["resume", "low"],
        &["dead", "list"],
        &["dead", "retry", "--all"],
        &["dead", "purge", "--all", "--dry-run"],
        &["doctor"],
        &["events", "publish", "event", "heartbeat"],
        &["events", "tail", "event", "--since", "1h", "--limit", "1"],
        &["bench", "call", "--duration", "600ms", "--warm-up", "0s"],
        &["bench", "enqueue", "--duration", "600ms", "--queue", "unused"],
        &["--help"],
        &["call", "--help"],
        &["--version"],
    ];
    let scripts = ["queues\n", "command add {\"a\":1,\"b\":1}\n", "help\n", "timeout 3s\n"];
    let verbs = verbs.iter().map(|verb| (verb.to_vec(), ""));
    verbs.chain(scripts.map(|script| (vec!["console"], script))).collect()
}

/// A finished job whose status is kept: its id.
async fn finished(env: &BTreeMap<String, String>) -> String {
    let call = ["call", "add", TERMS, "--track-status", "1h", "--json"];
    let receipt: Value =
        serde_json::from_str(&Ran::new("redcall", &call, env).await.stdout).unwrap();
    let id = receipt["id"].as_str().unwrap().to_owned();
    let monitor = Ran::new("redcall", &["monitor", &id], env).await;
    assert_eq!(monitor.code, 0, "{monitor:?}");
    Ran::new("redcall", &["events", "publish", "event", "heartbeat"], env).await;
    id
}

#[tokio::test]
async fn full_device_is_reported_by_every_verb_with_its_exit_code() {
    let (_bench, env, _worker) = worker().await;
    let id = finished(&env).await;
    for (verb, input) in verbs(&id) {
        let ran = run(("redcall", &verb, input), &env, full()).await;
        assert_eq!(ran.code, UNWRITTEN, "{verb:?} {input:?}: {ran:?}");
        ran.stderr_has("standard output cannot be written");
        ran.stderr_has("No space left on device");
        if verb.contains(&"--help") || verb[0] == "--version" {
            continue;
        }
        let as_json = [&["--json"], &*verb].concat();
        let ran = run(("redcall", &as_json, input), &env, full()).await;
        assert_eq!(ran.code, UNWRITTEN, "{as_json:?} {input:?}: {ran:?}");
        let error: Value = serde_json::from_str(&ran.stderr).unwrap();
        assert_eq!(error["error"]["code"], "output_failed", "{as_json:?}");
    }
}

#[tokio::test]
async fn closed_pipe_ends_every_verb_quietly() {
    let (_bench, env, _worker) = worker().await;
    let id = finished(&env).await;
    for (verb, input) in verbs(&id) {
        for verb in [verb.clone(), [&["--json"], &*verb].concat()] {
            let ran = run(("redcall", &verb, input), &env, closed()).await;
            assert_eq!((ran.code, &*ran.stderr), (CLOSED, ""), "{verb:?} {input:?}");
        }
    }
}

#[tokio::test]
async fn file_size_limit_is_reported() {
    let bench = Bench::new().await;
    let folder = tempfile::tempdir().unwrap();
    let file = File::create(folder.path().join("output")).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -f 0; exec \"$0\" queues"]).arg(binary("redcall"));
    command.env_clear().envs(bench.environment()).stdout(file).stderr(Stdio::piped());
    let running = tokio::task::spawn_blocking(move || command.output().unwrap());
    let ran: Ran = running.await.unwrap().into();
    assert_eq!(ran.code, UNWRITTEN, "{ran:?}");
    ran.stderr_has("File too large");
}

#[tokio::test]
async fn unprinted_receipt_names_the_queued_job() {
    let bench = Bench::new().await;
    let env = bench.environment();
    for (at, args) in [&["call", "add"][..], &["call", "add", "--json"]].into_iter().enumerate() {
        let ran = run(("redcall", args, ""), &env, full()).await;
        assert_eq!(ran.code, UNWRITTEN, "{ran:?}");
        let mut conn = bench.redis.connection().await;
        let query = redis::cmd("LINDEX").arg(QUEUE).arg(at).to_owned();
        let element: String = query.query_async(&mut conn).await.unwrap();
        let element: Value = serde_json::from_str(&element).unwrap();
        ran.stderr_has(&format!(
            "The job is queued: {} on default.",
            element["id"].as_str().unwrap()
        ));
    }
}

#[tokio::test]
async fn stream_whose_reader_goes_withdraws_its_call() {
    let (bench, env, _worker) = worker().await;
    let mut command = Command::new(binary("redcall"));
    command.args(["call", "count", r#"{"to": 10000000}"#, "--stream"]).env_clear().envs(&env);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    reader.read_line(&mut first).unwrap();
    assert_eq!(first, "{\"chunk\":1}\n");
    drop(reader);
    let ran: Ran =
        tokio::task::spawn_blocking(|| child.wait_with_output().unwrap()).await.unwrap().into();
    assert_eq!((ran.code, &*ran.stderr), (CLOSED, ""));
    eventually("the job to end", async || (bench.workers().await[0].running == 0).then_some(()))
        .await;
}

#[tokio::test]
async fn wait_whose_reader_goes_withdraws_its_call() {
    let (bench, env, _worker) = worker().await;
    let sleep = "call sleep {\"ms\":60000} --wait\n";
    let script = "command sleep {\"ms\":60000}\nwait sleep {\"ms\":60000}\n";
    for (args, input, jobs) in [
        (&["call", "sleep", r#"{"ms":60000}"#, "--wait"][..], "", 1),
        (&["call", "sleep", r#"{"ms":60000}"#, "--stream"], "", 1),
        (&["console"], sleep, 1),
        (&["console"], script, 2),
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        let running = async {
            let running = async || bench.workers().await[0].running;
            eventually("it to run", async || (running().await == jobs).then_some(())).await;
            drop(reader);
        };
        let program = ("redcall", args, input);
        let (ran, ()) = tokio::join!(run(program, &env, writer.into()), running);
        assert_eq!((ran.code, &*ran.stderr), (CLOSED, ""), "{args:?} {input}");
        let running = async || bench.workers().await[0].running;
        eventually("it to end", async || (running().await == 0).then_some(())).await;
    }
}

#[tokio::test]
async fn closed_pipe_ends_follow_without_a_further_line() {
    let (_bench, env, _worker) = worker().await;
    let call = ["call", "sleep", r#"{"ms":60000}"#, "--track-status", "1h", "--json"];
    let receipt: Value =
        serde_json::from_str(&Ran::new("redcall", &call, &env).await.stdout).unwrap();
    let id = receipt["id"].as_str().unwrap();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let args = ["monitor", id];
    let monitor = run(("redcall", &args, ""), &env, writer.into());
    let seen = tokio::task::spawn_blocking(move || {
        // Its first state; the next one comes in a minute.
        let mut line = String::new();
        BufReader::new(&mut reader).read_line(&mut line).unwrap();
        line
    });
    let (ran, seen) = tokio::join!(monitor, seen);
    assert!(seen.unwrap().contains("P"), "a state");
    assert_eq!((ran.code, &*ran.stderr), (CLOSED, ""));
    let ran = run(("redcall", &["events", "tail", "quiet"], ""), &env, closed()).await;
    assert_eq!((ran.code, &*ran.stderr), (CLOSED, ""));
}

#[tokio::test]
async fn worker_program_reports_a_failed_print() {
    let bench = Bench::new().await;
    let env = bench.environment();
    let folder = tempfile::tempdir().unwrap();
    let pid_file = folder.path().join("pid");
    let pid_file = pid_file.to_str().unwrap();
    for args in [
        &["check"][..],
        &["--help"],
        &["--version"],
        &["status", "--pid-file", pid_file],
        &["stop", "--pid-file", pid_file],
        &["--background", "--pid-file", pid_file],
        &["stop", "--pid-file", pid_file],
    ] {
        let program = ("redcall-worker", args, "");
        let gone = run(program, &env, closed()).await;
        let ran = run(program, &env, full()).await;
        // The second one in the background finds the first.
        let codes = if args[0] == "--background" { (CLOSED, 1) } else { (CLOSED, UNWRITTEN) };
        assert_eq!((gone.code, ran.code), codes, "{args:?}: {gone:?} {ran:?}");
        assert_eq!(gone.stderr, "", "{args:?}");
        if ran.code == UNWRITTEN {
            ran.stderr_has("standard output cannot be written");
        }
    }
}
