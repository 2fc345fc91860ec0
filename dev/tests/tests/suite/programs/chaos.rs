//! `redcall chaos`, as its users run it, in its shortest form.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use redcall_testkit::eventually;
use redcall_tests::Program;
use rustix::process::{Pid, Signal, test_kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::Ran;

/// A small load, so that other tests can run in parallel.
const SMALL: [&str; 6] = ["chaos", "--json", "--workers", "3", "--callers", "6"];

/// A temporary folder for one run, which is empty again when the run has left nothing.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn env(&self) -> BTreeMap<String, String> {
        [("TMPDIR".to_owned(), self.0.path().to_str().unwrap().to_owned())].into()
    }

    fn left(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.0.path()).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    /// The processes of the workers that have begun a job so far.
    fn workers(&self) -> BTreeSet<i32> {
        let histories = self.left().into_iter().map(|folder| folder.join("effects.jsonl"));
        let lines: String =
            histories.filter_map(|file| std::fs::read_to_string(file).ok()).collect();
        let lines = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.map(|line| i32::try_from(line["pid"].as_i64().unwrap()).unwrap()).collect()
    }

    /// Waits until every one of its three workers has begun a job.
    async fn all_work(&self) -> BTreeSet<i32> {
        eventually("all workers to work", async || {
            Some(self.workers()).filter(|workers| workers.len() >= 3)
        })
        .await
    }
}

async fn gone(workers: &BTreeSet<i32>) {
    eventually("the workers to be gone", async || {
        let lives = |pid: &i32| test_kill_process(Pid::from_raw(*pid).unwrap()).is_ok();
        (!workers.iter().any(lives)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_short_run_keeps_every_promise_and_leaves_nothing() {
    let place = Place::new();
    // So long that a busy machine finds a worker for each attack before the end.
    let few = ["--duration", "16s", "--lease", "500ms", "--kills", "2", "--stops", "1"];
    let rest = ["--restarts", "1", "--cuts", "2", "--delays", "1", "--losses", "1", "--seed", "5"];
    let more = ["--logs", "1", "--disks", "1", "--rights", "1", "--clocks", "1"];
    let ran = Ran::new("redcall", &[&SMALL[..], &few, &rest, &more].concat(), &place.env()).await;
    let report: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{ran:?}"));
    assert_eq!((ran.code, &report["ok"]), (0, &json!(true)), "{report:#}");
    let found = report["found"].as_object().unwrap();
    assert!(found.len() == 7 && found.values().all(|count| count == 0), "{report:#}");
    assert_eq!((&report["seed"], &report["interrupted"]), (&json!(5), &json!(false)));
    let made = |attack: &str| report["attacks"][attack].as_u64().unwrap_or_default();
    let kills = ["kills_in_blocked_handler", "kills_in_handler", "kills_before_settlement"];
    assert_eq!(kills.map(made).iter().sum::<u64>(), 2, "{report:#}");
    assert_eq!((made("stops"), made("redis_restarts"), made("cuts")), (1, 1, 2), "{report:#}");
    let spells = ["spells_of_unread_logs", "spells_of_a_full_disk", "rights_taken"];
    assert!(spells.iter().all(|spell| made(spell) == 1), "{report:#}");
    // Without libfaketime the clock attack is skipped: then the report lists it.
    let missing = report["not_attacked"].as_array().unwrap().len() as u64;
    assert_eq!(made("clock_steps") + missing, 1, "{report:#}");
    let kinds = report["calls"]["by_kind"].as_object().unwrap();
    let all = ["forgotten", "idempotent", "retried", "scheduled", "streamed", "waited"];
    assert!(all.iter().all(|kind| kinds[*kind].as_u64() > Some(0)), "{report:#}");
    assert_eq!(report["history"], Value::Null);
    assert_eq!(place.left(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn an_interrupted_run_ends_in_order_and_is_judged() {
    let place = Place::new();
    let long = ["--duration", "1h", "--keep"];
    let run = Program::start_to_read("redcall", &[&SMALL[..], &long].concat(), &place.env());
    let workers = place.all_work().await;
    run.signal(Signal::INT);
    let ran = tokio::task::spawn_blocking(|| run.output()).await.unwrap();
    let report: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!((ran.status.code(), &report["ok"]), (Some(0), &json!(true)), "{report:#}");
    assert_eq!(report["interrupted"], true);
    gone(&workers).await;
    // On request it stays, without other files.
    let history = Path::new(report["history"].as_str().unwrap()).to_owned();
    assert_eq!(place.left(), [history]);
}

#[tokio::test]
async fn a_killed_run_leaves_no_process() {
    let place = Place::new();
    let run =
        Program::start("redcall", &[&SMALL[..], &["--duration", "1h"]].concat(), &place.env());
    let workers = place.all_work().await;
    run.signal(Signal::KILL);
    gone(&workers).await;
}

#[tokio::test]
async fn impossible_run_is_refused_with_its_bounds() {
    let place = Place::new();
    for (wrong, bounds) in [
        (["--workers", "1"], "2..=64"),
        (["--lease", "10s"], "300ms to 5s"),
        (["--duration", "10ms"], "1s to 1day"),
    ] {
        let ran = Ran::new("redcall", &[&["chaos"][..], &wrong].concat(), &place.env()).await;
        assert!(ran.code == 2 && ran.stderr.contains(bounds), "{ran:?}");
    }
    let mut env = place.env();
    env.insert("REDCALL_REDIS_SERVER".to_owned(), "/nowhere/redis-server".to_owned());
    let ran = Ran::new("redcall", &["chaos"], &env).await;
    assert!(ran.code == 3 && ran.stderr.contains("/nowhere/redis-server"), "{ran:?}");
}
