//! Jobs that a command runs: its input, output, end and remains.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

mod cancelled;
mod environment;
mod killed;

use std::path::Path;
use std::time::{Duration, Instant};

use redcall_client::{CallError, Client, Code, Response, WireError};
use redcall_testkit::eventually;
use redcall_tests::{Bench, RunningWorker};
use redis::AsyncCommands;
use serde_json::{Value, json};

use crate::support::{
    Logged, QUEUE, SettingsFile, dead_letters, failed, is_running, response_key, result_frame,
    waited,
};

/// A worker whose only slot runs shell scripts, and a folder that they run in.
struct Shell {
    // First, since it takes its leave of a server that still runs.
    worker: RunningWorker,
    client: Client,
    bench: Bench,
    file: SettingsFile,
}

impl Shell {
    /// A worker with the job `script`.
    async fn new(script: &str) -> Self {
        Self::with(script, |_| {}).await
    }

    /// The same with other settings.
    async fn with(script: &str, change: impl FnOnce(&mut Bench)) -> Self {
        let mut bench = Bench::new().await;
        let file = SettingsFile::new("");
        bench.settings.file = Some(file.path.clone());
        bench.settings.worker.concurrency = 1;
        bench.command("script", &["sh", "-c", script]);
        change(&mut bench);
        let (worker, client) = (bench.worker().await, bench.client().await);
        Self { worker, client, bench, file }
    }

    async fn call(&self, data: &Value) -> Result<Response, CallError> {
        self.client.call_and_wait("script", data).await
    }

    /// The error that the caller gets; its slot is free again afterwards.
    async fn error(&self) -> WireError {
        let error = failed(self.call(&Value::Null).await);
        self.goes_on().await;
        error
    }

    /// The message of a `handler_failed`.
    async fn failure(&self) -> String {
        let error = self.error().await;
        assert_eq!((error.code, error.attempt), (Code::HandlerFailed, Some(1)), "{error}");
        error.message
    }

