//! `redcall bench`, for a moment each.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use redcall_testkit::eventually;
use redcall_tests::{Bench, binary};
use redis::AsyncCommands;
use serde_json::Value;

use crate::support::{QUEUE, Ran};

async fn run(bench: &Bench, args: &[&str]) -> Ran {
    let args = [&["bench", "--json"], args].concat();
    Ran::new("redcall", &args, &bench.environment()).await
}

/// Returns the one object of the output, with fixed names.
fn figures(ran: &Ran, names: &[&str]) -> Value {
    assert_eq!(ran.code, 0, "{ran:?}");
    let figures: Value = serde_json::from_str(&ran.stdout).unwrap();
    let mut seen: Vec<&String> = figures.as_object().unwrap().keys().collect();
    seen.sort_unstable();
    assert_eq!(seen, names);
    figures
}

#[tokio::test]
async fn calls_are_counted_and_timed() {
    let bench = Bench::new().await;
    let _worker = bench.worker().await;
    let moment = ["--duration", "1s", "--warm-up", "0s"];
    let ran = run(&bench, &[&["call", "--callers", "8"][..], &moment].concat()).await;
    let names = ["calls", "calls_per_s", "errors", "p50_us", "p999_us", "p99_us"];
    let seen = figures(&ran, &names);
    let number = |name: &str| seen[name].as_f64().unwrap();
    assert!(number("calls") > 8.0 && number("errors") == 0.0, "{seen}");
    assert!(number("p50_us") <= number("p99_us") && number("p99_us") <= number("p999_us"));
    // Some fail: they are counted, but not as throughput.
    let job = ["--job", "fail", "--data", "null"];
    let ran = run(&bench, &[&["call"][..], &moment, &job].concat()).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    ran.stderr_has("no call was answered");
}

#[tokio::test]
async fn enqueued_count_equals_the_queue_length() {
    let bench = Bench::new().await;
    let mut conn = bench.redis.connection().await;
    let mut lies = 0;
    for how in [["--callers", "20"], ["--batch", "100"]] {
        let ran = run(&bench, &[&["enqueue", "--duration", "600ms"][..], &how].concat()).await;
        let seen = figures(&ran, &["errors", "jobs", "jobs_per_s"]);
        lies += seen["jobs"].as_u64().unwrap();
        assert_eq!(conn.llen::<_, u64>(QUEUE).await.unwrap(), lies, "{seen}");
    }
}

#[tokio::test]
async fn a_queue_is_filled_and_drained_with_and_without_answers() {
    let bench = Bench::new().await;
    let _worker = bench.worker().await;
    let mut conn = bench.redis.connection().await;
    for (answers, expected) in [(None, 0), (Some("--answers"), 500)] {
        let mut args = vec!["drain", "--jobs", "500"];
        args.extend(answers);
        let ran = run(&bench, &args).await;
        let seen = figures(&ran, &["errors", "jobs", "jobs_per_s"]);
        assert_eq!((seen["jobs"].as_u64(), seen["errors"].as_u64()), (Some(500), Some(0)));
        assert_eq!(conn.llen::<_, u64>(QUEUE).await.unwrap(), 0);
        let keys: Vec<String> = conn.keys("redcall:{default}:response:*").await.unwrap();
        assert_eq!(keys.len(), expected);
    }
}

#[tokio::test]
async fn queue_of_another_program_is_not_drained() {
    let bench = Bench::new().await;
    let client = bench.client().await;
    run(&bench, &["drain"]).await.stderr_has("no worker serves queue `default`");
    let _worker = bench.worker().await;
    client.pause("default").await.unwrap();
    run(&bench, &["drain"]).await.stderr_has("queue `default` is paused");
    client.resume("default").await.unwrap();
    let running = client.request("sleep").data(&serde_json::json!({"ms": 60_000}));
    let ticket = running.submit().await.unwrap();
    eventually("it to run", async || {
        (client.inspect().queue("default").await.unwrap().running == 1).then_some(())
    })
    .await;
    let ran = run(&bench, &["drain"]).await;
    assert_eq!(ran.code, 1);
    ran.stderr_has("queue `default` has 1 jobs");
    assert!(!client.is_paused("default").await.unwrap());
    ticket.cancel().await.unwrap();
}

#[tokio::test]
async fn data_is_padded_to_a_size() {
    let bench = Bench::new().await;
    let mut conn = bench.redis.connection().await;
    let args = ["enqueue", "--duration", "600ms", "--size", "5000"];
    figures(&run(&bench, &args).await, &["errors", "jobs", "jobs_per_s"]);
    let element: String = conn.lindex(QUEUE, 0).await.unwrap();
    let request: Value = serde_json::from_str(&element).unwrap();
    assert_eq!(request["data"].to_string().len(), 5000);
    let small = run(&bench, &["enqueue", "--size", "5"]).await;
    assert_eq!(small.code, 2, "{small:?}");
    small.stderr_has("name a larger size");
}

