//! Jobs that the application, or Pipeline Manager's browser, runs.

use std::time::{Duration, Instant};

use redcall_client::{CallError, Client, Code, RequestBuilder, Update};
use redcall_testkit::eventually;
use serde_json::{Value, json};

use crate::raw::{Peer, error, result, server};
use crate::support::{RunningGateway, Stage};

/// A door whose application is `peer`.
struct Door {
    stage: Stage,
    client: Client,
    gateway: RunningGateway,
    peer: Peer,
}

impl Door {
    fn request(&self, name: &str, data: &Value) -> RequestBuilder {
        self.client.request(name).queue("pm").data(data)
    }
}

fn settings(keys: &str) -> String {
    format!(
        "[client]\nno_workers_grace = \"300ms\"\n\
         [gateways.apps]\nprotocol = \"pm\"\nlisten = \"127.0.0.1:0\"\n\
         serves = [\"run\", \"export\"]\nqueues = [\"pm\"]\n{keys}"
    )
}

async fn open(keys: &str) -> Door {
    let stage = Stage::new().await;
    let client = stage.client().await;
    let gateway = stage.gateway(&settings(keys)).await;
    let peer = Peer::connect(gateway.address("apps", "listen")).await;
    worker_is_there(&client).await;
    Door { stage, client, gateway, peer }
}

/// Waits until a worker serves the queue of the door.
async fn worker_is_there(client: &Client) {
    eventually("the worker of the door", async || {
        let queue = client.inspect().queue("pm").await.ok()?;
        (queue.workers == 1).then_some(())
    })
    .await;
}

