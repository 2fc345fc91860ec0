//! A worker whose settings file changes while it runs.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

use redcall_client::{Client, Code};
use redcall_testkit::eventually;
use redcall_tests::Bench;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Logged, SettingsFile};

const ADD: &str = "[jobs.add]\nhandler = 'builtin:add'\n";
const PLUS: &str = "[jobs.plus]\nhandler = 'builtin:add'\n";

/// A real worker, its settings file, and its callers.
struct Stage {
    worker: Logged,
    file: SettingsFile,
    client: Client,
    bench: Bench,
}

impl Stage {
    /// A worker with the mapping `jobs`, after it reported readiness.
    async fn new(jobs: &str) -> Self {
        let bench = Bench::new().await;
        let file = SettingsFile::new(jobs);
        let mut env = bench.environment();
        env.retain(|key, _| !key.starts_with("REDCALL__JOBS__"));
        let worker = Logged::start("redcall-worker", &["--settings", file.arg()], &env);
        worker.line(" ready ").await;
        let client = bench.client().await;
        Self { worker, file, client, bench }
    }

    /// Writes other settings and signals the worker, which reads them a little later.
    fn now_has(&self, jobs: &str) {
        std::fs::write(&self.file.path, jobs).unwrap();
        self.worker.signal(Signal::HUP);
    }

    /// Waits until callers can see that it maps just these.
    async fn maps(&self, names: &[&str]) {
        eventually("the worker to map other jobs", async || {
            self.bench.workers().await.iter().any(|worker| worker.jobs == names).then_some(())
        })
        .await;
    }

    /// The sum, or why there is none.
    async fn add(&self, name: &str) -> Result<String, Code> {
        let answer = self.client.call_and_wait(name, &json!({"a": 1, "b": 2})).await;
        answer.map(|answer| answer.data.get().to_owned()).map_err(|error| error.code())
    }
}

fn three() -> Result<String, Code> {
    Ok(r#"{"answer":3}"#.to_owned())
}

#[tokio::test]
async fn new_names_work_and_removed_ones_are_unknown() {
    let stage = Stage::new(ADD).await;
    assert_eq!(stage.add("add").await, three());
    assert_eq!(stage.add("plus").await, Err(Code::UnknownJob));
    stage.now_has(PLUS);
    let line = stage.worker.line("reloaded the jobs").await;
    assert!(line.contains(r#"jobs=1 new=["plus"] gone=["add"]"#), "{line}");
    stage.maps(&["plus"]).await;
    assert_eq!(stage.add("plus").await, three());
    assert_eq!(stage.add("add").await, Err(Code::UnknownJob));
}

#[tokio::test]
async fn running_job_is_unaffected_by_a_reload() {
    let waits = "[jobs.waits]\ncommand = ['sh', '-c', \
                 'echo > runs; until test -e go; do :; done; echo 7']";
    let stage = Stage::new(waits).await;
    let call = stage.client.request("waits").data(&Value::Null).submit().await.unwrap();
    eventually("the job to run", async || stage.file.dir().join("runs").exists().then_some(()))
        .await;
    stage.now_has(PLUS);
    stage.maps(&["plus"]).await;
    assert_eq!(stage.add("plus").await, three());
    std::fs::write(stage.file.dir().join("go"), "").unwrap();
    assert_eq!(call.wait().await.unwrap().data.get(), "7");
}

#[tokio::test]
async fn a_job_may_change_its_handler() {
    let stage = Stage::new("[jobs.one]\ncommand = ['echo', '1']").await;
    assert_eq!(stage.add("one").await, Ok("1".to_owned()));
    stage.now_has("[jobs.one]\ncommand = ['echo', '2']");
    stage.worker.line("reloaded the jobs").await;
    // The mapping is changed before the log line; the dispatcher is notified just after.
    eventually("the other handler to answer", async || {
        (stage.add("one").await == Ok("2".to_owned())).then_some(())
    })
    .await;
}

#[tokio::test]
async fn invalid_settings_change_nothing_and_are_logged() {
    let stage = Stage::new(ADD).await;
    let file = stage.file.path.display();
    for (text, why) in [
        ("[jobs.add", format!("error={file}: is not valid TOML")),
        ("[jobs.add]\nhandle = 'x'", format!("error={file}: jobs.add.handle: ")),
        (
            "[jobs.add]\nhandler = 'builtin:nope'",
            format!("error={file}: jobs.add.handler: unknown handler `builtin:nope`"),
        ),
        ("[jobs.other]\ncommand = ['./missing']", format!("error={file}: jobs.other.command: `")),
    ] {
        stage.now_has(text);
        let line = stage.worker.line(&why).await;
        assert!(line.contains("keeping the present ones") && line.contains("ERROR"), "{line}");
        assert_eq!(stage.add("add").await, three());
    }
    stage.now_has(PLUS);
    stage.maps(&["plus"]).await;
    assert_eq!(stage.add("plus").await, three());
}

#[tokio::test]
async fn of_two_signals_in_a_row_the_later_one_counts() {
    let stage = Stage::new(ADD).await;
    let worker = stage.bench.workers().await.remove(0).id;
    for _ in 0..5 {
        stage.now_has(PLUS);
        stage.now_has(ADD);
        stage.now_has(&format!("{ADD}{PLUS}"));
        stage.maps(&["add", "plus"]).await;
        assert_eq!((stage.add("add").await, stage.add("plus").await), (three(), three()));
        stage.now_has(ADD);
        stage.maps(&["add"]).await;
    }
    let workers = stage.bench.workers().await;
    assert_eq!((workers.len(), &workers[0].id), (1, &worker));
}

#[tokio::test]
async fn without_a_file_nothing_changes() {
    let bench = Bench::new().await;
    let worker = Logged::start("redcall-worker", &[], &bench.environment());
    worker.line(" ready ").await;
    worker.signal(Signal::HUP);
    worker.line("the worker has no settings file to reload").await;
    let answer = bench.client().await.call_and_wait("echo", &1).await.unwrap();
    assert_eq!(answer.data.get(), "1");
}
