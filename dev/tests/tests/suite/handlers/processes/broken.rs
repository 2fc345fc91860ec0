//! Processes that die, hang, or write unrequested output: a typed error or another run, and the
//! next job has another process.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use redcall_client::Code;
use redcall_common::settings::OnWorkerLoss;
use redcall_testkit::eventually;
use redcall_tests::Bench;
use redis::AsyncCommands;
use serde_json::{Value, json};

use super::{Served, settings};
use crate::support::{DEAD, LIVE, failed, is_running};

/// Fails the first request by `how`, and answers each later one.
fn once(how: &str) -> String {
    format!("if [ -e failed ]; then answer 1; else : > failed; {how}; fi")
}

async fn goes_on(served: &Served) {
    assert_eq!(served.call(&json!({})).await.unwrap().data.get(), "1");
}

#[tokio::test]
async fn a_job_whose_process_dies_runs_again() {
    let served = Served::shell(&once("kill -9 $$")).await;
    goes_on(&served).await;
    assert_eq!(served.pids().len(), 2);
}

#[tokio::test]
async fn a_job_that_kills_its_processes_is_given_up_with_its_history() {
    let served = Served::shell("kill -9 $$").await;
    let error = served.error().await;
    assert_eq!((error.code, error.attempt), (Code::WorkerLost, Some(3)), "{error}");
    assert!(error.message.contains("signal: 9"), "{error}");
    assert_eq!(served.pids().len(), 3);
    let range = redis::cmd("XRANGE").arg(DEAD).arg("-").arg("+").to_owned();
    let letters: Vec<(String, HashMap<String, String>)> =
        range.query_async(&mut served.bench.redis.connection().await).await.unwrap();
    let [(_, letter)] = &letters[..] else { panic!("{letters:?}") };
    let history: Vec<Value> = serde_json::from_str(&letter["history"]).unwrap();
    let runs: Vec<_> = history.iter().map(|run| (&run["attempt"], &run["code"])).collect();
    let lost = json!("worker_lost");
    assert_eq!(runs, [(&json!(1), &lost), (&json!(2), &lost), (&json!(3), &lost)]);
}

#[tokio::test]
async fn a_job_that_must_not_run_twice_is_not_run_again() {
    let served = Served::shell_with(&once("kill -9 $$"), |job| {
        job.on_worker_loss = OnWorkerLoss::Fail;
    })
    .await;
    assert_eq!(served.error().await.code, Code::WorkerLost);
    assert_eq!(served.pids().len(), 1);
    goes_on(&served).await;
}

#[tokio::test]
async fn unrequested_output_fails_the_job_and_replaces_the_process() {
    for (how, part) in [
        ("echo hello", "a line that is not a JSON-RPC message"),
        (r#"say "\"id\":77,\"result\":1""#, "a message about request 77"),
        (r#"say "\"id\":$id""#, "without either result or error"),
        (r#"printf '\377\n'"#, "not UTF-8"),
    ] {
        let served = Served::shell(&once(how)).await;
        let error = served.error().await;
        assert_eq!(error.code, Code::HandlerFailed, "{how}: {error}");
        assert!(error.message.contains(part), "{how}: {error}");
        goes_on(&served).await;
        assert_eq!(served.pids().len(), 2, "{how}");
        let first = served.pids()[0];
        eventually("the first to be gone", async || (!is_running(first)).then_some(())).await;
    }
}

#[tokio::test]
async fn too_large_an_answer_is_too_large() {
    let served =
        Served::shell(&once(r#"answer "\"$(head -c 9000000 /dev/zero | tr '\0' x)\"""#)).await;
    assert_eq!(served.error().await.code, Code::TooLarge);
    goes_on(&served).await;
}

/// A shell function that prints nested JSON arrays of this depth.
const NESTED: &str = r#"nested() { head -c $1 /dev/zero | tr '\0' '['
    head -c $1 /dev/zero | tr '\0' ']'; }; "#;

#[tokio::test]
async fn answer_of_a_process_that_nests_too_deep_is_too_large() {
    let for_each = format!(
        r#"{NESTED} case "$line" in
        *fits*) answer "$(nested 63)";;
        *deep*) answer "$(nested 64)";;
        *part*) say "\"method\":\"\$/chunk\",\"params\":{{\"id\":$id,\"data\":$(nested 64)}}";;
        *later*) say "\"method\":\"\$/defer\",\"params\":{{\"id\":$id,\"data\":$(nested 64)}}";;
        *error*) say "\"id\":$id,\"error\":{{\"code\":1,\"message\":\"m\",\"data\":$(nested 63)}}";;
        esac"#
    );
    let served = Served::shell(&for_each).await;
    let call = async |what: &str| served.call(&json!([what])).await;
    let fits = call("fits").await.unwrap();
    assert_eq!(fits.data.get(), format!("{}{}", "[".repeat(63), "]".repeat(63)));
    for what in ["deep", "part", "later"] {
        let error = failed(call(what).await);
        assert_eq!(error.code, Code::TooLarge, "{what}: {error}");
        assert!(error.message.contains("deeper than 64 levels"), "{what}: {error}");
    }
    // The message of an error is omitted.
    let error = failed(call("error").await);
    assert_eq!((error.message.as_str(), error.data.is_none()), ("m", true));
}