fn failed(result: Result<redcall_client::Response, CallError>) -> (Code, String, Option<String>) {
    match result.unwrap_err() {
        CallError::Failed(error) => {
            (error.code, error.message, error.data.map(|data| data.get().to_owned()))
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn job_is_a_request_of_the_application_and_its_result_the_answer() {
    let mut door = open("").await;
    let ticket = door.request("run", &json!({"graph": [1.5], "a": "ż"})).submit().await.unwrap();
    let params = format!(r#"{{"sid": "{}", "params": {{"a":"ż","graph":[1.5]}}}}"#, ticket.id);
    let wanted = format!(r#"{{"jsonrpc": "2.0", "id": 1, "method": "run", "params": {params}}}"#);
    assert_eq!(door.peer.next_text().await.unwrap(), wanted);
    let data = r#"{"z": 1.50, "a": 123456789012345678901234567890, "t": "\u0000"}"#;
    let inner = format!(r#"{{"sid": "{}", "result": {data}}}"#, ticket.id);
    door.peer.send_text(&format!(r#"{{"id": 1, "jsonrpc": "2.0", "result": {inner}}}"#)).await;
    let answer = door.client.fetch(&ticket.response_key).await.unwrap();
    assert_eq!(answer.data.get(), data);
    // The next one has the next id, and data of null become an empty object.
    let second = tokio::spawn(door.request("export", &json!(null)).wait());
    let incoming = door.peer.next().await;
    assert_eq!((&incoming["id"], &incoming["params"]["params"]), (&json!(2), &json!({})));
    // The library of the peers writes false results so.
    door.peer.answer(&incoming, json!({})).await;
    assert_eq!(second.await.unwrap().unwrap().data.get(), "{}");
}

#[tokio::test]
async fn progress_and_questions_belong_to_the_jobs_session() {
    let mut door = open("").await;
    let _worker = door.stage.worker(|worker| worker).await;
    let mut stream = door.request("run", &json!({})).header("sid", "S").stream().await.unwrap();
    let incoming = door.peer.next().await;
    assert_eq!(incoming["params"]["sid"], "S");
    for progress in [json!(0), json!(50), json!({"of": 2})] {
        let params = json!({"method": "run", "progress": progress});
        door.peer.notify("progress_change", "S", params).await;
    }
    // A request from inside, under id 0.
    door.peer.request(0, "echo", "S", json!({"of": 1})).await;
    assert_eq!(door.peer.next().await, result(0, "S", &json!({"of": 1})));
    door.peer.answer(&incoming, json!({"type": 0})).await;
    for progress in [r#"{"percent":0}"#, r#"{"percent":50}"#, r#"{"percent":{"of":2}}"#] {
        match stream.next().await.unwrap().unwrap() {
            Update::Progress(data) => assert_eq!(data.get(), progress),
            other => panic!("{other:?}"),
        }
    }
    match stream.next().await.unwrap().unwrap() {
        Update::Done(answer) => assert_eq!(answer.data.get(), r#"{"type":0}"#),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn errors_of_the_application_become_codes() {
    let mut door = open("").await;
    for (code, wanted, data) in [
        (-32601, Code::UnknownJob, None),
        (-32602, Code::InvalidData, None),
        (-1, Code::HandlerFailed, Some(r#"{"code":-1}"#)),
        (-3, Code::HandlerFailed, Some(r#"{"code":-3}"#)),
    ] {
        let call = tokio::spawn(door.request("run", &json!({})).wait());
        let incoming = door.peer.next().await;
        door.peer.fail(&incoming, code, "out of paper").await;
        let data = data.map(str::to_owned);
        assert_eq!(failed(call.await.unwrap()), (wanted, "out of paper".to_owned(), data));
    }
}

#[tokio::test]
async fn data_that_are_not_params_are_refused_unsent() {
    let mut door = open("").await;
    for data in [json!(5), json!("x"), json!(true), json!([1])] {
        let failed = failed(door.request("run", &data).wait().await);
        assert_eq!(failed.0, Code::InvalidData);
    }
    let call = tokio::spawn(door.request("run", &json!([])).wait());
    let incoming = door.peer.next().await;
    assert_eq!((&incoming["id"], &incoming["params"]["params"]), (&json!(1), &json!([])));
    door.peer.answer(&incoming, json!(1)).await;
    call.await.unwrap().unwrap();
}

#[tokio::test]
async fn job_waits_for_an_application_that_comes_later() {
    let stage = Stage::new().await;
    let settings = settings("");
    let client = Client::from_settings(&stage.settings(&settings)).await.unwrap();
    let gateway = stage.gateway(&settings).await;
    let ticket = client.request("run").queue("pm").submit().await.unwrap();
    // A caller that waits gets its error at once, or within the grace.
    let refused = client.request("run").queue("pm").wait().await.unwrap_err();
    assert_eq!(refused.code(), Code::NoWorkers);
    let mut peer = Peer::connect(gateway.address("apps", "listen")).await;
    let incoming = peer.next().await;
    assert_eq!(incoming["params"]["sid"], json!(ticket.id));
    peer.answer(&incoming, json!(["done"])).await;
    assert_eq!(client.fetch(&ticket.response_key).await.unwrap().data.get(), r#"["done"]"#);
}

#[tokio::test]
async fn lost_application_ends_its_jobs_at_once() {
    let mut door = open("").await;
    let call = tokio::spawn(door.request("run", &json!({})).wait());
    door.peer.next().await;
    let begun = Instant::now();
    door.peer.close().await;
    assert_eq!(failed(call.await.unwrap()).0, Code::Unavailable);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    // Later ones wait for the next application.
    let ticket = door.client.request("run").queue("pm").submit().await.unwrap();
    let mut next = Peer::connect(door.gateway.address("apps", "listen")).await;
    let incoming = next.next().await;
    assert_eq!((&incoming["id"], &incoming["params"]["sid"]), (&json!(1), &json!(ticket.id)));
    next.answer(&incoming, json!(1)).await;
    assert_eq!(door.client.fetch(&ticket.response_key).await.unwrap().data.get(), "1");
}

#[tokio::test]
async fn job_of_a_lost_application_reruns_if_its_settings_say_so() {
    let rerun = "[jobs.run]\nhandler = \"builtin:echo\"\non_worker_loss = \"rerun\"\n";
    let mut door = open(rerun).await;
    let ticket = door.request("run", &json!({"n": 1})).submit().await.unwrap();
    let incoming = door.peer.next().await;
    door.peer.close().await;
    let mut next = Peer::connect(door.gateway.address("apps", "listen")).await;
    let again = next.next().await;
    assert_eq!((&again["params"], &again["id"]), (&incoming["params"], &json!(1)));
    next.answer(&again, json!(2)).await;
    assert_eq!(door.client.fetch(&ticket.response_key).await.unwrap().data.get(), "2");
}

#[tokio::test]
async fn late_answers_are_dropped() {
    let mut door = open("timeout = \"2s\"\n").await;
    let late =
        failed(door.request("run", &json!({})).timeout(Duration::from_secs(60)).wait().await);
    assert_eq!(late.0, Code::DeadlineExceeded);
    let incoming = door.peer.next().await;
    let call = tokio::spawn(door.request("run", &json!({})).wait());
    let second = door.peer.next().await;
    door.peer.answer(&incoming, json!("late")).await;
    // Neither is an answer that belongs to nothing.
    door.peer.answer(&json!({"id": 999, "params": {"sid": "S"}}), json!("unknown")).await;
    door.peer.answer(&json!({"id": null, "params": {"sid": "S"}}), json!("unknown")).await;
    door.peer.answer(&second, json!("in time")).await;
    assert_eq!(call.await.unwrap().unwrap().data.get(), r#""in time""#);
}

#[tokio::test]
async fn jobs_beyond_concurrency_wait_in_redis() {
    let mut door = open("concurrency = 1\n").await;
    let first = door.request("run", &json!({"n": 1})).submit().await.unwrap();
    let incoming = door.peer.next().await;
    let second = door.request("run", &json!({"n": 2})).submit().await.unwrap();
    let waiting = async || {
        let queue = door.client.inspect().queue("pm").await.ok()?;
        (queue.running == 1 && queue.length == 1).then_some(())
    };
    eventually("one job to run and one to wait", waiting).await;
    door.peer.answer(&incoming, json!(1)).await;
    let incoming = door.peer.next().await;
    assert_eq!(incoming["params"]["params"]["n"], 2);
    door.peer.answer(&incoming, json!(2)).await;
    for (ticket, answer) in [(first, "1"), (second, "2")] {
        assert_eq!(door.client.fetch(&ticket.response_key).await.unwrap().data.get(), answer);
    }
}

#[tokio::test]
async fn cancelled_job_frees_its_place() {
    let mut door = open("concurrency = 1\n").await;
    let ticket = door.request("run", &json!({})).submit().await.unwrap();
    door.peer.next().await;
    ticket.cancel().await.unwrap();
    let call = tokio::spawn(door.request("export", &json!({})).wait());
    let incoming = door.peer.next().await;
    assert_eq!(incoming["method"], "export");
    door.peer.answer(&incoming, json!(1)).await;
    call.await.unwrap().unwrap();
}

#[tokio::test]
async fn draining_gateway_waits_for_its_running_calls() {
    let mut door = open("").await;
    let _worker = door.stage.worker(|worker| worker).await;
    door.peer.request(1, "sleep", "S", json!({"ms": 500})).await;
    let call = tokio::spawn(door.request("run", &json!({})).wait());
    let incoming = door.peer.next().await;
    let stopping = tokio::spawn(door.gateway.end());
    let mut answers = vec![door.peer.next().await];
    // Requests are refused, except those from inside a job that runs.
    assert_eq!(error(&door.peer.call(2, "echo", json!({})).await).0, -2);
    let inside = incoming["params"]["sid"].as_str().unwrap().to_owned();
    door.peer.request(3, "echo", &inside, json!({"of": 1})).await;
    assert_eq!(door.peer.next().await, result(3, &inside, &json!({"of": 1})));
    door.peer.answer(&incoming, json!(1)).await;
    call.await.unwrap().unwrap();
    stopping.await.unwrap().unwrap();
    answers.extend(door.peer.end().await.iter().map(|text| serde_json::from_str(text).unwrap()));
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!((&answers[0]["id"], answers[0]["result"].is_object()), (&json!(1), true));
}

#[tokio::test]
async fn job_without_session_goes_to_the_newest_browser() {
    let stage = Stage::new().await;
    let client = stage.client().await;
    let _worker = stage.worker(|worker| worker).await;
    let (listener, address) = server().await;
    let door = format!(
        "[gateways.pm]\nprotocol = \"pm\"\nconnect = \"{address}\"\n\
         serves = [\"graph_get\"]\nqueues = [\"browser\"]\ncancels = {{ echo = \"sleep\" }}\n"
    );
    let _gateway = stage.gateway(&door).await;
    let mut peer = Peer::accept(&listener).await;
    let submission = || tokio::spawn(client.request("graph_get").queue("browser").submit());
    let mut newest = Vec::new();
    let ticket = submission().await.unwrap().unwrap();
    let incoming = peer.next().await;
    assert_eq!(incoming["params"]["sid"], json!(ticket.id));
    for sid in ["old", "new"] {
        peer.request(1, "add", sid, json!({"a": 1, "b": 2})).await;
        peer.next().await;
    }
    // A superseded session may still stop its runs.
    peer.request(2, "echo", "old", json!({})).await;
    peer.next().await;
    submission().await.unwrap().unwrap();
    newest.push(peer.next().await["params"]["sid"].clone());
    let named = client.request("graph_get").queue("browser").header("sid", "old");
    named.submit().await.unwrap();
    newest.push(peer.next().await["params"]["sid"].clone());
    assert_eq!(newest, ["new", "old"]);
}
