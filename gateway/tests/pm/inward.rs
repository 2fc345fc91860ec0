//! Calls of the peer.

use std::time::Duration;

use redcall_testkit::{eventually, redis};
use redcall_worker::{HandlerError, Json, Request, Worker};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::raw::{Peer, error, framed, result, server};
use crate::support::{RunningGateway, RunningWorker, Stage};

const LISTEN: &str = "[gateways.apps]\nprotocol = \"pm\"\nlisten = \"127.0.0.1:0\"\n";

/// A stage with jobs that report, name their headers, or wait.
struct Door {
    _stage: Stage,
    _worker: RunningWorker,
    _gateway: RunningGateway,
    peer: Peer,
}

fn jobs(worker: Worker) -> Worker {
    worker
        .handler("same", async |Json(data): Json<Box<RawValue>>| Json(data))
        .handler("headers", async |request: Request| Json(request.headers().clone()))
        .handler("work", async |request: Request| -> Result<Json<Value>, HandlerError> {
            for progress in [json!({"percent": 0}), json!({"progress": 1.5}), json!([100])] {
                request.progress(&progress).await?;
            }
            request.chunk(&"a part").await?;
            Ok(Json(json!({"type": 1, "content": "done"})))
        })
        .handler("endless", async |request: Request| {
            request.progress(&"begun").await?;
            request.cancelled().await;
            Ok::<(), HandlerError>(())
        })
}

/// Opens a door with these additional keys.
async fn listening(keys: &str) -> Door {
    let stage = Stage::new().await;
    let worker = stage.worker(jobs).await;
    let gateway = stage.gateway(&format!("{LISTEN}{keys}")).await;
    let peer = Peer::connect(gateway.address("apps", "listen")).await;
    Door { _stage: stage, _worker: worker, _gateway: gateway, peer }
}

#[tokio::test]
async fn request_is_answered_under_its_id_and_session() {
    let mut door = listening("").await;
    let answer = door.peer.call(0, "add", json!({"a": 1, "b": 2})).await;
    assert_eq!(answer, result(0, "S", &json!({"answer": 3})));
    let answer = door.peer.call(7, "same", json!(null)).await;
    assert_eq!(answer, result(7, "S", &json!(null)));
}

