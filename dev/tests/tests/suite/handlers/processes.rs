//! Jobs that a pool of long-lived processes runs: the messages on their pipes, and the outcome of a
//! job whose process breaks.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

mod broken;
mod example;
mod python;
mod shared;

use std::time::Duration;

use redcall_client::{CallError, Client, Code, EventItem, Response, Update, WireError};
use redcall_common::settings::{HandlerSettings, JobSettings, ProcessSettings};
use redcall_testkit::eventually;
use redcall_tests::{Bench, RunningWorker};
use redis::AsyncCommands;
use serde_json::{Value, json};

use crate::support::{QUEUE, SettingsFile, failed, response_key, result_frame, waited};

/// A worker with one process, and the folder that it runs in.
struct Served {
    // First, since it takes its leave of a server that still runs.
    worker: RunningWorker,
    client: Client,
    bench: Bench,
    file: SettingsFile,
}

impl Served {
    async fn with(command: &[&str], change: impl FnOnce(&mut JobSettings)) -> Self {
        let mut bench = Bench::new().await;
        change(bench.process("ask", command));
        Self::of(bench, Duration::from_secs(30)).await
    }

    /// A cancelled job may continue for `grace`.
    async fn of(mut bench: Bench, grace: Duration) -> Self {
        let file = SettingsFile::new("");
        bench.settings.file = Some(file.path.clone());
        bench.settings.worker.cancel_grace = grace;
        let (worker, client) = (bench.worker().await, bench.client().await);
        Self { worker, client, bench, file }
    }

    /// A process that runs [`script`].
    async fn shell(for_each: &str) -> Self {
        Self::shell_with(for_each, |_| {}).await
    }

    async fn shell_with(for_each: &str, change: impl FnOnce(&mut JobSettings)) -> Self {
        Self::with(&["sh", "-c", &script(for_each)], change).await
    }

    async fn call(&self, data: &Value) -> Result<Response, CallError> {
        self.client.call_and_wait("ask", data).await
    }

    async fn error(&self) -> WireError {
        failed(self.call(&json!({})).await)
    }

    /// The process ids of those that have been started.
    fn pids(&self) -> Vec<i32> {
        let text = std::fs::read_to_string(self.file.dir().join("pids")).unwrap_or_default();
        text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
    }

    /// Waits until the process has made this file.
    async fn has_made(&self, file: &str) {
        let path = self.file.dir().join(file);
        eventually("the process to have made a file", async || path.exists().then_some(())).await;
    }
}