/// Returns the output of `redcall-bench` for `scenarios` in a short form.
async fn scenarios(scenarios: &[&str], fewer: &str) -> Report {
    let short = ["--rounds", "1", "--lasts", "300", "--jobs", "2000", "--fewer", fewer];
    let ran = Ran::new("redcall-bench", &[&["run"], scenarios, &short].concat(), &[].into()).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    Report(ran.stdout)
}

struct Report(String);

impl Report {
    fn has_all(&self, all: &[&str]) {
        for text in all {
            assert!(self.0.contains(text), "no `{text}` in\n{}", self.0);
        }
    }

    /// The cells of every row that begins so, as far as they are figures: medians.
    fn rows(&self, label: &str) -> Vec<Vec<f64>> {
        let start = format!("| {label} | ");
        let rows = self.0.lines().filter_map(|line| line.strip_prefix(&start));
        let figure = |cell: &str| {
            let text = cell.split_whitespace().next()?;
            let (text, factor) = text.strip_suffix('k').map_or((text, 1.0), |text| (text, 1000.0));
            text.parse::<f64>().ok().map(|figure| figure * factor)
        };
        let rows: Vec<Vec<f64>> =
            rows.map(|row| row.split('|').filter_map(figure).collect()).collect();
        assert!(!rows.is_empty(), "no row `{label}` in\n{}", self.0);
        rows
    }
}

/// The column of the costs in a row of calls.
const COMMANDS: usize = 4;
const CPU: std::ops::Range<usize> = 5..8;

#[tokio::test]
async fn scenarios_run_with_their_baselines() {
    let report = scenarios(&["s1", "s2", "s5", "--samples", "3", "--quiet", "50"], "50").await;
    report.has_all(&[" x F1\n", " x F2, ", "; with a capacity of 64 ", "Callers: 100; "]);
    // Two placements of S1 and of S5, three times S2.
    assert_eq!((report.rows("F1").len(), report.rows("F2").len()), (4, 3));
    assert_eq!(report.rows("Redcall, capacity 64").len(), 3);
    for row in report.rows("Redcall") {
        // At least push and answer; the rest is shared by batches. And every process has worked.
        assert!((2.0..100.0).contains(&row[COMMANDS]), "{row:?}");
        assert!(row[CPU].iter().all(|us| (1.0..100_000.0).contains(us)), "{row:?}");
    }
    // Some commands are within scripts, also those of a lane.
    for line in report.0.lines().filter(|line| line.starts_with("| Redcall | ")) {
        let (commands, sent) = line.split('|').nth(6).unwrap().trim().split_once(" (").unwrap();
        let number = |text: &str| text.trim_end_matches(')').parse::<f64>().unwrap();
        assert!((0.01..number(commands) - 1.0).contains(&number(sent)), "{line}");
    }
    // After a pause each: 20 per second at most.
    assert!(report.rows("Redcall")[5][0] <= 20.0, "{}", report.0);
    let wrong = Ran::new("redcall-bench", &["run", "s0"], &[].into()).await;
    wrong.stderr_has("unknown scenario `s0`. Known:");
}

#[tokio::test]
async fn fire_and_forget_is_measured_with_and_without_a_backlog() {
    let report = scenarios(&["s3", "s4", "s7", "--backlog", "5000"], "50").await;
    report.has_all(&["| without answers | ", "| with answers | ", " x none with 5000\n"]);
    for jobs in ["0 jobs", "100 jobs", "5000 jobs"] {
        assert_eq!(report.rows(jobs).len(), 1);
    }
    for label in ["enqueue, 1,000 tasks", "enqueue, batches of 1,000", "drain 2000"] {
        let rates = &report.rows(label)[0];
        assert!(rates.len() == 3 && rates.iter().all(|rate| *rate > 0.0), "{label}: {rates:?}");
    }
}

#[tokio::test]
async fn large_payloads_and_memory_are_measured() {
    let report = scenarios(&["s6", "s8"], "50").await;
    assert_eq!(report.rows("echo, 1 caller").len(), 3);
    // A mebibyte there and back takes longer than 100 bytes.
    let p50 = |row: &Vec<f64>| row[1];
    let baselines: Vec<f64> = report.rows("F1, answer as large").iter().map(p50).collect();
    assert!(baselines[2] > 2.0 * baselines[0], "{baselines:?}");
    let beyond = report.rows("beyond it, by `MEMORY USAGE` of the queue")[0][0];
    assert!((1.0..20.0).contains(&beyond), "{beyond} bytes");
    for row in report.rows("20 calls in flight") {
        assert!(row.iter().all(|mb| (2.0..200.0).contains(mb)), "{row:?}");
    }
}

