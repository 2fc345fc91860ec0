//! The real rq, in the versions for which there is a Python: callers and workers in the form of
//! python-rpc.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use redcall_client::Code;
use redcall_testkit::eventually;
use serde_json::{Value, json};

use crate::rq_redis::{DOOR, RqRedis};
use crate::support::Stage;

/// The versions of rq, with the names of their environments.
const VERSIONS: [(&str, &str, &str); 2] = [
    ("1.16.2", "REDCALL_PYTHON_RQ", "venv-rq"),
    ("0.10.0", "REDCALL_PYTHON_RQ_0_10", "venv-rq-0.10"),
];

const OUTWARD: &str = "
[gateways.to-python]
protocol = \"rq\"
serves = [\"add\", \"echo\", \"twice\", \"silent\", \"broken\"]
queues = [\"python\"]
timeout = \"20s\"
";

/// Returns the interpreters that `cargo xtask test` has prepared, else those that an earlier run
/// has left below the target directory.
pub(crate) fn pythons() -> Vec<(&'static str, PathBuf)> {
    let mut found = Vec::new();
    for (version, variable, folder) in VERSIONS {
        let named = std::env::var_os(variable).map(PathBuf::from);
        let made =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join("..").join(folder).join("bin/python");
        match named.or_else(|| made.exists().then_some(made)) {
            Some(python) => found.push((version, python)),
            None => eprintln!("skipped: there is no Python with rq {version}"),
        }
    }
    found
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rq/python")
}

/// The address of a stage's Redis, as redis-py writes it.
pub(crate) fn address(stage: &Stage) -> String {
    stage.redis.url().replace("redis+unix://", "unix://")
}

/// Runs the caller of `python`; returns the JSON that it prints.
async fn call(python: &Path, stage: &Stage, args: [&str; 4]) -> Value {
    let mut command = Command::new(python);
    command.arg(scripts().join("caller.py")).arg(address(stage));
    command.args(args.iter().filter(|arg| !arg.is_empty()));
    let ended: Output =
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(ended.status.success(), "{ended:?}");
    serde_json::from_slice(&ended.stdout).unwrap()
}

/// An rq worker with handlers. Killed when dropped.
struct RqWorker(Child);

impl RqWorker {
    fn start(python: &Path, stage: &Stage) -> Self {
        let program = python.with_file_name("rq");
        let mut command = Command::new(program);
        command.args(["worker", "-u", &address(stage), "high", "default"]);
        command.current_dir(scripts()).env("PYTHONPATH", scripts());
        command.env("PYTHONDONTWRITEBYTECODE", "1").env("RQ_REDIS_URL", address(stage));
        command.env("LC_ALL", "C.UTF-8").env("LANG", "C.UTF-8");
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for RqWorker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn callers_of_rq_are_answered_by_our_worker() {
    for (version, python) in pythons() {
        let stage = Stage::new().await;
        let _worker = stage.worker(|worker| worker).await;
        let _gateway = stage.gateway(DOOR).await;
        let answer =
            call(&python, &stage, ["default", "add", "{\"a\": 1, \"b\": 1}", "wait"]).await;
        assert_eq!(answer, json!({"answer": 2}), "rq {version}");
        let data = "{\"text\": \"za\\u017c \\ud83d\\ude00\", \"big\": 1180591620717411303424}";
        let answer = call(&python, &stage, ["high", "echo", data, "wait"]).await;
        assert_eq!(answer, serde_json::from_str::<Value>(data).unwrap(), "rq {version}");
        let id = call(&python, &stage, ["low", "add", "{\"a\": 3, \"b\": 4}", ""]).await;
        let mut rq = RqRedis::of(&stage).await;
        rq.ends(id.as_str().unwrap(), "finished").await;
        let answer = call(&python, &stage, ["low", "missing", "{}", "wait"]).await;
        assert_eq!(answer["error"]["code"], "unknown_job", "rq {version}");
    }
}

#[tokio::test]
async fn workers_of_rq_answer_our_callers() {
    for (version, python) in pythons() {
        let stage = Stage::new().await;
        let _gateway = stage.gateway(OUTWARD).await;
        let _worker = RqWorker::start(&python, &stage);
        let client = stage.client().await;
        let call = async |name: &str, data: Value| {
            let request = client.request(name).data(&data).queue("python");
            request.wait().await?.json::<Value>()
        };
        let sum = call("add", json!({"a": 20, "b": 22})).await.unwrap();
        assert_eq!(sum, json!({"answer": 42}), "rq {version}");
        let data = json!({"t": "zażółć 😀 \u{0}", "n": [1.5, null, true, -7], "o": {"": {}}});
        assert_eq!(call("echo", data.clone()).await.unwrap(), data, "rq {version}");
        assert_eq!(call("echo", Value::Null).await.unwrap(), json!({}), "rq {version}");
        // The first answer counts.
        assert_eq!(call("twice", json!({})).await.unwrap(), json!({"answer": 1}), "rq {version}");
        for name in ["silent", "broken"] {
            let request = client.request(name).queue("python");
            let request = request.timeout(std::time::Duration::from_secs(2));
            assert_eq!(request.wait().await.unwrap_err().code(), Code::DeadlineExceeded, "{name}");
        }
        // The worker goes on.
        let sum = call("add", json!({"a": 1, "b": 1})).await.unwrap();
        assert_eq!(sum, json!({"answer": 2}), "rq {version}");
    }
}

#[tokio::test]
async fn job_without_an_rq_worker_is_run_by_the_next() {
    for (version, python) in pythons() {
        let stage = Stage::new().await;
        let _gateway = stage.gateway(OUTWARD).await;
        let client = stage.client().await;
        let worker = RqWorker::start(&python, &stage);
        let mut rq = RqRedis::of(&stage).await;
        eventually("the worker of rq", async || {
            (!rq.keys("rq:worker:").await.is_empty()).then_some(())
        })
        .await;
        drop(worker);
        // Queued while there is no worker; the next one takes it.
        let request = client.request("add").data(&json!({"a": 1, "b": 2})).queue("python");
        let calling = tokio::spawn(async move { request.wait().await?.json::<Value>() });
        eventually("the job in the queue", async || {
            (rq.ttl("rq:queue:default").await == -1).then_some(())
        })
        .await;
        let _worker = RqWorker::start(&python, &stage);
        assert_eq!(calling.await.unwrap().unwrap(), json!({"answer": 3}), "rq {version}");
    }
}
