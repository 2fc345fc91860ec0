//! bgpy's own client from PyPI, unmodified, with bgpy's own tasks behind the gateway, as
//! `docs/guide/gateway-bgpy.md` shows.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;

use crate::client::TOKEN;
use crate::support::Stage;

const PAGE: &str = include_str!("../../../docs/guide/gateway-bgpy.md");
const HELPER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../python/redcall_process.py");

/// Returns the Python that `cargo xtask test` provides, which has bgpy.
fn python() -> Option<OsString> {
    std::env::var_os("REDCALL_PYTHON_BGPY")
}

/// Returns block `number` of the page's code in `language`.
fn block(language: &str, number: usize) -> String {
    let fence = format!("```{language}\n");
    let block = PAGE.split(&fence).nth(number + 1).expect("the block");
    block.split("```").next().unwrap().to_owned()
}

/// The folder of the page: settings, adapter, token.
fn write_page(stage: &Stage, python: &OsString) -> String {
    stage.write("bgpy.token", format!("{TOKEN}\n"));
    stage.write("bgpy_service.py", block("python", 0));
    let settings = block("toml", 0);
    let settings = settings.replace("127.0.0.1:54321", "127.0.0.1:0");
    let settings = settings.replace("\"python3\"", &format!("{:?}", python.to_str().unwrap()));
    settings.replace("redcall_process.py", HELPER)
}

/// `redcall-worker`, killed when dropped.
struct Worker(Child);

