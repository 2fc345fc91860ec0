//! The example as a program, against a private Redis.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot be set up must fail loudly"
)]

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use redcall_client::{CallError, Client, Code};
use redcall_testkit::{TestRedis, eventually};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Longer than any step takes; only reached by a failing test.
const PATIENCE: Duration = Duration::from_secs(20);
const WITHOUT_PYTHON: &str = "python3 is not installed: word_count runs built in";

/// A program with a minimal environment.
fn example(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_example"));
    command.args(args).env_clear().kill_on_drop(true);
    for name in ["PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "REDCALL_REDIS_SERVER"] {
        command.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs it until it and all processes it started have ended, since they hold the pipes open.
/// Returns exit code, stdout, stderr.
async fn ended(child: Child) -> (Option<i32>, String, String) {
    let output = timeout(PATIENCE, child.wait_with_output()).await.expect("something still runs");
    let output = output.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn signal(child: &Child, signal: Signal) {
    kill_process(pid(child.id().unwrap()), signal).unwrap();
}

fn pid(number: u32) -> Pid {
    Pid::from_raw(number.try_into().unwrap()).unwrap()
}

/// Two documents, one other file, one ignored by git.
fn directory() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("sub")).unwrap();
    for (path, text) in [
        ("README.md", "# one two\nthree\n"),
        ("sub/b.md", "four"),
        ("sub/c.rs", "fn main() {}\n"),
        ("ignored.txt", "five"),
        (".gitignore", "/ignored.txt\n"),
    ] {
        std::fs::write(folder.path().join(path), text).unwrap();
    }
    folder
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Settings in which `word_count` is a shell script that gets the root as `$0`.
fn settings(folder: &Path, script: &str) -> PathBuf {
    let path = folder.join("redcall.toml");
    let command = json!(["/bin/sh", "-c", script]);
    let worker = "[worker]\ndrain_timeout = \"0s\"";
    std::fs::write(&path, format!("{worker}\n[jobs.word_count]\ncommand = {command}\n")).unwrap();
    path
}

/// A demo with a running job that never ends.
async fn in_the_middle(dir: &Path, folder: &Path) -> Child {
    let started = folder.join("started");
    let settings = settings(folder, "touch started; exec tail -f /dev/null");
    let child = example(&[text(dir), "--settings", text(&settings)]).spawn().unwrap();
    eventually("the job to start", async || started.exists().then_some(())).await;
    child
}

#[tokio::test]
async fn demo_counts_all_files_and_leaves_no_process() {
    let (redis, dir) = (TestRedis::start().await, directory());
    let client = Client::connect(&redis.url()).await.unwrap();
    let mut child =
        example(&[text(dir.path())]).env("REDIS_URL", redis.url()).spawn().expect("start");
    let status = timeout(PATIENCE, child.wait()).await.expect("the demo still runs").unwrap();
    // At once: drained workers are deregistered, and none has outlived its parent.
    for worker in client.inspect().workers().await.unwrap() {
        assert_eq!(test_kill_process(pid(worker.pid)), Err(Errno::SRCH), "{worker:?} still runs");
    }
    let (_, stdout, stderr) = ended(child).await;

    assert!(status.success(), "{stdout}{stderr}");
    for line in [
        "add: 1 + 2 = 3",
        "summarize: 4 files, 46 bytes, after 4 frames of progress",
        "4 files, 46 bytes; 5 words in 2 documents",
        "9 calls, 0 errors, ",
    ] {
        assert!(stdout.contains(line), "{line} is missing in:\n{stdout}");
    }
    let queues = client.inspect().queues().await.unwrap();
    assert!(queues.iter().all(|it| it.length + it.running + it.dead == 0), "{queues:?}");
}

#[tokio::test]
async fn demo_without_python_warns_once_and_succeeds() {
    let (redis, dir) = (TestRedis::start().await, directory());
    let empty = tempfile::tempdir().unwrap();
    for place in ["--workers=2", "--in-process"] {
        let mut command = example(&[text(dir.path()), place]);
        command.env("REDIS_URL", redis.url()).env("PATH", empty.path());
        let (code, stdout, stderr) = ended(command.spawn().unwrap()).await;
        assert_eq!(code, Some(0), "{stdout}{stderr}");
        assert_eq!(stderr.matches(WITHOUT_PYTHON).count(), 1, "{stderr}");
        assert!(stdout.contains("5 words in 2 documents"), "{stdout}");
    }
}

#[tokio::test]
async fn data_loss_warning_is_logged_once_except_for_private_redis() {
    const WARNING: &str = "Redis keeps nothing on disk";
    let (redis, dir) = (TestRedis::start().await, directory());
    for place in ["--workers=3", "--in-process"] {
        let mut command = example(&[text(dir.path()), place]);
        let command = command.env("REDIS_URL", redis.url()).spawn();
        let (code, stdout, stderr) = ended(command.unwrap()).await;
        assert_eq!(code, Some(0), "{stdout}{stderr}");
        assert_eq!(stderr.matches(WARNING).count(), 1, "{place}: {stderr}");

        let command = example(&[text(dir.path()), place]).spawn();
        let (code, stdout, stderr) = ended(command.unwrap()).await;
        assert_eq!(code, Some(0), "{stdout}{stderr}");
        assert!(!stderr.contains("WARN"), "{place}: {stderr}");
    }
}

#[tokio::test]
async fn failed_call_is_listed_and_fails_the_demo() {
    let (dir, folder) = (directory(), tempfile::tempdir().unwrap());
    let settings = settings(folder.path(), "exit 3");
    let command = example(&[text(dir.path()), "--settings", text(&settings)]).spawn();
    let (code, stdout, stderr) = ended(command.unwrap()).await;
    assert_eq!(code, Some(1), "{stdout}{stderr}");
    assert!(stdout.contains("9 calls, 2 errors"), "{stdout}");
    let complaint = "error: word_count sub/b.md: handler_failed: the command ended with";
    assert!(stderr.contains(complaint), "{stderr}");
}

#[tokio::test]
async fn workers_end_when_the_demo_is_killed() {
    let (dir, folder) = (directory(), tempfile::tempdir().unwrap());
    let child = in_the_middle(dir.path(), folder.path()).await;
    signal(&child, Signal::KILL);
    // Its private Redis has ended with it: the workers cannot deregister.
    ended(child).await;
}

#[tokio::test]
async fn interrupted_demo_ends_its_workers() {
    let (dir, folder) = (directory(), tempfile::tempdir().unwrap());
    let child = in_the_middle(dir.path(), folder.path()).await;
    signal(&child, Signal::INT);
    let (code, stdout, stderr) = ended(child).await;
    assert_eq!((code, stdout.as_str()), (Some(130), ""), "{stderr}");
}

#[tokio::test]
async fn worker_serves_only_its_root() {
    let (redis, dir) = (TestRedis::start().await, directory());
    let root = dir.path().join("sub");
    let mut worker = example(&["worker", "--root", text(&root)]);
    let worker = worker.env("REDIS_URL", redis.url()).spawn().unwrap();
    let client = Client::connect(&redis.url()).await.unwrap();

    let call = async |job: &str, data: Value| -> Result<Value, CallError> {
        client.call_and_wait(job, &data).await?.json()
    };
    let hashed = call("hash_file", json!({ "path": "b.md" })).await.unwrap();
    assert_eq!(hashed["bytes"], 4);
    for job in ["hash_file", "word_count", "word_count_builtin"] {
        for path in ["../README.md", text(&dir.path().join("README.md"))] {
            let error = call(job, json!({ "path": path })).await.unwrap_err();
            assert_eq!(error.code(), Code::HandlerFailed, "{job}: {error}");
            let refused = "leaves the directory that this worker serves";
            assert!(job == "word_count" || error.to_string().contains(refused), "{job}: {error}");
        }
    }
    // Without Python, both are the same and this check proves nothing.
    std::fs::write(root.join("odd"), b"a\xff b\r\n\xc3\xa4\xe2\x80\x83c\rd\n\ne").unwrap();
    for data in [json!({ "path": "odd" }), json!({ "text": "" }), json!({ "text": "a\nb c" })] {
        let built_in = call("word_count_builtin", data.clone()).await.unwrap();
        assert_eq!(call("word_count", data.clone()).await.unwrap(), built_in, "{data}");
    }

    signal(&worker, Signal::TERM);
    let (code, _, stderr) = ended(worker).await;
    assert_eq!(code, Some(0), "{stderr}");
}