/// The processor time that a process has had, in seconds.
#[cfg(target_os = "linux")]
fn processor_time(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<f64>().unwrap();
    // A hundred ticks a second, wherever Linux runs.
    (ticks(11) + ticks(12)) / 100.0
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn flooding_process_is_read_at_a_bounded_pace() {
    let bench = Bench::new().await;
    let line = r#"{"jsonrpc":"2.0","method":"$/log","params":["x"]}"#;
    let script =
        format!(r#"read -r l; echo '{{"id":0,"result":1}}'; read -r l; exec yes '{line}'"#);
    let script = serde_json::Value::from(script);
    let file = crate::support::SettingsFile::new(&format!(
        "redis.url = \"{}\"\n[jobs.ask]\nprocess = [\"sh\", \"-c\", {script}]\ntimeout = \"3s\"\n",
        bench.redis.url()
    ));
    let worker =
        crate::support::Logged::start("redcall-worker", &["--settings", file.arg()], &[].into());
    worker.line(" ready ").await;
    let before = processor_time(worker.pid());
    let error = bench.client().await.call_and_wait("ask", &json!({})).await;
    assert_eq!(failed(error).code, Code::Timeout);
    let took = processor_time(worker.pid()) - before;
    assert!(took < 1.0, "the worker used {took} s in 3 s");
    worker.line("reading a process slower").await;
}

#[tokio::test]
async fn output_while_idle_replaces_the_process_before_the_next_job() {
    let script =
        "answer 1; if [ $id = 1 ] && ! [ -e said ]; then : > said; echo late; : > late; fi";
    let served = Served::shell(script).await;
    goes_on(&served).await;
    served.has_made("late").await;
    goes_on(&served).await;
    assert_eq!(served.pids().len(), 2);
}

#[tokio::test]
async fn process_hanging_at_start_fails_in_time_and_others_run() {
    let served = Served::with(&["sh", "-c", "echo $$ >> pids; exec sleep 600"], |job| {
        settings(job).start_timeout = Duration::from_secs(2);
    })
    .await;
    let sum = json!({"a": 1, "b": 1});
    let add = served.client.call_and_wait("add", &sum);
    let (error, added) = tokio::join!(served.error(), add);
    assert_eq!(added.unwrap().data.get(), r#"{"answer":2}"#);
    assert_eq!(error.code, Code::Internal);
    assert!(error.message.contains("within 2s (start_timeout)"), "{error}");
    let pids = served.pids();
    eventually("it to be gone", async || (!is_running(pids[0])).then_some(())).await;
}

#[tokio::test]
async fn process_ending_at_start_is_an_error_with_its_status() {
    let served = Served::with(&["sh", "-c", "exit 3"], |_| {}).await;
    let error = served.error().await;
    assert_eq!(error.code, Code::Internal);
    assert!(error.message.contains("exit status: 3"), "{error}");
}

#[tokio::test]
async fn a_cancelled_job_is_asked_to_end_and_its_process_stays() {
    // Its later output about the job is ignored.
    let chunk = r#"say "\"method\":\"\$/chunk\",\"params\":{\"id\":$id,\"data\":1}""#;
    let late = format!("read -r line; {chunk}; sleep 0.1; : > asked; answer 1");
    let script = format!(r#"case "$line" in *cancel*) ;; *) : > began; {late};; esac"#);
    let served = Served::shell(&script).await;
    let ticket = served.client.request("ask").data(&json!({})).submit().await.unwrap();
    served.has_made("began").await;
    ticket.cancel().await.unwrap();
    assert_eq!(ticket.wait().await.unwrap_err().code(), Code::Cancelled);
    served.has_made("asked").await;
    eventually("its slot to be free", async || {
        let ticket = served.client.request("add").data(&json!({"a": 1, "b": 1}));
        ticket.wait().await.ok()
    })
    .await;
    let pids = served.pids();
    assert_eq!(pids.len(), 1);
    assert!(is_running(pids[0]));
}

#[tokio::test]
async fn process_ignoring_a_cancel_is_killed_after_the_grace() {
    let script = "read -r line; echo '{\"id\":0,\"result\":1}'; echo $$ >> pids; \
                  trap '' TERM; read -r line; : > began; while :; do sleep 1; done";
    let mut bench = Bench::new().await;
    bench.process("ask", &["sh", "-c", script]);
    let served = Served::of(bench, Duration::from_millis(400)).await;
    let ticket = served.client.request("ask").data(&json!({})).submit().await.unwrap();
    served.has_made("began").await;
    let since = Instant::now();
    ticket.cancel().await.unwrap();
    assert_eq!(ticket.wait().await.unwrap_err().code(), Code::Cancelled);
    let pids = served.pids();
    eventually("it to be gone", async || (!is_running(pids[0])).then_some(())).await;
    assert!(since.elapsed() >= Duration::from_millis(400), "{:?}", since.elapsed());
}

#[tokio::test]
async fn a_process_that_dies_in_the_midst_of_a_line_has_not_answered() {
    let served = Served::shell(&once(r#"printf '{"id":1,"resul'; kill -9 $$"#)).await;
    goes_on(&served).await;
    assert_eq!(served.pids().len(), 2);
}

#[tokio::test]
async fn process_start_continues_for_the_next_job() {
    let script = "read -r line; echo $$ >> pids; until [ -e go ]; do sleep 0.01; done; \
                  for id in 0 1; do echo \"{\\\"id\\\":$id,\\\"result\\\":1}\"; read -r line; done";
    let served = Served::with(&["sh", "-c", script], |_| {}).await;
    let impatient =
        served.client.request("ask").data(&json!({})).timeout(Duration::from_millis(300));
    assert_eq!(impatient.wait().await.unwrap_err().code(), Code::DeadlineExceeded);
    // Its caller may know before its worker does, which would have the process do it.
    let mut conn = served.bench.redis.connection().await;
    eventually("the job to have gone", async || {
        (conn.hlen::<_, usize>(LIVE).await.unwrap() == 0).then_some(())
    })
    .await;
    std::fs::write(served.file.dir().join("go"), "").unwrap();
    goes_on(&served).await;
    assert_eq!(served.pids().len(), 1);
}
