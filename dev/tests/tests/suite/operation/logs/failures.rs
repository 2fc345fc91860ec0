//! A run that fails is one warning of its worker's log, with all that is known of it.

use std::time::Instant;

use futures_util::future::join_all;
use redcall_client::{Client, RequestBuilder};
use redcall_testkit::eventually;
use redcall_tests::Bench;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::lines::parsed;
use crate::support::{Logged, SettingsFile};

/// A worker that logs JSON, and its client.
pub(super) struct Loud {
    pub(super) worker: Logged,
    pub(super) client: Client,
    pub(super) bench: Bench,
    _file: SettingsFile,
}

impl Loud {
    /// The program `name` with these further settings.
    pub(super) async fn start(name: &str, settings: &str) -> Self {
        let bench = Bench::new().await;
        let url = bench.redis.url();
        let text = format!(
            "redis.url = '{url}'\nlog.format = 'json'\nworker.queues = ['default', 'slow']\n\
             {settings}"
        );
        let (file, mut env) = (SettingsFile::new(&text), bench.environment());
        env.insert("REDCALL_SETTINGS".into(), file.arg().into());
        env.remove("REDIS_URL");
        let worker = Logged::start(name, &[], &env);
        worker.line("\"ready\"").await;
        let client = bench.client().await;
        Self { worker, client, bench, _file: file }
    }

    /// Calls `name` and waits for its end; returns the lines about the call, as soon as they have
    /// this number of warnings.
    async fn lines(&self, name: &str, data: &Value, warnings: usize) -> Vec<Value> {
        let call = self.client.request(name).data(data).submit().await.unwrap();
        let id = call.id.clone();
        let _ = call.wait().await;
        eventually("the warnings", async || {
            let mut lines = parsed(&self.worker.log());
            lines.retain(|line| line["id"] == *id);
            let seen = lines.iter().filter(|line| line["level"] == "WARN").count();
            (seen >= warnings).then_some(lines)
        })
        .await
    }

    /// The only warning of the only run of a call.
    async fn warning(&self, name: &str, data: &Value) -> Value {
        let mut lines = self.lines(name, data, 1).await;
        lines.retain(|line| line["level"] == "WARN");
        let [line] = &lines[..] else { panic!("{lines:?}") };
        assert_eq!((&line["name"], &line["queue"]), (&name.into(), &"default".into()), "{line}");
        assert_eq!(line["attempt"], 1, "{line}");
        line.clone()
    }
}

#[tokio::test]
async fn each_failed_run_is_one_warning_with_all_that_is_known() {
    let settings = "jobs.fail.retries = { max = 1, base = '10ms' }\n";
    let loud = Loud::start("redcall-worker", settings).await;
    let lines = loud.lines("fail", &json!({"message": "no room"}), 2).await;
    let warnings: Vec<&Value> = lines.iter().filter(|line| line["level"] == "WARN").collect();
    let [first, last] = warnings[..] else { panic!("{lines:?}") };
    for (line, attempt, next) in [(first, 1, "retried"), (last, 2, "dead-lettered")] {
        assert_eq!((&line["name"], &line["queue"]), (&"fail".into(), &"default".into()));
        assert_eq!((&line["attempt"], &line["next"]), (&attempt.into(), &next.into()), "{line}");
        assert_eq!(
            (&line["code"], &line["message"]),
            (&"handler_failed".into(), &"failed: no room".into())
        );
        assert!(line["duration_ms"].as_u64().is_some_and(|ms| ms < 60_000), "{line}");
        assert_eq!(line["retry_in_ms"].is_u64(), attempt == 1, "{line}");
    }
}

#[tokio::test]
async fn every_failure_is_logged_once_with_its_code() {
    let settings = "
        limits.answer = '4KiB'
        [jobs.sleep]
        timeout = '100ms'
        [jobs.exits]
        command = ['sh', '-c', 'exit 3']
        [jobs.missing]
        http = { method = 'POST', url = 'http://127.0.0.1:1/' }
        [jobs.dies]
        process = ['sh', '-c', '''read s; echo '{\"id\":0,\"result\":1}'; read r; kill -9 $$''']
        max_crashes = 1
    ";
    let loud = Loud::start("redcall-worker", settings).await;
    let large = Value::from("x".repeat(5000));
    for (name, data, code, part) in [
        ("add", &json!({"a": 1}), "invalid_data", "missing field `b`"),
        ("echo", &large, "too_large", "the limit is 4096"),
        ("sleep", &json!({"ms": 60_000}), "timeout", "its timeout of 100ms"),
        ("exits", &Value::Null, "handler_failed", "exit status: 3"),
        ("missing", &Value::Null, "handler_failed", "127.0.0.1 cannot be reached"),
        ("dies", &Value::Null, "worker_lost", "signal: 9"),
    ] {
        let line = loud.warning(name, data).await;
        assert_eq!(line["code"], code, "{line}");
        let message = line["message"].as_str().unwrap();
        assert!(message.starts_with("failed: ") && message.contains(part), "{line}");
        let cause = line["cause"].as_str().unwrap_or_default();
        assert_eq!(cause.contains("Connection refused"), name == "missing", "{line}");
    }
}

