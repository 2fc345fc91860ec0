//! docs/reference/protocol.md's own Python client, and its signatures, run against a worker.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

use std::collections::BTreeMap;
use std::process::Command;

use redcall_common::auth::{Claims, Keyring};
use redcall_common::settings::{AuthKey, AuthSettings, Secret};
use redcall_tests::Bench;

use crate::support::root;

/// The calls with the client of the document.
const SCRIPT: &str = r#"
import sys
client = Client(sys.argv[1])
assert client.call_and_wait("add", {"a": 1, "b": 1}) == {"answer": 2}
assert len(client.call("echo", "data")) == 32
try:
    client.call_and_wait("fail", {"message": "on purpose"})
except RuntimeError as error:
    assert str(error) == "handler_failed: on purpose", error
else:
    raise SystemExit("no error frame came")
try:
    client.call_and_wait("echo", queue="absent", timeout=0.2)
except TimeoutError:
    print("all as the document says")
"#;

/// The calls with the signatures of the document, after the client's own code.
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

/// How many wait at once: above the cap of a connection pool.
const WAITS: usize = 150;

/// The calls with the Python client whose waits share a connection.
const PYTHON_WAITS: &str = r#"
import sys
others = redis.from_url(sys.argv[1])
def connections():
    # Those of workers have a name.
    return sum(one["name"] == "" for one in others.client_list())
before = connections()
client = Client(sys.argv[1])
count, big = int(sys.argv[2]), "x" * 20_000
slow = threading.Thread(target=client.call_and_wait, args=["sleep", {"ms": 60_000}], daemon=True)
slow.start()
answers = {}
def call(n):
    answers[n] = client.call_and_wait("echo", [n, big])
threads = [threading.Thread(target=call, args=[n]) for n in range(count)]
began = time.monotonic()
[thread.start() for thread in threads], [thread.join() for thread in threads]
assert answers == {n: [n, big] for n in range(count)}, len(answers)
assert time.monotonic() - began < 20, "a slow job holds up the others"
assert client.call_and_wait("add", {"a": 1, "b": 1}) == {"answer": 2}
try:
    client.call_and_wait("fail", {"message": "on purpose"})
except RuntimeError as error:
    assert str(error) == "handler_failed: on purpose", error
else:
    raise SystemExit("no error frame came")
# Messages during the disconnection are read from the key.
for one in others.client_list():
    if one.get("ssub", "0") != "0" and one["name"] == "":
        others.client_kill_filter(_id=one["id"])
assert client.call_and_wait("echo", 7) == 7
# An answer that is announced nowhere is found as well.
client.channel = f"{client.base}notify:elsewhere"
assert client.call_and_wait("echo", 8) == 8
assert len(client.waits) == 1, client.waits
now = connections()
assert now - before <= 3, f"{now - before} connections"
print("all as the document says")
"#;

/// The same for Node.
const NODE_WAITS: &str = r#"
const assert = require("node:assert");
(async () => {
  const client = new Client(process.argv[2]);
  const count = Number(process.argv[3]), big = "x".repeat(20000);
  const slow = client.callAndWait("sleep", { ms: 60000 }).catch(() => {});
  const began = Date.now();
  const calls = Array.from({ length: count }, (_, n) => client.callAndWait("echo", [n, big]));
  (await Promise.all(calls)).forEach((answer, n) => assert.deepStrictEqual(answer, [n, big]));
  assert(Date.now() - began < 20000, "a slow job holds up the others");
  assert.deepStrictEqual(await client.callAndWait("add", { a: 1, b: 1 }), { answer: 2 });
  const failed = client.callAndWait("fail", { message: "on purpose" });
  await assert.rejects(failed, { message: "handler_failed: on purpose" });
  // Messages during the disconnection are read from the key.
  const list = (await client.redis.client("LIST")).trim().split("\n");
  for (const line of list.filter((line) => / name= /.test(line) && !/ ssub=0 /.test(line)))
    await client.redis.client("KILL", "ID", /id=(\d+)/.exec(line)[1]);
  assert.strictEqual(await client.callAndWait("echo", 7), 7);
  // An answer that is announced nowhere is found as well.
  client.channel = `${client.base}notify:elsewhere`;
  assert.strictEqual(await client.callAndWait("echo", 8), 8);
  assert.strictEqual(client.waits.size, 1);
  console.log("all as the document says");
  client.close();
  process.exit(0);
})();
"#;

/// The document.
fn protocol() -> String {
    std::fs::read_to_string(root().join("docs/reference/protocol.md")).unwrap()
}

/// Returns the program of the document under this mark.
fn code<'a>(document: &'a str, mark: &str) -> &'a str {
    let (_, rest) = document.split_once(&format!("<!-- test:{mark} -->\n```")).unwrap();
    let (_, rest) = rest.split_once('\n').unwrap();
    rest.split_once("```\n").unwrap().0
}

/// Runs this program with `interpreter`; its output has to confirm the document.
async fn agrees(mut interpreter: Command, program: String, args: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("client.cjs");
    std::fs::write(&script, program).unwrap();
    interpreter.arg(script).args(args);
    let run = tokio::task::spawn_blocking(move || interpreter.output().unwrap());
    let output = run.await.unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    assert_eq!(out.trim(), "all as the document says");
}

/// Where the server of `bench` is, as redis-py reads it.
fn url(bench: &Bench) -> String {
    bench.redis.url().replace("redis+unix://", "unix://")
}
#[tokio::test]
async fn the_python_client_of_the_document_works() {
    let Some(python) = std::env::var_os("REDCALL_PYTHON") else {
        // `cargo xtask test` has printed a line about it; `.ci/run` does not accept it.
        return;
    };
    let document = protocol();
    let client = code(&document, "python-client");
    assert!(client.lines().count() <= 25, "{} lines", client.lines().count());
    let bench = Bench::new().await;
    let _worker = bench.worker().await;
    agrees(Command::new(python), format!("{client}{SCRIPT}"), &[&url(&bench)]).await;
}

#[tokio::test]
async fn waits_of_the_python_program_share_a_channel() {
    let Some(python) = std::env::var_os("REDCALL_PYTHON") else { return };
    let document = protocol();
    let client = code(&document, "python-waits");
    let bench = Bench::new().await;
    let _worker = bench.worker().await;
    let args = [&*url(&bench), &WAITS.to_string()];
    agrees(Command::new(python), format!("{client}{PYTHON_WAITS}"), &args).await;
}

#[tokio::test]
async fn waits_of_the_node_program_share_a_channel() {
    // A folder with ioredis, which `cargo xtask test` makes; `.ci/run` requires it.
    let Some(modules) = std::env::var_os("REDCALL_NODE_MODULES") else { return };
    let document = protocol();
    let client = code(&document, "node-waits");
    let bench = Bench::new().await;
    let _worker = bench.worker().await;
    let mut node = Command::new("node");
    node.env("NODE_PATH", modules);
    let socket = bench.redis.url().replace("redis+unix://", "");
    let args = [&*socket, &WAITS.to_string()];
    agrees(node, format!("{client}{NODE_WAITS}"), &args).await;
}

#[tokio::test]
async fn documented_signature_is_accepted_by_workers() {
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
    let program = format!("{client}{sign}{frames}{signed}");
    agrees(Command::new(python), program, &[&url(&bench)]).await;
}
