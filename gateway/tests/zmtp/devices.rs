//! Devices to which the door connects: the packages' own services, and sockets of libzmq.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests are tests, which clippy cannot tell"
)]

use std::time::Duration;

use futures_util::StreamExt as _;
use redcall_client::{Client, Code, EventItem, EventStream, Kind};
use redcall_gateway::zmtp::wire::{Decoder, Incoming, SocketType, encode};
use redcall_testkit::eventually;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_util::codec::FramedRead;

use crate::peers::{PATIENCE, Python, Version};
use crate::support::{RunningGateway, Stage};

/// A gateway that is the console of a device.
async fn console(stage: &Stage, commands: &str, events: &str) -> RunningGateway {
    let events =
        if events.is_empty() { String::new() } else { format!("connect_events = [\"{events}\"]") };
    stage
        .gateway(&format!(
            r#"
[gateways.lab]
protocol = "zmtp"
connect_commands = ["{commands}"]
{events}
serves = ["status", "command.7"]
queues = ["default"]
timeout = "20s"
others = "command."
[gateways.lab.commands]
400 = "status"
"#
        ))
        .await
}

/// Waits until the gateway serves the queue.
async fn served(client: &Client) {
    eventually("the gateway to serve", async || {
        (client.inspect().queue("default").await.ok()?.workers > 0).then_some(())
    })
    .await;
}

async fn next(events: &mut EventStream) -> (Kind, u64, Option<u64>, Value) {
    let item = timeout(PATIENCE, events.next()).await.expect("no event").unwrap().unwrap();
    let EventItem::Event(event) = item else { panic!("{item:?}") };
    let context = serde_json::from_str(event.context.get()).unwrap();
    (event.kind, event.when, event.index, context)
}