#[tokio::test]
async fn latency_and_persistence_are_measured() {
    let report = scenarios(&["s9", "persistence", "--latency", "20"], "1000").await;
    report.has_all(&[" x S2 with as many callers", "CPU us per call of the relay: "]);
    // A call goes to Redis, to the worker, back to Redis and to its caller.
    assert!(report.rows("the same with 20 ms each way")[0][1] > 80_000.0, "{}", report.0);
    for setting in ["none", "everysec", "always"] {
        // One caller, many callers, enqueue.
        assert_eq!(report.rows(setting).len(), 3);
    }
}

/// The figures of an adapter that is always equally fast.
const FIGURES: &str =
    r#"{"calls_per_s":1e-3,"p50_us":5e4,"p99_us":7e4,"p999_us":8e4,"calls":9,"errors":0}"#;

/// Installs an adapter into `folder` whose turn runs `call`.
fn install(folder: &Path, name: &str, call: &str) {
    let run = folder.join(name).join("run");
    fs::create_dir_all(run.parent().unwrap()).unwrap();
    let roles =
        format!("about) echo '{name} of the test';; worker) exec sleep 600;; call) {call};;");
    fs::write(&run, format!("#!/bin/sh\ncase $1 in {roles} esac\n")).unwrap();
    fs::set_permissions(&run, fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn callers_are_measured_with_competitors_and_plotted() {
    let folder = tempfile::tempdir().unwrap();
    install(folder.path(), "tarpc", &format!("echo '{FIGURES}'"));
    install(folder.path(), "nats", "echo 'no server' >&2; exit 1");
    let svg = folder.path().join("callers.svg");
    let [installed, svg_file] = [folder.path(), &svg].map(|path| path.to_str().unwrap());
    let options = ["--installed", installed, "--svg", svg_file, "--warm-up", "0"];
    let counts = ["--callers", "1,4", "--with", "tarpc,nats,saq"];
    let report = scenarios(&[&["callers"][..], &options, &counts].concat(), "50").await;
    report.has_all(&[
        "saq is not installed: run cargo xtask bench competitors saq --install",
        "tarpc of the test",
        "nats could not be measured further: 1 callers: ",
        "no server",
    ]);
    for callers in ["1", "4"] {
        let rows = report.rows(&format!("{callers} | Redcall"));
        assert!(rows.len() == 1 && rows[0][0] > 10.0, "{}", report.0);
        // Its ratio is Redcall's calls per second, of which it has one in 1,000 seconds.
        let row = &report.rows(&format!("{callers} | tarpc"))[0];
        assert!(row[1] == 50_000.0 && row[3] > 10_000.0, "{}", report.0);
    }
    assert!(!report.0.contains("| nats |"), "{}", report.0);
    let picture = fs::read_to_string(svg).unwrap();
    for text in ["Redcall, callers: 4, latency, p99: ", "tarpc, callers: 1, latency, p50: 50 ms"] {
        assert!(picture.contains(text), "no `{text}` in\n{picture}");
    }
}

#[tokio::test]
async fn targets_are_printed_with_their_figures() {
    let programs = binary("redcall-bench").parent().unwrap().to_owned();
    let against = ["--against", programs.to_str().unwrap()];
    let report = scenarios(&[&["s3", "s4"][..], &against].concat(), "50").await;
    report.has_all(&["| | jobs per s | other build | ratio |", "\n## Targets\n"]);
    for label in ["1,000 tasks", "batches of 1,000", "without answers", "with answers"] {
        let row = &report.rows(label)[0];
        // The same build takes as long, more or less.
        assert!(row.len() == 3 && (0.05..20.0).contains(&row[2]), "{label}: {row:?}");
        assert!((row[0] / row[1] / row[2] - 1.0).abs() < 0.1, "{label}: {row:?}");
    }
    let targets = ["| S3 enqueue, 1,000 tasks | ", "| S4 drain with answers | "];
    report.has_all(&targets);
    assert!(!report.0.contains("| S1 p50"), "not measured\n{}", report.0);
    let empty = tempfile::tempdir().unwrap();
    let against = ["run", "s3", "--against", empty.path().to_str().unwrap()];
    let ran = Ran::new("redcall-bench", &against, &[].into()).await;
    ran.stderr_has("redcall is missing");
}
