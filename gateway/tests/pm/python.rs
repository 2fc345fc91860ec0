//! Peers on the package json-rpc, the library of Pipeline Manager and its applications.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use redcall_client::Update;
use redcall_worker::{Json, Worker};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::support::Stage;

/// `peer.py`. Killed when dropped.
struct Python {
    _child: Child,
    commands: ChildStdin,
    events: Lines<BufReader<ChildStdout>>,
}

impl Python {
    /// Starts it; `None` if there is no Python.
    fn start(role: &str, address: &str) -> Option<Self> {
        // `cargo xtask test` makes it, and prints a line if it cannot.
        let python = PathBuf::from(std::env::var_os("REDCALL_PYTHON_PM")?);
        let (host, port) = address.rsplit_once(':').unwrap();
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/pm/peer.py");
        let mut command = Command::new(python);
        command.args([file, role, host, port]).kill_on_drop(true);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let commands = child.stdin.take().unwrap();
        let events = BufReader::new(child.stdout.take().unwrap()).lines();
        Some(Self { _child: child, commands, events })
    }

    async fn command(&mut self, command: Value) {
        self.commands.write_all(format!("{command}\n").as_bytes()).await.unwrap();
    }

    /// Waits for its next event of this kind; earlier ones are skipped.
    async fn event(&mut self, kind: &str) -> Value {
        let reading = async {
            loop {
                let line = self.events.next_line().await.unwrap().expect("an event");
                let event: Value = serde_json::from_str(&line).unwrap();
                if event["event"] == kind {
                    return event;
                }
            }
        };
        timeout(Duration::from_secs(20), reading).await.unwrap_or_else(|_| panic!("no {kind}"))
    }

    /// Sends a request in session `sid`, and returns its result or error.
    async fn call(&mut self, method: &str, params: Value, sid: &str) -> Value {
        self.command(json!({"call": method, "params": params, "id": 7, "sid": sid})).await;
        let message = self.event("answer").await["message"].take();
        assert_eq!(message["id"], 7);
        let name = if message["error"].is_null() { "result" } else { "error" };
        assert_eq!(message[name]["sid"], sid, "{message}");
        message[name][name].clone()
    }
}

fn jobs(worker: Worker) -> Worker {
    worker.handler("graph_get", async |Json(of): Json<Value>| {
        Json(json!({"dataflow": {"graphs": ["g1"]}, "of": of["of"]}))
    })
}

#[tokio::test]
async fn application_on_json_rpc_runs_jobs_and_asks_from_inside() {
    let stage = Stage::new().await;
    let client = stage.client().await;
    let _worker = stage.worker(jobs).await;
    let names = [
        "specification_get",
        "dataflow_run",
        "dataflow_export",
        "custom_echo",
        "custom_value",
        "custom_nope",
    ];
    let gateway = stage
        .gateway(&format!(
            "[gateways.apps]\nprotocol = \"pm\"\nlisten = \"127.0.0.1:0\"\n\
             serves = {names:?}\nqueues = [\"pm\"]\n"
        ))
        .await;
    let address = gateway.address("apps", "listen").to_string();
    let Some(mut python) = Python::start("connect", &address) else { return };
    python.event("connected").await;
    let call = |name: &str, data: Value| client.request(name).queue("pm").data(&data).wait();

    let answer = call("custom_echo", json!({"t": "zażółć", "n": 9_007_199_254_740_993_u64})).await;
    assert_eq!(answer.unwrap().data.get(), r#"{"n": 9007199254740993, "t": "zażółć"}"#);
    let answer = call("specification_get", json!(null)).await.unwrap();
    assert_eq!(answer.json::<Value>().unwrap()["content"]["version"], "20240723.13");
    // Its library writes false results as an empty object.
    for value in ["null", "0", "\"\"", "[]", "false"] {
        let answer = call("custom_value", json!({"json_text": value})).await.unwrap();
        assert_eq!(answer.data.get(), "{}", "{value}");
    }
    let failed = call("dataflow_export", json!({"a": 1})).await.unwrap_err();
    assert_eq!(failed.to_string(), "handler_failed: Something went very, very bad...");
    let unknown = call("custom_nope", json!({})).await.unwrap_err();
    assert_eq!(unknown.code(), redcall_client::Code::UnknownJob);

    // Progress, then a request under id 0, then the result.
    let data = json!({"dataflow": {"graphs": []}});
    let run = client.request("dataflow_run").queue("pm").data(&data);
    let mut stream = run.stream().await.unwrap();
    for percent in [0, 50, 100] {
        match stream.next().await.unwrap().unwrap() {
            Update::Progress(data) => assert_eq!(data.get(), format!(r#"{{"percent":{percent}}}"#)),
            other => panic!("{other:?}"),
        }
    }
    match stream.next().await.unwrap().unwrap() {
        Update::Done(answer) => {
            let content = json!({"dataflow": {"graphs": ["g1"]}, "of": {"graphs": []}});
            let wanted = json!({"type": 0, "content": content});
            assert_eq!(answer.json::<Value>().unwrap(), wanted);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn server_on_json_rpc_is_answered_with_progress() {
    let stage = Stage::new().await;
    let jobs = |worker: Worker| {
        worker.handler("dataflow_run", async |request: redcall_worker::Request| {
            for percent in [0, 100] {
                request.progress(&json!({"percent": percent})).await?;
            }
            Ok::<_, redcall_worker::HandlerError>(Json(json!({"graphs": ["g1"]})))
        })
    };
    let _worker = stage.worker(jobs).await;
    let client = stage.client().await;
    let Some(mut python) = Python::start("listen", "127.0.0.1:0") else { return };
    let port = python.event("listening").await["port"].clone();
    let door = format!(
        "[gateways.pm]\nprotocol = \"pm\"\nconnect = \"127.0.0.1:{port}\"\n\
         serves = [\"custom_sid\"]\nqueues = [\"browser\"]\n"
    );
    let gateway = stage.gateway(&door).await;
    python.event("connected").await;

    python.command(json!({"call": "dataflow_run", "params": {}, "id": 7, "sid": "S"})).await;
    for percent in [0, 100] {
        let message = python.event("notification").await["message"].take();
        assert_eq!(message["method"], "progress_change");
        assert_eq!(message["params"], json!({"method": "dataflow_run", "progress": percent}));
    }
    let answer = python.event("answer").await["message"].take();
    let typed = json!({"type": 0, "content": {"graphs": ["g1"]}});
    assert_eq!(answer["result"], json!({"sid": "S", "result": typed}));
    let unknown = python.call("custom_nope", json!({}), "S").await;
    assert_eq!(unknown, json!({"code": -32601, "message": "Method not found"}));
    let failed = python.call("fail", json!({"message": "out of paper"}), "S").await;
    assert_eq!(failed, json!({"code": -1, "message": "out of paper"}));

    // A job that the browser of the newest session runs.
    let answer = client.request("custom_sid").queue("browser").wait().await.unwrap();
    assert_eq!(answer.data.get(), r#"{"sid": "S"}"#);

    // The server restarts its link; another gateway is connected then.
    drop(gateway);
    python.event("closed").await;
    python.event("listening").await;
    let _second = stage.gateway(&door).await;
    python.event("connected").await;
    let answer = python.call("add", json!({"a": 1, "b": 1}), "T").await;
    assert_eq!(answer, json!({"answer": 2}));
}
