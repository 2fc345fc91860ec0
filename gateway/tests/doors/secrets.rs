//! The log at its most verbose level: no data, no tokens, no passwords, of calls that succeed and
//! of those that are refused.

use std::path::Path;

use redcall_gateway::zmtp::wire::{SocketType, encode};
use redcall_testkit::redis::cmd;
use redcall_worker::{HandlerError, Json, Last, Next, ServiceRequest, Worker};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

use crate::bgpy_client::{self, Client as Bgpy, TOKEN, kind};
use crate::client::{CALL, INIT};
use crate::pm_peer::{Peer, framed};
use crate::raw::{connect, exchange, message_of, request};
use crate::rq_redis::{RqRedis, call, uuid};
use crate::support::{Program, Stage};
use crate::zmtp_peers::{Raw, closes};

/// In all data that pass through a door.
const SECRET: &str = "s3cr3t-d4t4";
/// Of the user at rq's Redis.
const PASSWORD: &str = "s3cr3t-p4ssw0rd";
/// Of the key that signs.
const KEY: &str = "s3cr3t-k3y-0123456789abcdefghijklmnopqr";

fn settings(url: &str, device: &str) -> String {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/grpc_avro");
    let schema = vectors.join("TemplateInput.avsc").display().to_string();
    format!(
        r#"
[log]
format = "json"
level = "trace"
[auth]
required = false
[auth.keys.own]
secret = "{KEY}"
[gateways.rq]
protocol = "rq"
url = "{url}"
take = ["default"]
serves = ["sent"]
queues = ["rq"]
to = "workers"
sign_with = "own"
[gateways.pm]
protocol = "pm"
listen = "127.0.0.1:0"
serves = ["asked"]
queues = ["pm"]
[gateways.zmtp]
protocol = "zmtp"
listen_commands = ["127.0.0.1:0"]
listen_events = ["127.0.0.1:0"]
connect_events = ["{device}"]
queue = "default"
others = "command."
commands = {{ 100 = "same", 101 = "fails" }}
[gateways.bgpy]
protocol = "bgpy"
listen = "127.0.0.1:0"
service = "counter"
token = "{TOKEN}"
[gateways.grpc]
protocol = "grpc-avro"
listen = "127.0.0.1:0"
[gateways.grpc.methods.init]
path = "{INIT}"
does = "init"
request = "{schema}"
key = "hash"
status = "status"
follow = "task_args.persistence"
job = "same"
[gateways.grpc.methods.call]
path = "{CALL}"
does = "call"
job = "same"
request = "{schema}"
response = "{schema}"
"#
    )
}

fn jobs(worker: Worker) -> Worker {
    let worker = worker.handler("same", async |Json(data): Json<Value>| Json(data));
    let worker = worker.handler("init", async |request: ServiceRequest<(), Value>| Next {
        state: request.args.clone(),
        answer: request.args,
    });
    let worker = worker.handler("execute", async |request: ServiceRequest<Value, Value>| Next {
        state: request.args.clone(),
        answer: request.args,
    });
    let worker = worker.handler("exit", async |request: ServiceRequest<Value, Value>| Last {
        answer: request.args,
    });
    worker.handler("fails", async |Json(data): Json<Value>| -> Result<Json<()>, HandlerError> {
        Err(HandlerError::new("it failed").data(&data))
    })
}

async fn through_rq(program: &Program, stage: &Stage) {
    let mut rq = RqRedis::of(stage).await;
    for (name, data) in [("same", SECRET), ("fails", SECRET), ("unknown", SECRET)] {
        let key = rq.call("default", name, &json!(data).to_string()).await;
        rq.answer(&key).await;
    }
    // Refused: cut off, of another function, no pickle, with a response key that is none.
    let whole = call("same", &json!(SECRET).to_string(), Some(SECRET));
    for data in [&whole[..], &whole[..whole.len() - 1], SECRET.as_bytes()] {
        let id = uuid();
        rq.enqueue("default", &id, data).await;
        rq.ends(&id, "failed").await;
    }
    // A job for rq's workers.
    let client = stage.client().await;
    let sent = client.request("sent").queue("rq").data(&json!({"a": SECRET})).submit().await;
    let id: Option<(String, String)> =
        cmd("BLPOP").arg("rq:queue:workers").arg(20).query_async(&mut rq.0).await.unwrap();
    assert!(id.is_some(), "{:?}", program.lines());
    client.cancel(&sent.unwrap().id).await.unwrap();
}

async fn through_pm(program: &Program, stage: &Stage) {
    let address = program.address("pm", "listen").await;
    let mut peer = Peer::connect(address).await;
    for (id, name) in [(1, "same"), (2, "fails"), (3, "unknown")] {
        peer.call(id, name, json!({"a": SECRET})).await;
    }
    peer.notify("same", "S", json!(SECRET)).await;
    let client = stage.client().await;
    for is_answer in [true, false] {
        let pending = client.request("asked").queue("pm").data(&json!({"a": SECRET}));
        let pending = tokio::spawn(pending.wait());
        let request = peer.next().await;
        match is_answer {
            true => peer.answer(&request, json!(SECRET)).await,
            // Error messages are logged.
            false => peer.fail(&request, -1, "out of paper").await,
        }
        assert_eq!(pending.await.unwrap().is_ok(), is_answer);
    }
    peer.answer(&json!({"id": 99, "params": {"sid": "S"}}), json!(SECRET)).await;
    peer.write(&framed(&format!("{{\"a\": {SECRET}"))).await;
    peer.end().await;
}