impl Worker {
    /// Starts it with the settings file of the stage.
    fn start(stage: &Stage) -> Self {
        let test = std::env::current_exe().unwrap();
        let program = test.ancestors().nth(2).unwrap().join("redcall-worker");
        assert!(program.exists(), "run `cargo build --workspace` first");
        let mut command = Command::new(program);
        command.arg("--settings").arg(stage.folder().join("redcall.toml"));
        command.current_dir(stage.folder()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A Python program that does a step per line that it is given, and prints a line of JSON for each.
struct Steps {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// Reads expressions and prints their values. INFO lines of bgpy's log go elsewhere.
const STEPS: &str = r#"
import json, sys
from bgpy import Client
from bgpy.example.tasks import exec_task, exit_task, init_task

def client(port, token):
    return Client(host="127.0.0.1", port=port, token=token, log_level="CRITICAL")

for line in sys.stdin:
    print(json.dumps(eval(line)), flush=True)
"#;

impl Steps {
    fn start(python: &OsString, folder: &Path) -> Self {
        let mut command = Command::new(python);
        command.arg("-c").arg(STEPS).current_dir(folder).env_remove("BGPY_TOKEN");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, input, output: BufReader::new(output) }
    }

    /// Evaluates a call of the client at `address`, such as `execute({})`.
    fn call(&mut self, address: SocketAddr, token: &str, call: &str) -> Value {
        let port = address.port();
        writeln!(self.input, "client({port}, {token:?}).{call}").unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{call}: {line:?}: {error}"))
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs blocking steps alongside the async harness.
async fn blocking<T: Send + 'static>(steps: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(steps).await.unwrap()
}

fn message(text: &str) -> Value {
    serde_json::json!({"message": text, "await_response": false})
}

fn receipt(name: &str) -> Value {
    serde_json::json!({"message": format!("Received '{name}'")})
}

#[tokio::test(flavor = "multi_thread")]
async fn page_runs_as_it_is_written() {
    let Some(python) = python() else { return };
    let stage = Stage::new().await;
    let gateway = stage.program(&write_page(&stage, &python));
    let _worker = Worker::start(&stage);
    let address = gateway.address("counter", "listen").await;
    let client = block("python", 1).replace("54321", &address.port().to_string());
    let mut command = Command::new(&python);
    command.arg("-c").arg(&client).current_dir(stage.folder()).env_remove("BGPY_TOKEN");
    let output = blocking(move || command.output().unwrap()).await;
    let printed = String::from_utf8(output.stdout).unwrap();
    let expected = client.lines().last().unwrap().strip_prefix("# ").unwrap();
    assert_eq!(
        printed.lines().last(),
        Some(expected),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_ends_with_910_although_worker_and_gateway_are_killed() {
    let Some(python) = python() else { return };
    let stage = Stage::new().await;
    let settings = write_page(&stage, &python);
    let gateway = stage.program(&settings);
    let worker = Worker::start(&stage);
    let address = gateway.address("counter", "listen").await;
    let mut steps = Steps::start(&python, stage.folder());

    let mut steps = blocking(move || {
        let tasks = "initialize(init_task, exec_task, exit_task)";
        assert_eq!(steps.call(address, "wrong", tasks), message("Invalid client authentication."));
        assert_eq!(steps.call(address, TOKEN, tasks), message("Initialization successful."));
        assert_eq!(steps.call(address, TOKEN, tasks), message("Already initialized."));
        let increase = "execute({'command': 'increase', 'value_change': 10})";
        assert_eq!(steps.call(address, TOKEN, increase), receipt("EXEC"));
        drop(worker); // SIGKILL
        let decrease = "execute({'command': 'decrease', 'value_change': 100})";
        assert_eq!(steps.call(address, TOKEN, decrease), receipt("EXEC"));
        steps
    })
    .await;

    // A receipted call is not lost with the gateway either.
    gateway.signal(Signal::KILL);
    drop(gateway);
    let gateway = stage.program(&settings);
    let address = gateway.address("counter", "listen").await;
    let _worker = Worker::start(&stage);
    let ended = blocking(move || steps.call(address, TOKEN, "terminate(await_response=True)"));
    let expected = serde_json::json!({
        "request_count": 3, "value": 910, "status": "Exited.", "await_response": false,
    });
    assert_eq!(ended.await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn client_gets_errors_and_any_plain_data() {
    let Some(python) = python() else { return };
    let (_stage, _worker, _gateway, address) = crate::service::start("").await;
    let folder: PathBuf = std::env::temp_dir();
    let mut steps = Steps::start(&python, &folder);
    blocking(move || {
        let init = "initialize(init_task, exec_task, exit_task)";
        let not_yet = serde_json::json!({
            "message": "Not yet initialized.", "code": "conflict", "await_response": false,
        });
        let call = |members: &str| format!("execute({{{members}}}, await_response=True)");
        assert_eq!(steps.call(address, TOKEN, &call("")), not_yet);
        assert_eq!(steps.call(address, TOKEN, "execute({})"), message("Not yet initialized."));
        assert_eq!(steps.call(address, TOKEN, init), message("Initialization successful."));
        let values = "['zażółć \\x00 \\U0001F600', [2**70, -2**70, 1.5, 1e-7, -0.0], \
                      {'': {}, 1: None}, (True,)]";
        let echo = call(&format!("'command': 'echo', 'x': {values}"));
        let echoed = steps.call(address, TOKEN, &echo);
        let expected = serde_json::json!([
            "zażółć \0 😀", [1_180_591_620_717_411_303_424_f64, -1_180_591_620_717_411_303_424_f64,
            1.5, 1e-7, -0.0], {"": {}, "1": null}, [true],
        ]);
        assert_eq!(echoed["echo"], expected);
        let failed = steps.call(address, TOKEN, &call("'command': 'fail'"));
        assert_eq!(failed["message"], "the task failed");
        // Bytes are not plain: as a receipt, and as an answer.
        for waits in ["True", "False"] {
            let bytes = format!("execute({{'x': b'x'}}, await_response={waits})");
            let refused = steps.call(address, TOKEN, &bytes);
            assert!(refused["message"].as_str().unwrap().starts_with("instruction"), "{refused}");
        }
        // More than one receive of the client.
        let long = steps.call(address, TOKEN, &call("'command': 'echo', 'x': 'x' * 100000"));
        assert_eq!(long["echo"].as_str().unwrap().len(), 100_000);
    })
    .await;
}

/// Two programs, each in a language of its own.
#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_serve_one_service_to_many_clients() {
    let Some(python) = python() else { return };
    let stage = Stage::new().await;
    let _worker = crate::service::worker(&stage).await;
    // One after the other: both read the same file.
    let (mut gateways, mut addresses) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        let gateway = stage.program(&crate::service::door(""));
        addresses.push(gateway.address("counter", "listen").await);
        gateways.push(gateway);
    }
    let folder = stage.folder().to_owned();
    let mut steps = Steps::start(&python, &folder);
    let (first, second) = (addresses[0], addresses[1]);
    let init = "initialize(init_task, exec_task, exit_task)";
    let mut steps = blocking(move || {
        assert_eq!(steps.call(first, TOKEN, init), message("Initialization successful."));
        assert_eq!(steps.call(second, TOKEN, init), message("Already initialized."));
        steps
    })
    .await;
    let callers = (0..8).map(|caller| {
        let (address, python, folder) = (addresses[caller % 2], python.clone(), folder.clone());
        blocking(move || {
            let mut steps = Steps::start(&python, &folder);
            for _ in 0..3 {
                let add = "execute({'command': 'add', 'value_change': 1}, await_response=True)";
                assert!(steps.call(address, TOKEN, add)["answer"].is_i64());
            }
        })
    });
    futures_util::future::join_all(callers).await;
    let ended = blocking(move || steps.call(second, TOKEN, "terminate(await_response=True)"));
    assert_eq!(ended.await, serde_json::json!({"n": 24, "await_response": false}));
}
