//! PROTOCOL.md's own Python client, and its signatures, run against a worker.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use redcall_common::auth::{Claims, Keyring};
use redcall_common::settings::{AuthKey, AuthSettings, Secret};
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

/// What is called with the signatures of the document, after the client's own code.
const SIGNED: &str = r#"
import sys
client = Client(sys.argv[1])
secret = "0123456789abcdef0123456789abcdef"
def call(id, change=None):
    key = "redcall:{default}:response:" + id
    request = {"id": id, "name": "echo", "data": {"to": ["größe", {}]}, "response_key": key,
               "headers": {"b": "1", "a": "ö"}, "budget_ms": 20000}
    seconds, micros = client.redis.time()
    request["auth"] = sign(request, "default", "web", secret, seconds * 1000 + 60000)
    request.update(change or {})
    client.redis.rpush("redcall:{default}:queue", json.dumps(request))
    raw = client.redis.blpop(key, timeout=20)[1]
    frame = json.loads(raw)
    if "data" in frame:
        assert is_trusted(raw, request, "web", secret), raw
        assert not is_trusted(raw, request, "batch", secret)
        assert not is_trusted(raw, request, "web", secret[::-1])
        assert not is_trusted(raw.replace(b'"seq":', b'"seq":1'), request, "web", secret)
    return frame.get("data") or frame["error"]["code"]
assert call("x1") == {"to": ["größe", {}]}
order = {"name": "add", "idempotency_key": "order 7"}
assert call_digest(order) == hashlib.sha256(b"add\norder 7").hexdigest()
assert call_digest(order, "web") == WEB, call_digest(order, "web")
assert call("x2", {"data": "another"}) == "unauthorized"
assert call("x3", {"auth": None}) == "unauthorized"
print("all as the document says")
"#;

/// The document.
fn protocol() -> String {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../PROTOCOL.md");
    std::fs::read_to_string(document).unwrap()
}

/// The Python of the document that stands under this mark.
fn code<'a>(document: &'a str, mark: &str) -> &'a str {
    let (_, rest) = document.split_once(&format!("<!-- test:{mark} -->\n```python\n")).unwrap();
    rest.split_once("```\n").unwrap().0
}

/// Runs this program, which has to say that all is as the document says.
async fn agrees(python: OsString, bench: &Bench, program: String) {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("client.py");
    std::fs::write(&script, program).unwrap();
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

#[tokio::test]
async fn the_python_client_of_the_document_works() {
    let Some(python) = std::env::var_os("REDCALL_PYTHON") else {
        // `cargo xtask test` has said so in a line of its own; `.ci/run` does not let it pass.
        return;
    };
    let document = protocol();
    let client = code(&document, "python-client");
    assert!(client.lines().count() <= 25, "{} lines", client.lines().count());
    let bench = Bench::new().await;
    let _worker = bench.worker().await;
    agrees(python, &bench, format!("{client}{SCRIPT}")).await;
}

#[tokio::test]
async fn the_signature_of_the_document_is_what_workers_accept() {
    let document = protocol();
    let secret = Secret::new("0123456789abcdef0123456789abcdef");
    let key = AuthKey { secret, jobs: vec!["*".to_owned()] };
    let (keys, sign_with) = ([("web".to_owned(), key)].into(), Some("web".to_owned()));
    let auth = AuthSettings { keys, sign_with, required: true };
    let token = Keyring::new(&auth).sign(&Claims {
        id: "x1",
        name: "add",
        queue: "default",
        data: r#"{"a": 1, "b": 2}"#,
        response_key: Some("redcall:{default}:response:x1"),
        notify: None,
        idempotency_key: None,
        headers: &BTreeMap::from([("to".to_owned(), "größe".to_owned())]),
        budget_ms: Some(30_000),
        expires_at: 1_763_683_200_000,
    });
    let (_, rest) = document.split_once("<!-- test:sig -->`").unwrap();
    assert_eq!(rest.split_once('`').unwrap().0, token.unwrap().sig);
    let Some(python) = std::env::var_os("REDCALL_PYTHON") else { return };
    let mut bench = Bench::new().await;
    bench.settings.auth = Some(auth);
    let _worker = bench.worker().await;
    let client = code(&document, "python-client");
    let (sign, frames) = (code(&document, "python-sign"), code(&document, "python-frames"));
    let web = redcall_common::digest::of_call("add", "order 7", Some("web"));
    let signed = SIGNED.replace("WEB", &format!("\"{web}\""));
    agrees(python, &bench, format!("{client}{sign}{frames}{signed}")).await;
}