#[tokio::test]
async fn request_that_is_not_run_is_a_warning() {
    let loud = Loud::start("redcall-worker", "").await;
    // No caller waits: only the log reports it.
    let mut conn = loud.bench.redis.connection().await;
    for (id, rest, code) in [
        ("late", r#""name":"add","data":1,"enqueued_at":1,"budget_ms":1"#, "deadline_exceeded"),
        ("absent", r#""name":"absent","data":1"#, "unknown_job"),
        ("broken", r#""name":7,"data":1"#, "invalid_request"),
    ] {
        let element = format!(r#"{{"id":"{id}",{rest}}}"#);
        let push = redis::cmd("RPUSH").arg("redcall:{default}:queue").arg(element).to_owned();
        let _: u64 = push.query_async(&mut conn).await.unwrap();
        let line = eventually("the warning", async || {
            let is_its = |line: &Value| line["id"] == id && line["level"] == "WARN";
            parsed(&loud.worker.log()).into_iter().find(is_its)
        })
        .await;
        assert_eq!((&line["code"], &line["queue"]), (&code.into(), &"default".into()), "{line}");
        assert!(line["message"].as_str().unwrap().starts_with("not run: "), "{line}");
    }
    // Without an id that can be read, and so without a lease.
    let push = redis::cmd("RPUSH").arg("redcall:{default}:queue").arg("nonsense").to_owned();
    let _: u64 = push.query_async(&mut conn).await.unwrap();
    let line = loud.worker.line("not run: dead letters that cannot be leased").await;
    let line: Value = serde_json::from_str(&line).unwrap();
    let fields = json!([line["code"], line["queue"], line["count"]]);
    assert_eq!(fields, json!(["invalid_request", "default", 1]), "{line}");
}

#[tokio::test]
async fn causes_are_for_the_log_and_not_for_the_caller() {
    let loud = Loud::start("failing", "").await;
    let detail = "the report cannot be made: the query failed: no such table";
    for (name, code, message, cause) in [
        (
            "caused",
            "handler_failed",
            "the report cannot be made",
            "the query failed: no such table",
        ),
        ("explained", "handler_failed", "come again tomorrow", detail),
        ("panics", "handler_panicked", "the handler panicked", "as requested"),
    ] {
        let line = loud.warning(name, &Value::Null).await;
        assert_eq!((&line["code"], &line["cause"]), (&code.into(), &cause.into()), "{line}");
        assert_eq!(line["message"], format!("failed: {message}"));
        let called = loud.client.call_and_wait(name, &Value::Null).await.unwrap_err().to_string();
        assert!(called.contains(message) && !called.contains("no such table"), "{called}");
    }
    let line = loud.warning("late", &Value::Null).await;
    assert_eq!(line["next"], "none", "{line}");
}

#[tokio::test]
async fn cancelled_run_does_not_warn() {
    let loud = Loud::start("redcall-worker", "").await;
    let call = loud.client.request("sleep").data(&json!({"ms": 60_000})).submit().await.unwrap();
    let id = call.id.clone();
    let mut conn = loud.bench.redis.connection().await;
    eventually("it to run", async || {
        let live = redis::cmd("HEXISTS").arg("redcall:{default}:live").arg(&id).to_owned();
        live.query_async::<bool>(&mut conn).await.unwrap().then_some(())
    })
    .await;
    loud.client.cancel(&id).await.unwrap();
    let line = loud.worker.line("cancelled: ").await;
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&line["id"], &line["level"]), (&id.into(), &"INFO".into()), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flood_of_failures_is_bounded_lines_and_a_count() {
    const CALLS: u64 = 3000;
    let loud = Loud::start("redcall-worker", "worker.concurrency = 64\n").await;
    let (since, data) = (Instant::now(), json!({"message": "no"}));
    let calls =
        (0..CALLS).map(|_| loud.client.request("fail").data(&data)).map(RequestBuilder::wait);
    join_all(calls).await;
    // A kind that comes late is seen all the same.
    loud.warning("add", &json!({"a": 1})).await;
    loud.worker.signal(Signal::TERM);
    let lines = parsed(&loud.worker.ended().await);
    let failed = |line: &&Value| line["name"] == "fail" && line["level"] == "WARN";
    let logged = lines.iter().filter(failed).count() as u64;
    let held: Vec<u64> = lines
        .iter()
        .filter(|line| line["message"].as_str().unwrap_or_default().contains("more lines such as"))
        .map(|line| line["repeated"].as_u64().unwrap())
        .collect();
    // In one window, or two, and more only if the machine is slow: each is ten seconds long.
    let windows = 2 + since.elapsed().as_secs() / 10;
    assert!((1000..=1100 * windows).contains(&logged), "{logged} lines in {windows} windows");
    assert!((1..=windows).contains(&(held.len() as u64)), "{held:?} in {windows} windows");
    assert_eq!(logged + held.iter().sum::<u64>(), CALLS);
}
