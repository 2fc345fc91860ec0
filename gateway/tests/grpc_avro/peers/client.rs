//! A client of real `grpcio`: `client.py`, driven by lines of JSON.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

/// Longer than any wait of a test that passes.
const TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) const INIT: &str = "/templateaapi.TemplateInit/initTemplate";
pub(crate) const MONITOR: &str = "/templateaapi.TemplateMonitor/monitorTemplate";
pub(crate) const CALL: &str = "/templateaapi.TemplateCall/callTemplate";

/// The process of a client with one channel. Killed when dropped.
pub(crate) struct GrpcClient {
    _child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl GrpcClient {
    /// Connects to a door; the schemas are those of the vectors.
    pub(crate) fn of(python: &Path, address: SocketAddr) -> Self {
        let schema = vectors().join("TemplateInput.avsc");
        Self::start(python, &address.to_string(), [&schema, &schema], &[])
    }

    pub(crate) fn start(
        python: &Path,
        target: &str,
        schemas: [&Path; 2],
        certificates: &[PathBuf],
    ) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/grpc_avro/peers/client.py");
        let mut child = Command::new(python)
            .arg(script)
            .arg(target)
            .args(schemas)
            .args(certificates)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { _child: child, input, output: BufReader::new(output).lines() }
    }

    /// Begins a call.
    pub(crate) async fn begin(&mut self, call: Value) {
        self.input.write_all(format!("{call}\n").as_bytes()).await.unwrap();
    }

    /// The next line of the call: a message, or its end.
    pub(crate) async fn next(&mut self) -> Value {
        let line = timeout(TIMEOUT, self.output.next_line()).await;
        let line = line.expect("a line in time").unwrap().expect("the client goes on");
        serde_json::from_str(&line).unwrap()
    }

    /// The record of the next message.
    #[track_caller]
    pub(crate) fn record(&mut self) -> impl Future<Output = Value> {
        let caller = std::panic::Location::caller();
        async move {
            let next = self.next().await;
            assert!(next["record"].is_object(), "{caller}: {next}");
            next["record"].clone()
        }
    }

    /// The state of the next message.
    pub(crate) async fn state(&mut self) -> String {
        let next = self.next().await;
        next["record"]["status"].as_str().unwrap_or_else(|| panic!("{next}")).to_owned()
    }

    /// The code that ends the call.
    pub(crate) async fn code(&mut self) -> String {
        let next = self.next().await;
        next["code"].as_str().unwrap_or_else(|| panic!("{next}")).to_owned()
    }

    /// Makes a call; returns the states of its messages, and its code.
    pub(crate) async fn states(&mut self, call: Value) -> (Vec<String>, String) {
        self.begin(call).await;
        let mut states = Vec::new();
        loop {
            let next = self.next().await;
            if let Some(code) = next["code"].as_str() {
                return (states, code.to_owned());
            }
            states.push(next["record"]["status"].as_str().unwrap().to_owned());
        }
    }

    /// Makes a call that must end without a message; returns its code and details.
    pub(crate) async fn refused(&mut self, call: Value) -> (String, String) {
        self.begin(call).await;
        let end = self.next().await;
        assert!(end["code"].is_string(), "{end}");
        (end["code"].as_str().unwrap().to_owned(), end["details"].as_str().unwrap().to_owned())
    }

    /// Begins a job; returns its id.
    pub(crate) async fn init(&mut self) -> String {
        self.begin(json!({"path": INIT, "record": record(false)})).await;
        let id = self.record().await["hash"].as_str().unwrap().to_owned();
        assert_eq!(self.code().await, "OK");
        id
    }
}

/// The folder of the vectors.
pub(crate) fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/grpc_avro")
}

/// A record that begins a job.
pub(crate) fn record(follow: bool) -> Value {
    json!({
        "hash": null, "id": null, "task": "SYMBOL1", "status": null,
        "task_args": {
            "ingest": null, "ingest_type": "metadata", "daterange": "2023-03-07",
            "persistence": follow,
        },
    })
}

/// A call that monitors a job.
pub(crate) fn monitor(id: &str, follow: bool) -> Value {
    let record = json!({
        "hash": id, "id": null, "task": "MONITOR", "status": null,
        "task_args": {
            "ingest": null, "ingest_type": null, "daterange": null, "persistence": follow,
        },
    });
    json!({"path": MONITOR, "record": record})
}