/// Answers `$/start` and then does `for_each` line, in which `$id` is the number of the request.
/// Each process notes its id.
fn script(for_each: &str) -> String {
    format!(
        r#"echo $$ >> pids
        say() {{ printf '{{"jsonrpc":"2.0",%s}}\n' "$1"; }}
        answer() {{ say "\"id\":$id,\"result\":$1"; }}
        while read -r line; do
            id=${{line#*'"id":'}}; id=${{id%%,*}}; id=${{id%%\}}*}}
            if [ "$id" = 0 ]; then answer null; else {for_each}; fi
        done; echo > ended"#
    )
}

fn settings(job: &mut JobSettings) -> &mut ProcessSettings {
    match &mut job.kind {
        HandlerSettings::Process(settings) => settings,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn one_process_has_all_jobs_and_ends_with_its_stdin() {
    let served = Served::shell("answer $id").await;
    for number in 1..=3 {
        assert_eq!(served.call(&json!({})).await.unwrap().data.get(), number.to_string());
    }
    assert_eq!(served.pids().len(), 1);
    let Served { worker, file, bench, .. } = served;
    worker.drain().await;
    assert!(file.dir().join("ended").exists());
    drop(bench);
}

#[tokio::test]
async fn the_request_is_json_rpc_with_the_job_beside_it() {
    let served = Served::shell(
        r#"answer "$(printf %s "$line" | od -An -v -tx1 | tr -d ' \n' | sed 's/.*/"&"/')""#,
    )
    .await;
    for (data, params) in [
        (json!({"a": "é\n"}), Some(json!({"a": "é\n"}))),
        (json!([1]), Some(json!([1]))),
        (json!("x"), Some(json!(["x"]))),
        (json!(null), None),
    ] {
        let request = served.client.request("ask").data(&data).header("k", "v");
        let response = request.timeout(Duration::from_secs(60)).wait().await.unwrap();
        let hex: String = response.json().unwrap();
        let bytes = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16));
        let bytes: Vec<u8> = bytes.collect::<Result<_, _>>().unwrap();
        let message: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!((&message["jsonrpc"], &message["method"]), (&json!("2.0"), &json!("ask")));
        assert_eq!(message.get("params"), params.as_ref());
        let job = &message["job"];
        assert_eq!((&job["id"], &job["attempt"]), (&json!(response.id), &json!(1)));
        assert_eq!(job["headers"], json!({"k": "v"}));
        assert!((1..=60_000).contains(&job["budget_ms"].as_u64().unwrap()), "{job}");
    }
}

#[tokio::test]
async fn data_over_several_lines_are_one() {
    let served = Served::shell("answer 1").await;
    let mut conn = served.bench.redis.connection().await;
    let request = waited("7", "ask", "{\n  \"a\":\r\n 1\n}", "");
    let _: i64 = conn.rpush(QUEUE, request).await.unwrap();
    let popped = conn.blpop::<_, Option<(String, String)>>(response_key("7"), 10.0).await.unwrap();
    assert_eq!(popped.unwrap().1, result_frame("7", "1"));
    // It has answered no second line.
    served.call(&json!({})).await.unwrap();
    assert_eq!(served.pids().len(), 1);
}

#[tokio::test]
async fn as_many_run_at_once_as_there_are_instances() {
    // Each waits for the other.
    let meet =
        r#": > $id.$$; while [ "$(ls *.[0-9]* | wc -l)" -lt 2 ]; do sleep 0.01; done; answer 1"#;
    let served = Served::shell_with(meet, |job| {
        settings(job).instances = 2;
        job.concurrency = Some(2);
    });
    let served = served.await;
    let data = json!({});
    let (one, other) = tokio::join!(served.call(&data), served.call(&data));
    assert_eq!((one.unwrap().data.get(), other.unwrap().data.get()), ("1", "1"));
    assert_eq!(served.pids().len(), 2);
}

#[tokio::test]
async fn process_defers_its_answer_and_gets_the_token() {
    // The second time it reads its own state, and gets the reason why it cannot.
    let pending = r#"
        later() { say "\"method\":\"\$/defer\",\"params\":{\"id\":$id,\"data\":1$1}"; }
        later ',"within_ms":60000,"notify":true'; read -r line; echo "$line" > new
        later; read -r line; echo "$line" > refused; mv new token; answer 0"#;
    let served = Served::shell(pending).await;
    let mut results = served.client.events("command_result").subscribe().await.unwrap();
    let mut stream = served.client.request("ask").data(&json!({})).stream().await.unwrap();
    let first = stream.next().await.unwrap().unwrap();
    assert!(matches!(first, Update::Deferred { data, .. } if data.get() == "1"));
    served.has_made("token").await;
    let contents = |file: &str| {
        let line = std::fs::read_to_string(served.file.dir().join(file)).unwrap();
        serde_json::from_str::<Value>(&line).unwrap()
    };
    let (token, refused) = (contents("token"), contents("refused"));
    assert_eq!((&token["method"], &token["params"]["id"]), (&json!("$/token"), &json!(1)));
    let why = refused["params"]["error"].as_str().unwrap();
    assert!(
        why.contains("it is settled, or another worker has it")
            && refused["params"].get("token").is_none(),
        "{refused}"
    );
    let token = token["params"]["token"].as_str().unwrap().parse().unwrap();
    assert!(served.client.settle(&token, Ok("done")).await.unwrap());
    let last = stream.next().await.unwrap().unwrap();
    assert!(matches!(last, Update::Done(answer) if answer.data.get() == r#""done""#));
    let EventItem::Event(event) = results.next().await.unwrap().unwrap() else { panic!() };
    assert!(event.context.get().contains(r#""data":"done""#));
    // Its process is as good as before.
    served.client.request("ask").data(&json!({})).stream().await.unwrap().next().await;
    assert_eq!(served.pids().len(), 1);
}

#[tokio::test]
async fn progress_reaches_the_follower() {
    let progress =
        r#"say "\"method\":\"\$/progress\",\"params\":{\"id\":$id,\"data\":{\"percent\":5}}""#;
    let served = Served::shell(&format!("{progress}; answer 1")).await;
    let mut stream = served.client.request("ask").data(&json!({})).stream().await.unwrap();
    let first = stream.next().await.unwrap().unwrap();
    assert!(matches!(first, Update::Progress(data) if data.get() == r#"{"percent":5}"#));
    let last = stream.next().await.unwrap().unwrap();
    assert!(matches!(last, Update::Done(answer) if answer.data.get() == "1"));
}

/// Requests tokens that do not exist: an answer may take 7 days at most.
const PROGRESS: &str =
    r#"{"jsonrpc":"2.0","method":"$/defer","params":{"id":1,"data":1,"within_ms":99999999999}}"#;

#[tokio::test]
async fn process_that_reads_no_tokens_waits_and_fills_no_memory() {
    let flood = format!("yes '{PROGRESS}' | head -n 20000; : > through; answer 1");
    let mut bench = Bench::new().await;
    let script = script(&flood);
    bench.process("ask", &["sh", "-c", &script]).timeout = Duration::from_secs(2);
    let served = Served::of(bench, Duration::from_millis(200)).await;
    assert_eq!(served.error().await.code, Code::Timeout);
    assert!(!served.file.dir().join("through").exists(), "its lines are read without end");
}

#[tokio::test]
async fn process_that_reads_its_tokens_late_gets_each() {
    let call = format!(
        "for round in 1 2 3 4 5; do
            yes '{PROGRESS}' | head -n 100
            for n in $(seq 100); do read -r line; echo \"$line\" >> tokens; done
        done
        answer 1"
    );
    let served = Served::shell(&call).await;
    assert_eq!(served.call(&json!({})).await.unwrap().data.get(), "1");
    let tokens = std::fs::read_to_string(served.file.dir().join("tokens")).unwrap();
    assert_eq!(tokens.lines().filter(|line| line.contains("7 days")).count(), 500);
}