    async fn goes_on(&self) {
        let answer = self.client.call_and_wait("add", &json!({"a": 1, "b": 1})).await.unwrap();
        assert_eq!(answer.data.get(), r#"{"answer":2}"#);
    }

    /// The process ids that a script has written to the file `pids`, as soon as there are `count`.
    async fn pids(&self, count: usize) -> Vec<i32> {
        pids(&self.file.dir(), count).await
    }
}

async fn pids(dir: &Path, count: usize) -> Vec<i32> {
    eventually("the script's process ids", async || {
        let text = std::fs::read_to_string(dir.join("pids")).ok()?;
        let pids: Vec<i32> = text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
        (pids.len() == count && text.ends_with('\n')).then_some(pids)
    })
    .await
}

async fn are_gone(pids: &[i32]) {
    eventually("the whole process group to be gone", async || {
        pids.iter().all(|pid| !is_running(*pid)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn data_goes_in_on_stdin_and_the_answer_comes_out_on_stdout() {
    let shell = Shell::new("cat").await;
    for data in
        [json!({"a": [1, {"b": "é \u{1f600} \n\" $HOME"}]}), json!(null), json!("'; exit 1")]
    {
        assert_eq!(shell.call(&data).await.unwrap().json::<Value>().unwrap(), data);
    }
    let shell = Shell::new(r#"printf ' \n{"read": "%s"}\n ' "$(wc -c)""#).await;
    let answer = shell.call(&json!({"a": 1})).await.unwrap();
    assert_eq!(answer.data.get().replace(' ', ""), r#"{"read":"7"}"#);
}

#[tokio::test]
async fn command_with_nonzero_status_fails_despite_its_output() {
    let shell = Shell::new("echo 1; exit 3").await;
    assert_eq!(shell.failure().await, "the command ended with exit status: 3");
}

#[tokio::test]
async fn a_command_that_a_signal_killed_is_a_failure() {
    let shell = Shell::new("echo 1; kill -9 $$").await;
    assert_eq!(shell.failure().await, "the command ended with signal: 9 (SIGKILL)");
}

#[tokio::test]
async fn a_command_that_prints_no_json_is_a_failure() {
    let no_json = "the command must print its answer as JSON: ";
    let shell = Shell::new("echo hello").await;
    assert_eq!(shell.failure().await, format!("{no_json}expected value at line 1 column 1"));
    let shell = Shell::new("echo 1; echo 2").await;
    assert_eq!(shell.failure().await, format!("{no_json}trailing characters at line 2 column 1"));
    let shell = Shell::new("printf '\"\\377\"'").await;
    let message = format!("{no_json}invalid unicode code point at line 1 column 2");
    assert_eq!(shell.failure().await, message);
}

#[tokio::test]
async fn a_command_that_prints_nothing_is_a_failure() {
    let shell = Shell::new("true").await;
    let message =
        "the command must print its answer as JSON: EOF while parsing a value at line 1 column 0";
    assert_eq!(shell.failure().await, message);
}

#[tokio::test]
async fn a_command_that_prints_too_much_is_ended_and_answered() {
    let script = "echo $$ > pids; while :; do echo 123456789; done";
    let shell = Shell::with(script, |bench| bench.settings.limits.answer = 2000).await;
    let error = shell.error().await;
    assert_eq!((error.code, error.attempt), (Code::TooLarge, Some(1)));
    assert_eq!(error.message, "the command printed more than 2000 bytes (limits.answer)");
    are_gone(&shell.pids(1).await).await;
    let script = "head -c 1998 /dev/zero | tr '\\0' x | sed 's/.*/\"&\"/' | tr -d '\\n'";
    let shell = Shell::with(script, |bench| bench.settings.limits.answer = 2000).await;
    assert_eq!(shell.call(&Value::Null).await.unwrap().data.get().len(), 2000);
}

#[tokio::test]
async fn command_with_deeply_nested_answer_gets_too_large() {
    let script =
        "n=$(cat); head -c $n /dev/zero | tr '\\0' '['; head -c $n /dev/zero | tr '\\0' ']'";
    let shell = Shell::new(script).await;
    let fits = format!("{}{}", "[".repeat(63), "]".repeat(63));
    assert_eq!(shell.call(&json!(63)).await.unwrap().data.get(), fits);
    for levels in [64, 50_000] {
        let error = failed(shell.call(&json!(levels)).await);
        assert_eq!(error.code, Code::TooLarge, "{levels}");
        assert!(error.message.contains("deeper than 64 levels (limits.depth)"), "{error}");
    }
    shell.goes_on().await;
}

/// Writes the ids of a shell, its child and a grandchild in the background, and never ends.
const NEVER_ENDS: &str = "sh -c 'sleep 600 & echo $$ $! >> pids; wait' & \
                          echo $$ $! >> pids; trap '' TERM; wait; wait";

#[tokio::test]
async fn endless_command_is_answered_and_its_group_killed() {
    let shell = Shell::with(NEVER_ENDS, |bench| {
        bench.settings.jobs.get_mut("script").unwrap().timeout = Duration::from_millis(1500);
    })
    .await;
    let error = shell.error().await;
    assert_eq!((error.code, error.attempt), (Code::Timeout, Some(1)));
    assert_eq!(error.message, "the handler ran longer than its timeout of 1.5s");
    are_gone(&shell.pids(4).await).await;
}

#[tokio::test]
async fn a_command_ends_with_its_callers_time() {
    let shell = Shell::new(NEVER_ENDS).await;
    let request = shell.client.request("script").timeout(Duration::from_millis(1500));
    let error = request.wait().await.unwrap_err();
    assert_eq!(error.code(), Code::DeadlineExceeded);
    are_gone(&shell.pids(4).await).await;
    shell.goes_on().await;
}

#[tokio::test]
async fn a_command_ends_with_its_worker() {
    let shell = Shell::new(NEVER_ENDS).await;
    shell.client.call("script", &Value::Null).await.unwrap();
    let pids = shell.pids(4).await;
    assert!(pids.iter().all(|pid| is_running(*pid)), "{pids:?}");
    let Shell { worker, bench, .. } = &shell;
    worker.request_stop(redcall_worker::Stop::Now);
    are_gone(&pids).await;
    let mut conn = bench.redis.connection().await;
    eventually("the job to be given back", async || {
        (conn.llen::<_, usize>(QUEUE).await.unwrap() == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_command_need_not_read_its_data() {
    let shell = Shell::new("echo 1").await;
    let large = json!("x".repeat(1 << 20));
    assert_eq!(shell.call(&large).await.unwrap().data.get(), "1");
    // Nor all of it, nor before it has closed its stdin.
    let shell = Shell::new("head -c 10 > /dev/null; exec <&-; echo 2").await;
    assert_eq!(shell.call(&large).await.unwrap().data.get(), "2");
}

#[tokio::test]
async fn much_data_flows_both_ways_at_once() {
    let shell = Shell::new("cat").await;
    let large = json!("x".repeat(1 << 20));
    assert_eq!(shell.call(&large).await.unwrap().json::<Value>().unwrap(), large);
}

#[tokio::test]
async fn status_of_a_command_counts_after_it_closed_stdout() {
    let shell = Shell::new("echo 1; exec >&-; read -r line; test \"$line\" = 7").await;
    assert_eq!(shell.call(&json!(7)).await.unwrap().data.get(), "1");
    assert_eq!(shell.failure().await, "the command ended with exit status: 1");
}

#[tokio::test]
async fn a_child_left_behind_neither_delays_the_answer_nor_lives_on() {
    // It holds stdout and stderr open.
    let shell = Shell::new("sleep 600 & echo $! > pids; echo 1").await;
    let since = Instant::now();
    assert_eq!(shell.call(&Value::Null).await.unwrap().data.get(), "1");
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
    are_gone(&shell.pids(1).await).await;
    shell.goes_on().await;
}

// Where there is a `setsid` to be sure of.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_child_that_left_the_group_does_not_delay_the_answer() {
    // It is out of our reach, and holds all three open for longer than the test's patience.
    let daemon = "exec 3<&0; setsid sh -c 'echo $$ > pids; exec sleep 60' <&3 &";
    let wait = "until test -s pids; do :; done; echo cause >&2; echo 1";
    let shell = Shell::new(&format!("{daemon} {wait}")).await;
    let (since, large) = (Instant::now(), json!("x".repeat(1 << 20)));
    assert_eq!(shell.call(&large).await.unwrap().data.get(), "1");
    assert!(since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
    shell.goes_on().await;
    let daemon = shell.pids(1).await[0];
    assert!(is_running(daemon));
    let daemon = rustix::process::Pid::from_raw(daemon).unwrap();
    rustix::process::kill_process(daemon, rustix::process::Signal::KILL).unwrap();
}

#[tokio::test]
async fn a_command_knows_its_job_from_its_environment() {
    let script = r#"printf '["%s","%s","%s"]' \
        "$REDCALL_JOB_ID" "$REDCALL_JOB_NAME" "${REDCALL_BUDGET_MS-none}""#;
    let shell = Shell::new(script).await;
    let request = shell.client.request("script").timeout(Duration::from_secs(10));
    let response = request.wait().await.unwrap();
    let [id, name, budget]: [String; 3] = response.json().unwrap();
    assert_eq!((id, &*name), (response.id.clone(), "script"));
    let budget: u64 = budget.parse().unwrap();
    assert!((1..=10_000).contains(&budget), "{budget}");
    // Without a budget there is none.
    let mut conn = shell.bench.redis.connection().await;
    let () = conn.rpush(QUEUE, waited("x1", "script", "null", "")).await.unwrap();
    let answer: (String, String) = conn.blpop(response_key("x1"), 10.0).await.unwrap();
    assert_eq!(answer.1, result_frame("x1", r#"["x1","script","none"]"#));
}

#[tokio::test]
async fn a_command_runs_in_the_folder_of_the_settings_file() {
    let shell = Shell::new(r#"printf '"%s"' "$(pwd -P)""#).await;
    let answer = shell.call(&Value::Null).await.unwrap();
    assert_eq!(Path::new(&answer.json::<String>().unwrap()), shell.file.dir());
}

#[tokio::test]
async fn a_program_is_found_in_the_folder_of_the_settings_file() {
    use std::os::unix::fs::PermissionsExt;
    let mut bench = Bench::new().await;
    let file = SettingsFile::new("");
    let program = file.dir().join("double.sh");
    std::fs::write(&program, "#!/bin/sh\necho $(($(cat) * $1))\n").unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    bench.settings.file = Some(file.path.clone());
    bench.command("double", &["./double.sh", "2"]);
    let _worker = bench.worker().await;
    let answer = bench.client().await.call_and_wait("double", &21).await.unwrap();
    assert_eq!(answer.data.get(), "42");
}

#[tokio::test]
async fn failure_without_caller_is_dead_lettered() {
    let shell = Shell::new("echo 1; exit 3").await;
    let receipt = shell.client.call("script", &Value::Null).await.unwrap();
    let mut conn = shell.bench.redis.connection().await;
    let letter = eventually("the dead letter", async || dead_letters(&mut conn).await.pop()).await;
    assert_eq!((letter.id, &*letter.code), (receipt.id, "handler_failed"));
    assert_eq!(letter.reason, "the command ended with exit status: 3");
    shell.goes_on().await;
}

#[tokio::test]
async fn stderr_goes_to_the_workers_log_and_not_to_the_caller() {
    let bench = Bench::new().await;
    let url = bench.redis.url();
    let file = SettingsFile::new(&format!(
        r#"
        redis.url = "{url}"
        [jobs.add]
        handler = "builtin:add"
        [jobs.loud]
        command = ["sh", "-c", "echo first >&2; printf '%s' 'no line end' >&2; echo '\"quiet\"'"]
        [jobs.failing]
        command = ["sh", "-c", "echo the cause >&2; exit 1"]
        [jobs.long]
        command = ["sh", "-c", "head -c 20000 /dev/zero | tr '\\0' x >&2; echo 1"]
        "#
    ));
    let worker = Logged::start("redcall-worker", &["--settings", file.arg()], &[].into());
    worker.line(" ready ").await;
    let client = bench.client().await;
    let answer = client.call_and_wait("loud", &json!({"secret": "sesame"})).await.unwrap();
    assert_eq!(answer.data.get(), r#""quiet""#);
    for text in ["stderr: first", "stderr: no line end"] {
        let line = worker.line(text).await;
        assert!(line.contains(&format!("id=\"{}\"", answer.id)), "{line}");
        assert!(line.contains("name=\"loud\"") && line.contains("INFO"), "{line}");
    }
    let error = client.call_and_wait("failing", &Value::Null).await.unwrap_err();
    assert_eq!(error.to_string(), "handler_failed: the command ended with exit status: 1");
    worker.line("stderr: the cause").await;
    assert_eq!(client.call_and_wait("long", &Value::Null).await.unwrap().data.get(), "1");
    worker.line(&format!("stderr: {}", "x".repeat(8192))).await;
    assert!(!worker.log().contains("sesame"), "{}", worker.log());
}
