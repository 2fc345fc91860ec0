//! Commands and processes of a killed worker end with it.

use redcall_tests::{Bench, Program};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{NEVER_ENDS, are_gone, pids};
use crate::support::{Logged, SettingsFile, is_running};

/// A worker program that listens, with a job `script` that a shell runs.
async fn worker(bench: &Bench, file: &SettingsFile, rest: &[&str]) -> Logged {
    let mut args = vec!["--settings", file.arg()];
    args.extend(rest);
    let worker = Logged::start("redcall-worker", &args, &[].into());
    worker.line(" ready ").await;
    assert!(bench.client().await.call("script", &Value::Null).await.is_ok());
    worker
}

fn settings(bench: &Bench, kind: &str, script: &str) -> SettingsFile {
    let url = bench.redis.url();
    SettingsFile::new(&format!(
        "redis.url = \"{url}\"\nworker.lease = \"2s\"\n[jobs.script]\nconcurrency = 1\n\
         {kind} = [\"sh\", \"-c\", '''{script}''']\n"
    ))
}

/// A worker in the background, killed when dropped.
struct Background(i32);

impl Drop for Background {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_raw(self.0).unwrap(), Signal::KILL);
    }
}

/// Kills a worker whose job of that kind has started four processes, which end with it.
async fn takes_its_processes(kind: &str, script: &str) {
    let bench = Bench::new().await;
    let file = settings(&bench, kind, script);
    let worker = worker(&bench, &file, &[]).await;
    let pids = pids(&file.dir(), 4).await;
    assert!(pids.iter().all(|pid| is_running(*pid)), "{pids:?}");
    worker.signal(Signal::KILL);
    are_gone(&pids).await;
}

#[tokio::test]
async fn killed_worker_takes_its_commands_and_their_groups_with_it() {
    takes_its_processes("command", NEVER_ENDS).await;
}

#[tokio::test]
async fn killed_worker_takes_its_processes_and_their_groups_with_it() {
    let start = r#"read -r line; printf '{"jsonrpc": "2.0", "id": 0, "result": null}\n'"#;
    takes_its_processes("process", &format!("{start}; {NEVER_ENDS}")).await;
}

#[tokio::test]
async fn killed_worker_in_the_background_takes_its_commands_with_it() {
    let bench = Bench::new().await;
    let file = settings(&bench, "command", NEVER_ENDS);
    let dir = file.dir();
    let pid_file = dir.join("worker.pid");
    let args = ["--settings", file.arg(), "--background", "--pid-file", pid_file.to_str().unwrap()];
    let started = Program::run("redcall-worker", &args, &[].into());
    assert!(started.status.success(), "{started:?}");
    let noted = std::fs::read_to_string(&pid_file).unwrap();
    let worker = Background(noted.lines().next().unwrap().parse().unwrap());
    bench.client().await.call("script", &Value::Null).await.unwrap();
    let pids = pids(&dir, 4).await;
    drop(worker);
    are_gone(&pids).await;
}

#[tokio::test]
async fn job_of_a_killed_worker_never_runs_beside_its_next_run() {
    let bench = Bench::new().await;
    let script = "trap '' TERM; echo $$ >> pids; exec sleep 60";
    let file = settings(&bench, "command", script);
    let first = worker(&bench, &file, &[]).await;
    let of_first = pids(&file.dir(), 1).await[0];
    let second = Logged::start("redcall-worker", &["--settings", file.arg()], &[].into());
    second.line(" ready ").await;
    first.signal(Signal::KILL);
    // The second run writes its id before it does anything else.
    let runs = pids(&file.dir(), 2).await;
    assert!(!is_running(of_first), "the first run is still there as the second begins");
    assert_eq!(runs[0], of_first);
    assert!(is_running(runs[1]));
}