fn free_ports() -> [u16; 2] {
    let taken = [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    taken.map(|listener| listener.local_addr().unwrap().port())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn service_of_each_version_runs_jobs_and_its_events_are_relayed() {
    for version in Version::BOTH {
        let Some(mut python) = Python::start(version) else { continue };
        let [events, commands] = free_ports();
        python.call("serve", json!({"subscriber_port": events, "command_port": commands}));
        let stage = Stage::new().await;
        let client = stage.client().await;
        let mut topics = Vec::new();
        for topic in ["heartbeat", "emergency", "event"] {
            topics.push(client.events(topic).subscribe().await.unwrap());
        }
        let (at, from) = (format!("127.0.0.1:{commands}"), format!("127.0.0.1:{events}"));
        let _gateways = [console(&stage, &at, &from).await, console(&stage, &at, &from).await];
        served(&client).await;

        let data = json!({"a": 1});
        let request = client.request("status").data(&data).header("nonce", "55");
        let answer = request.wait().await.unwrap();
        assert_eq!(answer.json::<Value>().unwrap(), json!({"seen": {"a": 1}}), "{version:?}");
        let error = client.call_and_wait("command.7", &"fail").await.unwrap_err();
        let redcall_client::CallError::Failed(error) = error else { panic!("{error}") };
        assert_eq!(error.code, Code::HandlerFailed);
        assert_eq!(error.data.unwrap().get(), r#"{"errorCode": 7}"#);
        let error = client.call_and_wait("status", &"break").await.unwrap_err();
        assert_eq!(error.code(), Code::HandlerPanicked, "{error}");
        let seen = python.call("seen", json!({}));
        assert_eq!(seen[0], json!([400, 55, {"a": 1}]));
        assert_eq!(seen[1][0], 99_999, "the package's number of an unknown command");

        let (kind, _, _, context) = next(&mut topics[0]).await;
        assert_eq!((kind, context["identifier"].is_string()), (Kind::HEARTBEAT, true));
        assert!(context["timestamp"].is_f64());
        python.call("publish", json!({"kind": 101, "index": 5}));
        python.call("publish", json!({"kind": 1101, "index": 6}));
        let when = 1_682_467_200_000;
        let emergency = (Kind(101), when, Some(5), json!({"own": 1}));
        assert_eq!(next(&mut topics[1]).await, emergency);
        assert_eq!(next(&mut topics[2]).await, emergency, "once, though two gateways run");
        assert_eq!(next(&mut topics[2]).await.2, Some(6));
        client.publish("emergency", Kind(9), "last").await.unwrap();
        assert_eq!(next(&mut topics[1]).await.0, Kind(9), "one emergency, one event");
        python.call("stop", json!({}));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_of_a_device_are_codes_and_silence_is_unavailable() {
    let Some(mut python) = Python::start(Version::V0_12) else { return };
    let at = python.bind("device", "REP");
    let stage = Stage::new().await;
    let client = stage.client().await;
    let _gateway = console(&stage, &at, "").await;
    served(&client).await;
    let cases = [
        (200, None),
        (201, None),
        (0, Some(Code::UnknownJob)),
        (400, Some(Code::HandlerFailed)),
        (500, Some(Code::HandlerPanicked)),
        (9999, Some(Code::Unavailable)),
        (123, Some(Code::HandlerFailed)),
    ];
    for (result, code) in cases {
        let calling = client.clone();
        let calling = tokio::spawn(async move { calling.call_and_wait("status", &1).await });
        let reply = json!({"name": "device", "within": 20, "result": result, "data": {"x": 1}});
        let request = python.call("reply", reply);
        assert_eq!((&request["command"], &request["data"]), (&json!(400), &json!(1)));
        let answered = calling.await.unwrap();
        assert_eq!(answered.as_ref().err().map(|error| error.code()), code, "{result}");
    }
    // A device that does not answer: its connection is closed, and the next command has another.
    let short = client.request("status").data(&2).timeout(Duration::from_millis(500));
    let error = short.wait().await.unwrap_err();
    assert!(matches!(error.code(), Code::Unavailable | Code::DeadlineExceeded), "{error}");
    let request = python.call("reply", json!({"name": "device", "within": 20, "result": 100}));
    assert_eq!(request["data"], 2);
    let calling = tokio::spawn(async move { client.call_and_wait("status", &3).await });
    let request =
        python.call("reply", json!({"name": "device", "within": 20, "result": 100, "data": 4}));
    assert_eq!(request["data"], 3);
    assert_eq!(calling.await.unwrap().unwrap().data.get(), "4", "not the late answer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn device_that_is_away_is_unavailable_and_comes_back() {
    let Some(mut python) = Python::start(Version::V0_12) else { return };
    let at = python.bind("device", "REP");
    let stage = Stage::new().await;
    let client = stage.client().await;
    let _gateway = console(&stage, &at, "").await;
    served(&client).await;
    python.call("close", json!({"name": "device"}));
    let error = client.call_and_wait("status", &1).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable, "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_do_not_parse_are_passed_over() {
    let Some(mut python) = Python::start(Version::V0_12) else { return };
    let (at, from) = (python.bind("device", "REP"), python.bind("events", "PUB"));
    let stage = Stage::new().await;
    let client = stage.client().await;
    let mut events = client.events("event").subscribe().await.unwrap();
    let _gateway = console(&stage, &at, &from).await;
    // Until it has subscribed, its messages are lost.
    let mut first = None;
    while first.is_none() {
        python.call("post", json!({"name": "events", "topic": 4001, "text": "{\"kind\": 3}"}));
        first = timeout(Duration::from_millis(200), events.next()).await.ok();
    }
    for text in ["", "nonsense", "[1]", "\"{\\\"kind\\\": 4}\"", "{\"kind\": 5, \"context\": 1.50}"]
    {
        python.call("post", json!({"name": "events", "topic": 4001, "text": text}));
    }
    let mut kinds = Vec::new();
    while kinds.last() != Some(&5) {
        let (Kind(kind), .., context) = next(&mut events).await;
        assert!(kind != 4 || context == json!({"kind": 4}), "without a context, the whole body");
        kinds.push(kind);
    }
    kinds.retain(|kind| *kind != 3);
    assert_eq!(kinds, [4, 5]);
}

#[tokio::test]
async fn silent_device_is_connected_to_again() {
    let device = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = device.local_addr().unwrap().to_string();
    let stage = Stage::new().await;
    let text = format!("[gateways.lab]\nprotocol = \"zmtp\"\nconnect_events = [\"{at}\"]\n");
    let _gateway = stage.gateway(&text).await;
    let mut connections = Vec::new();
    for _ in 0..2 {
        // It is ready, and then sends nothing, as a host that has lost its power.
        let (mut stream, _) = timeout(PATIENCE, device.accept()).await.unwrap().unwrap();
        stream.write_all(&encode::opening(SocketType::Pub)).await.unwrap();
        connections.push(stream);
    }
}

/// A device that answers each command with its nonce.
async fn device() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (read, mut write) = stream.into_split();
            write.write_all(&encode::opening(SocketType::Rep)).await.unwrap();
            let mut read = FramedRead::new(read, Decoder::new(SocketType::Rep, 1 << 20));
            while let Some(Ok(incoming)) = read.next().await {
                let Incoming::Message(frames) = incoming else { continue };
                let command: Value = serde_json::from_slice(frames.last().unwrap()).unwrap();
                let reply = json!({"nonce": command["nonce"], "result": 100, "data": command});
                let reply = encode::message(&[b"", reply.to_string().as_bytes()]);
                write.write_all(&reply).await.unwrap();
            }
        }
    });
    at
}

/// A listener that answers no further attempt to connect, as a host that is gone.
async fn unreachable() -> (TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let listener = socket.listen(1).unwrap();
    let at = listener.local_addr().unwrap();
    let mut accepted = Vec::new();
    // Its queue is full once an attempt does not succeed soon.
    while let Ok(stream) = timeout(Duration::from_millis(500), TcpStream::connect(at)).await {
        accepted.push(stream.unwrap());
    }
    (listener, accepted)
}

#[tokio::test]
async fn device_gets_the_callers_nonce_if_it_can_read_it() {
    let stage = Stage::new().await;
    let client = stage.client().await;
    let _gateway = console(&stage, &device().await, "").await;
    served(&client).await;
    let call_device = async |name: &str, headers: &[(&str, &str)]| -> Value {
        let mut request = client.request(name);
        for (header, value) in headers {
            request = request.header(header, value);
        }
        request.wait().await.unwrap().json().unwrap()
    };
    assert_eq!(call_device("status", &[("nonce", "5")]).await["nonce"], 5);
    assert_eq!(call_device("status", &[("nonce", "-5")]).await["nonce"], 1, "counted");
    let custom = call_device("command.7", &[("nonce", "6"), ("command", "99999")]).await;
    assert_eq!(custom, json!({"command": 99999, "customCommand": 7, "nonce": 6}));
    assert_eq!(
        call_device("command.7", &[("nonce", "8")]).await,
        json!({"command": 7, "nonce": 8})
    );
}

#[tokio::test]
async fn command_goes_to_the_next_device_if_one_is_not_ready() {
    let stage = Stage::new().await;
    let client = stage.client().await;
    let (gone, _queue) = unreachable().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for (lost, seconds) in [(&gone, 20), (&silent, 20), (&silent, 3)] {
        let lost = lost.local_addr().unwrap();
        let gateway = console(&stage, &format!("{lost}\", \"{}", device().await), "").await;
        served(&client).await;
        // One of the two begins with the lost device.
        for number in 0..2 {
            let limit = Duration::from_secs(seconds);
            let calling = client.request("status").data(&number).timeout(limit).wait();
            let answer: Value = calling.await.unwrap().json().unwrap();
            assert_eq!(answer["data"], number);
        }
        gateway.end().await.unwrap();
    }
}