#[tokio::test]
async fn values_pass_unchanged_in_both_directions() {
    let mut door = listening("").await;
    for data in [
        r#"{"z": 1.50, "a": 123456789012345678901234567890, "Z": {}, "-0": -0.0}"#,
        r#""\u0000 \ud83d\ude00 😀 zażółć""#,
        "[[], {}, 1e400]",
    ] {
        let id = r#""\u0000""#;
        let params = format!(r#"{{"sid": "\u0000", "params": {data}}}"#);
        let text =
            format!(r#"{{"jsonrpc": "2.0", "id": {id}, "method": "same", "params": {params}}}"#);
        door.peer.send_text(&text).await;
        let answer = door.peer.next_text().await.unwrap();
        let wanted = format!(
            r#"{{"jsonrpc": "2.0", "id": {id}, "result": {{"sid": "\u0000", "result": {data}}}}}"#
        );
        assert_eq!(answer, wanted);
    }
}

#[tokio::test]
async fn progress_comes_before_the_answer_under_its_session() {
    let mut door = listening("").await;
    door.peer.request(3, "work", "T", json!({})).await;
    for progress in [json!(0), json!(1.5), json!([100])] {
        let params = json!({"method": "work", "progress": progress});
        let wanted = json!({
            "jsonrpc": "2.0",
            "method": "progress_change",
            "params": {"sid": "T", "params": params},
        });
        assert_eq!(door.peer.next().await, wanted);
    }
    let done = json!({"type": 1, "content": "done"});
    assert_eq!(door.peer.next().await, result(3, "T", &done));
}

#[tokio::test]
async fn job_gets_session_door_and_peer_as_headers() {
    let mut door = listening("names = { who_am_i = \"headers\" }\n").await;
    let answer = door.peer.call(1, "who_am_i", json!({})).await;
    let headers = &answer["result"]["result"];
    assert_eq!((&headers["sid"], &headers["gateway"]), (&json!("S"), &json!("apps")));
    assert!(headers["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{headers}");
}

#[tokio::test]
async fn failures_have_the_peers_codes() {
    let mut door = listening("jobs = [\"s*\", \"fail\", \"add\"]\n").await;
    let call = async |door: &mut Door, method: &str, params: Value| {
        error(&door.peer.call(1, method, params).await)
    };
    let failed = call(&mut door, "fail", json!({"message": "out of paper"})).await;
    assert_eq!(failed, (-1, "out of paper".to_owned()));
    let unknown = (-32601, "Method not found".to_owned());
    assert_eq!(call(&mut door, "some_job", json!({})).await, unknown);
    // Its name is not among `jobs`, and has not the form of a job's name.
    assert_eq!(call(&mut door, "echo", json!({})).await, unknown);
    assert_eq!(call(&mut door, "s\n", json!({})).await, unknown);
    assert_eq!(call(&mut door, "add", json!({"a": "x"})).await.0, -32602);
}

#[tokio::test]
async fn job_that_takes_too_long_has_the_peers_code() {
    let mut door = listening("timeout = \"300ms\"\n").await;
    let late = door.peer.call(1, "sleep", json!({"ms": 60_000})).await;
    assert_eq!(error(&late).0, -32000);
}

#[tokio::test]
async fn call_without_workers_is_told_to_try_later() {
    let stage = Stage::new().await;
    let grace = "[client]\nno_workers_grace = \"200ms\"\n";
    let gateway = stage.gateway(&format!("{LISTEN}queue = \"empty\"\n{grace}")).await;
    let mut peer = Peer::connect(gateway.address("apps", "listen")).await;
    assert_eq!(error(&peer.call(1, "add", json!({})).await).0, -2);
}

#[tokio::test]
async fn call_to_a_full_queue_is_told_to_try_later() {
    let stage = Stage::new().await;
    let client = stage.client().await;
    let _worker = stage.worker(jobs).await;
    client.pause("default").await.unwrap();
    client.call("echo", &1).await.unwrap();
    let gateway = stage.gateway(&format!("[limits]\nmax_length = 1\n{LISTEN}")).await;
    let mut peer = Peer::connect(gateway.address("apps", "listen")).await;
    let (code, message) = error(&peer.call(1, "echo", json!(2)).await);
    assert!(code == -2 && message.contains("full"), "{code}: {message}");
}

#[tokio::test]
async fn requests_of_a_door_are_signed_with_its_key() {
    let stage = Stage::new().await;
    let keys = "[auth.keys.web]\nsecret = \"0123456789abcdefghijklmnopqrstuv\"\njobs = [\"add\"]\n";
    let _worker = stage.worker_of(stage.settings(&format!("[auth]\n{keys}")), jobs).await;
    let signed = format!("[auth]\n{keys}{LISTEN}sign_with = \"web\"\n");
    let unsigned = format!("[auth]\n{keys}{LISTEN}");
    for (door, add, echo) in [(signed, None, -32001), (unsigned, Some(-32001), -32001)] {
        let gateway = stage.gateway(&door).await;
        let mut peer = Peer::connect(gateway.address("apps", "listen")).await;
        let answer = peer.call(1, "add", json!({"a": 1, "b": 2})).await;
        assert_eq!(answer["error"]["error"]["code"].as_i64(), add, "{answer}");
        assert_eq!(error(&peer.call(2, "echo", json!({})).await).0, echo);
    }
}

#[tokio::test]
async fn requests_run_at_once_and_are_answered_in_any_order() {
    let mut door = listening("").await;
    door.peer.request(1, "sleep", "S", json!({"ms": 60_000})).await;
    assert_eq!(door.peer.call(2, "echo", json!([1])).await, result(2, "S", &json!([1])));
}

#[tokio::test]
async fn request_beyond_concurrency_is_told_to_try_later() {
    let mut door = listening("concurrency = 1\n").await;
    door.peer.request(1, "endless", "S", json!({})).await;
    let begun = door.peer.next().await;
    assert_eq!(begun["params"]["params"]["progress"], "begun");
    assert_eq!(error(&door.peer.call(2, "echo", json!({})).await).0, -2);
}

#[tokio::test]
async fn method_of_cancels_ends_the_runs_of_its_session() {
    let mut door = listening("cancels = { echo = \"endless\" }\n").await;
    for (id, sid) in [(1, "S"), (2, "T")] {
        door.peer.request(id, "endless", sid, json!({})).await;
        assert_eq!(door.peer.next().await["method"], "progress_change");
    }
    door.peer.request(3, "echo", "S", json!({"of": "S"})).await;
    let mut answers = [door.peer.next().await, door.peer.next().await];
    answers.sort_by_key(|answer| answer["id"].as_u64());
    assert_eq!(error(&answers[0]), (-32000, "the call was cancelled".to_owned()));
    assert_eq!(answers[1], result(3, "S", &json!({"of": "S"})));
    // The run of the other session goes on until its own session stops it.
    door.peer.notify("echo", "T", json!({})).await;
    let cancelled = door.peer.next().await;
    assert_eq!((&cancelled["id"], error(&cancelled).0), (&json!(2), -32000));
}

#[tokio::test]
async fn notifications_are_enqueued_in_their_order() {
    let stage = Stage::new().await;
    let gateway = stage.gateway(&format!("{LISTEN}queue = \"notes\"\n")).await;
    let mut peer = Peer::connect(gateway.address("apps", "listen")).await;
    for number in 0..20 {
        peer.notify("note", "S", json!({"number": number})).await;
    }
    // They are enqueued although the link ends.
    drop(peer);
    let mut redis = stage.redis.connection().await;
    // The next one to run is the first.
    let queued = eventually("20 requests in the queue", async || {
        let mut read = redis::cmd("LRANGE");
        read.arg("redcall:{notes}:queue").arg(0).arg(-1);
        let queued: Vec<String> = read.query_async(&mut redis).await.unwrap();
        (queued.len() == 20).then_some(queued)
    })
    .await;
    for (number, request) in queued.iter().enumerate() {
        let request: Value = serde_json::from_str(request).unwrap();
        assert_eq!(
            (&request["name"], &request["data"]["number"]),
            (&json!("note"), &json!(number))
        );
        assert_eq!(request["headers"]["sid"], "S");
        assert_eq!(request["response_key"], json!(null));
    }
}

#[tokio::test]
async fn burst_of_notifications_is_enqueued_whole() {
    const COUNT: usize = 500;
    let stage = Stage::new().await;
    let gateway = stage.gateway(&format!("{LISTEN}queue = \"notes\"\nconcurrency = 4\n")).await;
    let mut peer = Peer::connect(gateway.address("apps", "listen")).await;
    let note = |number: usize| {
        let params = json!({"sid": "S", "params": {"number": number}});
        framed(&json!({"jsonrpc": "2.0", "method": "note", "params": params}).to_string())
    };
    peer.write(&(0..COUNT).flat_map(note).collect::<Vec<u8>>()).await;
    // It is answered after them: they were all received.
    peer.call(1, "s\n", json!({})).await;
    let client = stage.client().await;
    eventually("all of them in the queue", async || {
        let queue = client.inspect().queue("notes").await.ok()?;
        (queue.length as usize == COUNT).then_some(())
    })
    .await;
}

#[tokio::test]
async fn peer_without_sessions_gets_bare_answers() {
    let mut door = listening("").await;
    let plain = |id: u64, method: &str, params: Value| {
        let version = "2.0";
        json!({"jsonrpc": version, "id": id, "method": method, "params": params})
    };
    door.peer.send(&plain(1, "add", json!({"a": 1, "b": 2}))).await;
    let wanted = json!({"jsonrpc": "2.0", "id": 1, "result": {"answer": 3}});
    assert_eq!(door.peer.next().await, wanted);
    door.peer.send(&json!({"jsonrpc": "2.0", "id": "x", "method": "same"})).await;
    assert_eq!(door.peer.next().await, json!({"jsonrpc": "2.0", "id": "x", "result": null}));
    door.peer.send(&plain(2, "nothing", json!({}))).await;
    let error = json!({"code": -32601, "message": "Method not found"});
    assert_eq!(door.peer.next().await, json!({"jsonrpc": "2.0", "id": 2, "error": error}));
    // Its library reads only envelopes once it has used one.
    door.peer.call(3, "same", json!(3)).await;
    door.peer.send(&plain(4, "same", json!([4]))).await;
    assert_eq!(door.peer.next().await, result(4, "", &json!([4])));
}

#[tokio::test]
async fn application_that_asks_outside_of_a_session_gets_an_envelope() {
    let mut door = listening("").await;
    // The order of its library, which reads only envelopes.
    door.peer.send_text(r#"{"method": "same", "params": [1], "id": 0, "jsonrpc": "2.0"}"#).await;
    assert_eq!(door.peer.next().await, result(0, "", &json!([1])));
}

#[tokio::test]
async fn typed_door_wraps_only_results_that_need_a_type() {
    let stage = Stage::new().await;
    let _worker = stage.worker(jobs).await;
    let (listener, address) = server().await;
    let names = r#"custom_add = "add", custom_work = "work", custom_same = "same""#;
    let lists = r#"app_capabilities_get = "same", nodes_on_change = "same""#;
    let door = format!(
        "[gateways.pm]\nprotocol = \"pm\"\nconnect = \"{address}\"\n\
         names = {{ {names}, {lists} }}\n"
    );
    let _gateway = stage.gateway(&door).await;
    let mut peer = Peer::accept(&listener).await;
    let typed = json!({"type": 0, "content": {"answer": 3}});
    assert_eq!(peer.call(1, "custom_add", json!({"a": 1, "b": 2})).await, result(1, "S", &typed));
    let empty = result(1, "S", &json!({"type": 0}));
    assert_eq!(peer.call(1, "custom_same", json!(null)).await, empty);
    // Pipeline Manager's browser rejects a type here.
    let list = json!([{"name": "Run", "procedureName": "dataflow_run"}]);
    let capabilities = peer.call(1, "app_capabilities_get", list.clone()).await;
    assert_eq!(capabilities, result(1, "S", &list));
    let noticed = peer.call(1, "nodes_on_change", json!(null)).await;
    assert_eq!(noticed, result(1, "S", &json!(null)));
    peer.request(2, "custom_work", "S", json!({})).await;
    let mut last = peer.next().await;
    while last["method"] == "progress_change" {
        last = peer.next().await;
    }
    assert_eq!(last, result(2, "S", &json!({"type": 1, "content": "done"})));
    // The order of the members is that of an application.
    peer.request(3, "custom_same", "S", json!({})).await;
    let wanted = concat!(
        r#"{"result": {"sid": "S", "result": {"type": 0, "content": {}}}, "#,
        r#""id": 3, "jsonrpc": "2.0"}"#
    );
    assert_eq!(peer.next_text().await.unwrap(), wanted);
}

#[tokio::test]
async fn ended_link_withdraws_its_waited_requests() {
    let stage = Stage::new().await;
    let (sender, mut ends) = tokio::sync::mpsc::unbounded_channel();
    let jobs = move |worker: Worker| {
        worker.handler("watched", move |request: Request| {
            let sender = sender.clone();
            async move {
                sender.send("begun").unwrap();
                request.cancelled().await;
                sender.send("cancelled").unwrap();
            }
        })
    };
    let _worker = stage.worker(jobs).await;
    let gateway = stage.gateway(LISTEN).await;
    let mut peer = Peer::connect(gateway.address("apps", "listen")).await;
    peer.request(1, "watched", "S", json!({})).await;
    assert_eq!(ends.recv().await, Some("begun"));
    drop(peer);
    // Long before the end of its budget.
    let end = timeout(Duration::from_secs(10), ends.recv()).await;
    assert_eq!(end.expect("the request is withdrawn"), Some("cancelled"));
}