async fn through_zmtp(program: &Program, device: TcpListener) {
    let commands = program.address("zmtp", "listen_commands").await;
    let mut console = Raw::connect(commands, SocketType::Req).await;
    for body in [
        json!({"command": 100, "data": SECRET}).to_string(),
        json!({"command": 101, "data": SECRET}).to_string(),
        json!({"command": 7, "data": SECRET}).to_string(),
        json!({"nonce": SECRET}).to_string(),
        format!("[{SECRET}"),
    ] {
        console.request(body).await;
    }
    closes(
        commands,
        format!("GET /{SECRET} HTTP/1.1\r\n\r\n{SECRET}{SECRET}{SECRET}{SECRET}").as_bytes(),
    )
    .await;
    // Events of a device, to a subscriber.
    let events = program.address("zmtp", "listen_events").await;
    let mut subscriber = Raw::subscriber(events).await;
    let (mut stream, _) = device.accept().await.unwrap();
    stream.write_all(&encode::opening(SocketType::Pub)).await.unwrap();
    for body in [format!("{{{SECRET}"), json!({"kind": 5, "context": SECRET}).to_string()] {
        let message = encode::message(&[&4001_u32.to_le_bytes(), body.as_bytes()]);
        stream.write_all(&message).await.unwrap();
    }
    assert!(subscriber.event_of(4001).await.1.contains(SECRET));
}

async fn through_bgpy(program: &Program) {
    let address = program.address("bgpy", "listen").await;
    let mut client = Bgpy::authenticated(address).await;
    client.initialize().await;
    client.execute(&format!(r#""a":"{SECRET}""#)).await;
    client.send(&bgpy_client::frame(SECRET.as_bytes())).await;
    let reply = client.closed().await;
    assert!(!reply.is_empty());
    let mut other = Bgpy::connect(address).await;
    let token = format!(r#"{{"token":"{SECRET}","await_response":true}}"#);
    other.send(&bgpy_client::message(kind::AUTH, &token)).await;
    other.receive().await;
    assert_eq!(other.receive().await.0, kind::ERROR);
}

async fn through_grpc(program: &Program) {
    let address = program.address("grpc", "listen").await;
    let mut sender = connect(address, 1 << 20).await;
    for path in [INIT, CALL] {
        let ended =
            exchange(&mut sender, request(path, &[("x-token", SECRET)], message_of(SECRET))).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let mut wrong = message_of(SECRET);
        *wrong.last_mut().unwrap() = 9;
        assert_eq!(exchange(&mut sender, request(path, &[], wrong)).await.code, Some(3));
    }
    let ended = exchange(&mut sender, request("/a/b", &[], message_of(SECRET))).await;
    assert_eq!(ended.code, Some(12));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("GET /{SECRET} HTTP/1.1\r\n\r\n").as_bytes()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verbose_log_has_no_data_and_no_tokens() {
    let stage = Stage::new().await;
    let mut rules = cmd("ACL");
    rules.arg("SETUSER").arg("rq").arg(&["on", &*format!(">{PASSWORD}"), "~*", "&*", "+@all"]);
    rules.exec_async(&mut stage.redis.connection().await).await.unwrap();
    let url = format!("{}?user=rq&pass={PASSWORD}", stage.redis.url());
    let device = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let text = settings(&url, &device.local_addr().unwrap().to_string());
    let services = r#"
[services.counter]
init = "init"
execute = "execute"
exit = "exit"
"#;
    let of_worker =
        format!("[auth]\nrequired = false\n[auth.keys.own]\nsecret = \"{KEY}\"\n{services}");
    let _worker = stage.worker_of(stage.settings(&of_worker), jobs).await;
    let program = stage.program(&text);
    through_zmtp(&program, device).await;
    through_rq(&program, &stage).await;
    through_pm(&program, &stage).await;
    through_bgpy(&program).await;
    through_grpc(&program).await;
    program.signal(Signal::TERM);
    let (status, log) = tokio::task::spawn_blocking(|| program.wait()).await.unwrap();
    assert!(status.success(), "{log:?}");
    // The log is as verbose as it says.
    for logged in ["call answered", "call failed", "refused a message"] {
        assert!(log.iter().any(|line| line.contains(logged)), "{logged}: {log:#?}");
    }
    assert!(log.iter().any(|line| line.contains("\"TRACE\"")), "no line of trace");
    for secret in [SECRET, PASSWORD, KEY, TOKEN] {
        // As text, or as the bytes of a debug format.
        let bytes: Vec<String> = secret.bytes().map(|byte| byte.to_string()).collect();
        for form in [secret.to_owned(), bytes.join(", ")] {
            let found: Vec<&String> = log.iter().filter(|line| line.contains(&form)).collect();
            assert!(found.is_empty(), "{secret}: {found:#?}");
        }
    }
}
