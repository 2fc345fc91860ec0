//! A worker in the background: it outlives its starter, and is found by its pid file.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

#[cfg(target_os = "linux")]
mod planted;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use redcall_testkit::eventually;
use redcall_tests::{Bench, binary};
use redis::AsyncCommands;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::json;

use crate::support::held::HeldCommand;
use crate::support::{LIVE, Ran, is_running};

/// A folder for the pid file. Its worker is killed when this is dropped.
struct Place {
    bench: Bench,
    env: BTreeMap<String, String>,
    folder: tempfile::TempDir,
}

impl Place {
    async fn new() -> Self {
        let bench = Bench::new().await;
        let env = bench.environment();
        Self { bench, env, folder: tempfile::tempdir().unwrap() }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn run(&self, args: &[&str]) -> Ran {
        let file = self.file("pid").into_os_string().into_string().unwrap();
        let args: Vec<&str> = args.iter().copied().chain(["--pid-file", &file]).collect();
        Ran::new("redcall-worker", &args, &self.env).await
    }

    /// Starts one; it reports readiness at once.
    async fn start(&self) -> Pid {
        let log = self.file("log").into_os_string().into_string().unwrap();
        let ran = self.run(&["--background", "--log-file", &log]).await;
        let pid = self.pid().unwrap();
        let printed = format!("worker {} runs in the background", pid.as_raw_nonzero());
        assert!(ran.code == 0 && ran.stdout.starts_with(&printed), "{ran:?}");
        pid
    }

    /// Which process the file names.
    fn pid(&self) -> Option<Pid> {
        let text = std::fs::read_to_string(self.file("pid")).ok()?;
        Pid::from_raw(text.lines().next()?.parse().ok()?)
    }

    async fn is_gone(&self, pid: Pid) {
        eventually("the worker to be gone", async || {
            (!is_running(pid.as_raw_nonzero().get())).then_some(())
        })
        .await;
    }

    async fn status(&self) -> (i32, String) {
        let ran = self.run(&["status"]).await;
        (ran.code, ran.stdout)
    }

    async fn answers(&self) {
        let client = self.bench.client().await;
        let answer = client.call_and_wait("add", &json!({"a": 1, "b": 2})).await.unwrap();
        assert_eq!(answer.data.get(), r#"{"answer":3}"#);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(pid) = self.pid().filter(|pid| is_running(pid.as_raw_nonzero().get())) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

#[tokio::test]
async fn background_worker_outlives_its_starter() {
    let place = Place::new().await;
    let (pid, log, out_file) = (place.file("pid"), place.file("log"), place.file("output"));
    let mut shell = Command::new("sh");
    shell.env_clear().envs(&place.env).env("PATH", std::env::var_os("PATH").unwrap());
    let script = r#""$0" --background --pid-file "$1" --log-file "$2" > "$3"; cat"#;
    shell.args(["-c", script]).arg(binary("redcall-worker")).args([&pid, &log, &out_file]);
    // The whole group of processes goes, as with a terminal that is closed.
    shell.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut shell = shell.spawn().unwrap();
    eventually("the worker to be started", async || {
        let printed = std::fs::read_to_string(&out_file).unwrap_or_default();
        printed.contains("runs in the background").then_some(())
    })
    .await;
    let group = Pid::from_raw(i32::try_from(shell.id()).unwrap()).unwrap();
    kill_process_group(group, Signal::KILL).unwrap();
    assert!(!shell.wait().unwrap().success());
    place.answers().await;
    let worker = place.pid().unwrap().as_raw_nonzero();
    assert_eq!(place.status().await, (0, format!("worker {worker} runs: ready\n")));
    assert!(std::fs::read_to_string(&log).unwrap().contains("INFO"));
    assert_eq!(place.run(&["stop"]).await.code, 0);
}

#[tokio::test]
async fn stop_finishes_running_jobs() {
    let (mut place, held) = (Place::new().await, HeldCommand::new());
    place.env.extend([held.variable()]);
    assert_eq!(place.run(&["stop"]).await.code, 3);
    let pid = place.start().await;
    let client = place.bench.client().await;
    let call = tokio::spawn(async move { client.call_and_wait("held", &json!(null)).await });
    let mut conn = place.bench.redis.connection().await;
    held.runs().await;
    let drained = async {
        eventually("the worker to drain", async || {
            let workers = place.bench.workers().await;
            workers.iter().any(|worker| worker.state == "draining").then_some(())
        })
        .await;
        held.end();
    };
    let (ran, ()) = tokio::join!(place.run(&["stop"]), drained);
    let printed = format!("worker {} has stopped\n", pid.as_raw_nonzero());
    assert_eq!((ran.code, ran.stdout), (0, printed));
    assert!(!conn.exists::<_, bool>(LIVE).await.unwrap(), "it has not drained");
    assert_eq!(call.await.unwrap().unwrap().data.get(), "null");
    place.is_gone(pid).await;
    // It has taken its file away.
    let (code, printed) = place.status().await;
    assert!(
        code == 3 && printed.starts_with("not running") && !printed.contains("stale"),
        "{printed}"
    );
    assert!(!place.file("pid").exists());
    assert_eq!(place.run(&["stop"]).await.code, 3);
}

#[tokio::test]
async fn second_worker_is_refused_and_a_stale_pid_file_is_not() {
    let place = Place::new().await;
    let first = place.start().await;
    let ran = place.run(&["--background"]).await;
    assert_eq!((ran.code, &*ran.stdout), (1, ""));
    ran.stderr_has(&format!("worker {} is already running", first.as_raw_nonzero()));
    assert_eq!(place.pid(), Some(first));
    kill_process(first, Signal::KILL).unwrap();
    // The last of its threads releases the lock.
    let printed = eventually("the worker to be gone", async || {
        let (code, printed) = place.status().await;
        (code == 3).then_some(printed)
    })
    .await;
    assert!(printed.contains("stale pid file"), "{printed}");
    assert_eq!(place.run(&["stop"]).await.code, 3);
    assert_ne!(place.start().await, first);
    place.answers().await;
    assert_eq!(place.run(&["stop"]).await.code, 0);
}

#[tokio::test]
async fn failed_start_prints_its_reason_and_leaves_no_file() {
    let mut place = Place::new().await;
    place.env.insert("REDIS_URL".to_owned(), "redis://127.0.0.1:1".to_owned());
    let ran = place.run(&["--background"]).await;
    assert_eq!((ran.code, &*ran.stdout), (1, ""));
    ran.stderr_has("Redis at 127.0.0.1:1 cannot be reached");
    assert!(!place.file("pid").exists());
    place.env.insert("REDCALL__WORKER__CONCURRENCY".to_owned(), "none".to_owned());
    let ran = place.run(&["--background"]).await;
    assert_eq!(ran.code, 2);
    ran.stderr_has("worker.concurrency");
    assert!(!place.file("pid").exists());
    let ran = place.run(&["--background", "check"]).await;
    assert_eq!(ran.code, 2);
    ran.stderr_has("--background takes no command");
}

#[tokio::test]
async fn status_of_a_background_worker_shows_unreadiness() {
    let place = Place::new().await;
    let pid = place.start().await;
    let redis = Pid::from_raw(i32::try_from(place.bench.redis.pid()).unwrap()).unwrap();
    kill_process(redis, Signal::KILL).unwrap();
    let printed = eventually("it to report that", async || {
        let (code, printed) = place.status().await;
        (code == 4).then_some(printed)
    })
    .await;
    assert!(printed.contains("not ready: no connection to Redis"), "{printed}");
    kill_process(pid, Signal::KILL).unwrap();
    place.is_gone(pid).await;
}

/// A file as a worker makes it.
#[cfg(target_os = "linux")]
fn own_file(path: &std::path::Path) -> std::fs::File {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = std::fs::File::options();
    options.write(true).create_new(true).mode(0o600).open(path).unwrap()
}

/// A worker's note of the process `pid`.
#[cfg(target_os = "linux")]
fn note_of(pid: u32, drains_for_ms: u32) -> String {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let started = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().to_owned();
    let program = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap();
    format!("{pid}\n{drains_for_ms}\nready\n{started}\n{}\n", program.display())
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn worker_that_does_not_drain_in_time_gets_a_second_signal() {
    let place = Place::new().await;
    let file = own_file(&place.file("pid"));
    file.try_lock().unwrap();
    // Ends at the second one. Its standard input holds the lock.
    let script = "trap 'trap - TERM; touch \"$0\"' TERM; echo; while :; do sleep 0.02; done";
    let mut stubborn = Command::new("sh")
        .args(["-c", script])
        .arg(place.file("output"))
        .stdin(file)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = stubborn.id();
    // A line, once it minds the signal.
    let mut stdout = BufReader::new(stubborn.stdout.take().unwrap());
    stdout.read_line(&mut String::new()).unwrap();
    std::fs::write(place.file("pid"), note_of(pid, 0)).unwrap();
    let reaping = tokio::task::spawn_blocking(move || stubborn.wait());
    let ran = place.run(&["stop"]).await;
    let printed =
        format!("worker {pid} did not drain in time, and was stopped by a second signal\n");
    assert_eq!((ran.code, ran.stdout), (0, printed));
    assert!(place.file("output").exists());
    reaping.await.unwrap().unwrap();
}
