//! PROTOCOL.md's own Python client, run against a worker.

use std::path::Path;
use std::process::Command;

use redcall_tests::Bench;

/// What is called with the client of the document.
const SCRIPT: &str = r#"
import sys
client = Client(sys.argv[1])
assert client.call_and_wait("add", {"a": 1, "b": 1}) == {"answer": 2}
assert len(client.call("echo", "let go")) == 32
try:
    client.call_and_wait("fail", {"message": "on purpose"})
except RuntimeError as error:
    assert str(error) == "handler_failed: on purpose", error
else:
    raise SystemExit("no error frame came")
try:
    client.call_and_wait("echo", queue="nobody", timeout=0.2)
except TimeoutError:
    print("all as the document says")
"#;

#[tokio::test]
async fn the_python_client_of_the_document_works() {
    let Some(python) = std::env::var_os("REDCALL_PYTHON") else {
        // `cargo xtask test` has said so in a line of its own; `.ci/run` does not let it pass.
        return;
    };
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../PROTOCOL.md");
    let document = std::fs::read_to_string(document).unwrap();
    let (_, rest) = document.split_once("<!-- test:python-client -->\n```python\n").unwrap();
    let (client, _) = rest.split_once("```\n").unwrap();
    assert!(client.lines().count() <= 25, "{} lines", client.lines().count());
    let bench = Bench::new().await;
    let _worker = bench.worker().await;
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("client.py");
    std::fs::write(&script, format!("{client}{SCRIPT}")).unwrap();
    let url = bench.redis.url().replace("redis+unix://", "unix://");
    let run = tokio::task::spawn_blocking(move || {
        Command::new(python).arg(script).arg(url).output().unwrap()
    });
    let output = run.await.unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    assert_eq!(out.trim(), "all as the document says");
}
