//! Jobs that rq workers run; the worker is played with plain commands.

use std::collections::HashMap;
use std::time::Duration;

use redcall_client::{CallError, Client, Code};
use redcall_gateway::pickle::{Bounds, read};
use redcall_testkit::redis::AsyncCommands as _;
use redcall_testkit::{FaultProxy, eventually};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::rq_redis::RqRedis;
use crate::support::Stage;

const DOOR: &str = "
[gateways.to-python]
protocol = \"rq\"
serves = [\"resize\"]
queues = [\"python\"]
timeout = \"20s\"
";

/// A job as an rq worker takes it.
pub(crate) struct Taken {
    id: String,
    fields: HashMap<String, Vec<u8>>,
    response_key: String,
    data: String,
}

impl Taken {
    /// Takes the next job.
    pub(crate) async fn next(rq: &mut RqRedis) -> Self {
        let popped: Option<(String, String)> = rq.0.blpop("rq:queue:default", 20.0).await.unwrap();
        let id = popped.expect("a job in the queue").1;
        let fields: HashMap<String, Vec<u8>> = rq.0.hgetall(format!("rq:job:{id}")).await.unwrap();
        let document = read(&fields["data"], &Bounds { bytes: 1 << 20, depth: 64 }).unwrap();
        let call = document.call().unwrap();
        assert_eq!(call.function, "rpc.python_rq_backend.dispatch");
        assert_eq!(call.arguments[0].text(), Some("resize"));
        let envelope = call.arguments[1];
        let text = |key| envelope.get(key).unwrap().text().unwrap().to_owned();
        assert_eq!(text("id").len(), 36);
        let data = envelope.get("data").unwrap().json().unwrap();
        let response_key = text("response_key");
        Self { id, data, response_key, fields }
    }

    pub(crate) async fn answer(&self, rq: &mut RqRedis, element: &str) {
        let () = rq.0.lpush(&self.response_key, element).await.unwrap();
    }
}

fn call(client: &Client, data: &str) -> tokio::task::JoinHandle<Result<Value, CallError>> {
    let request = client.request("resize").queue("python");
    let data = RawValue::from_string(data.to_owned()).unwrap();
    let request = request.data(&data).timeout(Duration::from_secs(15));
    tokio::spawn(async move { request.wait().await?.json() })
}

fn code(result: Result<Value, CallError>) -> Code {
    result.unwrap_err().code()
}

#[tokio::test]
async fn job_has_the_form_that_all_rq_workers_take() {
    let stage = Stage::new().await;
    let _gateway = stage.gateway(DOOR).await;
    let (client, mut rq) = (stage.client().await, RqRedis::of(&stage).await);
    let calling = call(&client, "{\"a\": 123456789012345678901234567890, \"b\": [1.5, null]}");
    let job = Taken::next(&mut rq).await;
    assert_eq!(job.data, "{\"a\":123456789012345678901234567890,\"b\":[1.5,null]}");
    let text = |name: &str| String::from_utf8(job.fields[name].clone()).unwrap();
    assert_eq!(job.fields["data"][..2], [0x80, 2]);
    assert_eq!((text("status"), text("origin")), ("queued".to_owned(), "default".to_owned()));
    let timeout: u64 = text("timeout").parse().unwrap();
    assert!((1..=15).contains(&timeout), "{timeout}");
    for name in ["created_at", "enqueued_at"] {
        let at = text(name);
        assert!(at.ends_with('Z') && at.len() == 20 && !at.contains('.'), "{at}");
    }
    assert!(job.fields.values().all(|value| !value.is_empty()));
    let is_queue: bool = rq.0.sismember("rq:queues", "rq:queue:default").await.unwrap();
    assert!(is_queue);
    let ttl = rq.ttl(&format!("rq:job:{}", job.id)).await;
    assert!((1..=80).contains(&ttl), "{ttl}");
    job.answer(&mut rq, "{\"data\": {\"answer\": 42}, \"id\": \"x\", \"response_key\": \"y\"}")
        .await;
    assert_eq!(calling.await.unwrap().unwrap(), json!({"answer": 42}));
    let ttl = removed(&mut rq, &job).await;
    assert!((1..=15 + 90).contains(&ttl), "{ttl}");
}

/// Waits until the answer of a job is removed; returns the TTL of its key, which is kept for a
/// second answer.
async fn removed(rq: &mut RqRedis, job: &Taken) -> i64 {
    eventually("the answer to be removed", async || {
        let length: usize = rq.0.clone().llen(&job.response_key).await.unwrap();
        (length == 1).then_some(())
    })
    .await;
    rq.ttl(&job.response_key).await
}

#[tokio::test]
async fn null_is_sent_as_an_object_and_any_answer_is_passed_on() {
    let stage = Stage::new().await;
    let _gateway = stage.gateway(DOOR).await;
    let (client, mut rq) = (stage.client().await, RqRedis::of(&stage).await);
    for answer in ["[1, \"\\u0000\\ud83d\\ude00\"]", "null", "1.50"] {
        let calling = call(&client, "null");
        let job = Taken::next(&mut rq).await;
        assert_eq!(job.data, "{}");
        job.answer(&mut rq, &format!("{{\"data\": {answer}, \"id\": \"x\"}}")).await;
        let wanted: Value = serde_json::from_str(answer).unwrap();
        assert_eq!(calling.await.unwrap().unwrap(), wanted);
    }
}

#[tokio::test]
async fn answers_that_are_none_fail_the_call() {
    let stage = Stage::new().await;
    let _gateway = stage.gateway(&format!("{DOOR}message = \"2KiB\"\n")).await;
    let (client, mut rq) = (stage.client().await, RqRedis::of(&stage).await);
    let large = format!("{{\"data\": \"{}\"}}", "x".repeat(4096));
    for (element, wanted) in [
        ("", Code::HandlerFailed),
        ("{\"data\": NaN}", Code::HandlerFailed),
        ("[]", Code::HandlerFailed),
        (&large, Code::TooLarge),
    ] {
        let calling = call(&client, "{}");
        let job = Taken::next(&mut rq).await;
        job.answer(&mut rq, element).await;
        assert_eq!(code(calling.await.unwrap()), wanted, "{element:.20}");
    }
    let calling = call(&client, "{}");
    let job = Taken::next(&mut rq).await;
    let () = rq.0.set(&job.response_key, "a text").await.unwrap();
    assert_eq!(code(calling.await.unwrap()), Code::HandlerFailed);
}

#[tokio::test]
async fn job_without_an_answer_in_time_is_removed() {
    let stage = Stage::new().await;
    let _gateway = stage.gateway(&DOOR.replace("20s", "500ms")).await;
    let (client, mut rq) = (stage.client().await, RqRedis::of(&stage).await);
    // One that no worker takes, and one whose worker is too late.
    assert_eq!(code(call(&client, "{}").await.unwrap()), Code::DeadlineExceeded);
    eventually("the job to be removed", async || {
        let keys = rq.keys("rq:job:").await;
        (keys.is_empty() && rq.ttl("rq:queue:default").await == -2).then_some(())
    })
    .await;
    let calling = call(&client, "{}");
    let job = Taken::next(&mut rq).await;
    assert_eq!(code(calling.await.unwrap()), Code::DeadlineExceeded);
    eventually("the job to be removed", async || rq.keys("rq:job:").await.is_empty().then_some(()))
        .await;
    // python-rpc sets no TTL: a late answer would stay without limit.
    removed(&mut rq, &job).await;
    job.answer(&mut rq, "{\"data\": 1}").await;
    let ttl = rq.ttl(&job.response_key).await;
    assert!((1..=91).contains(&ttl), "{ttl}");
}

#[tokio::test]
async fn job_of_a_cancelled_call_is_removed() {
    let stage = Stage::new().await;
    let _gateway = stage.gateway(DOOR).await;
    let (client, mut rq) = (stage.client().await, RqRedis::of(&stage).await);
    let calling = call(&client, "{}");
    let job = Taken::next(&mut rq).await;
    calling.abort();
    eventually("the job to be removed", async || {
        (rq.ttl(&format!("rq:job:{}", job.id)).await == -2).then_some(())
    })
    .await;
}

#[tokio::test]
async fn answer_outlives_a_lost_connection() {
    let stage = Stage::new().await;
    let proxy = FaultProxy::start(&stage.redis);
    let _gateway = stage.gateway(&format!("{DOOR}url = \"{}\"\n", proxy.url())).await;
    let (client, mut rq) = (stage.client().await, RqRedis::of(&stage).await);
    let calling = call(&client, "{}");
    let job = Taken::next(&mut rq).await;
    proxy.cut().await;
    job.answer(&mut rq, "{\"data\": {\"answer\": 1}}").await;
    assert_eq!(calling.await.unwrap().unwrap(), json!({"answer": 1}));
    // And one whose connection breaks while its answer is read.
    let calling = call(&client, "{}");
    let job = Taken::next(&mut rq).await;
    let lost = proxy.lose_reply(|exchange| exchange.reply_contains("the lost answer"));
    job.answer(&mut rq, "{\"data\": \"the lost answer\"}").await;
    lost.await;
    assert_eq!(calling.await.unwrap().unwrap(), json!("the lost answer"));
}

#[tokio::test]
async fn many_jobs_share_one_connection() {
    let stage = Stage::new().await;
    let _gateway = stage.gateway(DOOR).await;
    let (client, mut rq) = (stage.client().await, RqRedis::of(&stage).await);
    let calls: Vec<_> = (0..50).map(|number| call(&client, &format!("[{number}]"))).collect();
    let mut jobs = Vec::new();
    for _ in &calls {
        jobs.push(Taken::next(&mut rq).await);
    }
    // The last one is answered first.
    for job in jobs.iter().rev() {
        job.answer(&mut rq, &format!("{{\"data\": {}}}", job.data)).await;
    }
    for (number, calling) in calls.into_iter().enumerate() {
        assert_eq!(calling.await.unwrap().unwrap(), json!([number]));
    }
    let clients: String =
        redcall_testkit::redis::cmd("CLIENT").arg("LIST").query_async(&mut rq.0).await.unwrap();
    let connections = clients.matches("name=redcall-gateway-to-python ").count();
    assert_eq!(connections, 1, "{clients}");
}

#[tokio::test]
async fn call_of_a_killed_gateway_is_sent_again() {
    let stage = Stage::new().await;
    // First: it writes the settings file too.
    let (client, mut rq) = (stage.client().await, RqRedis::of(&stage).await);
    let first = stage.program(DOOR);
    let calling = call(&client, "[1]");
    let lost = Taken::next(&mut rq).await;
    first.signal(rustix::process::Signal::KILL);
    first.wait();
    let _second = stage.gateway(DOOR).await;
    let job = Taken::next(&mut rq).await;
    assert_eq!((job.data.as_str(), job.id == lost.id), ("[1]", false));
    job.answer(&mut rq, "{\"data\": 2}").await;
    assert_eq!(calling.await.unwrap().unwrap(), json!(2));
}

#[tokio::test]
async fn second_answer_expires() {
    let stage = Stage::new().await;
    let _gateway = stage.gateway(DOOR).await;
    let (client, mut rq) = (stage.client().await, RqRedis::of(&stage).await);
    let calling = call(&client, "{}");
    let job = Taken::next(&mut rq).await;
    job.answer(&mut rq, "{\"data\": 1}").await;
    assert_eq!(calling.await.unwrap().unwrap(), json!(1));
    removed(&mut rq, &job).await;
    job.answer(&mut rq, "{\"data\": 2}").await;
    let ttl = rq.ttl(&job.response_key).await;
    assert!((1..=15 + 90).contains(&ttl), "{ttl}");
    // The first of two answers counts.
    let calling = call(&client, "{}");
    let job = Taken::next(&mut rq).await;
    let both = ["{\"data\": 3}", "{\"data\": 4}"];
    let () = rq.0.lpush(&job.response_key, &both).await.unwrap();
    assert_eq!(calling.await.unwrap().unwrap(), json!(3));
}

#[tokio::test]
async fn answer_after_the_end_of_its_gateway_expires() {
    let stage = Stage::new().await;
    let (client, mut rq) = (stage.client().await, RqRedis::of(&stage).await);
    let gateway = stage.program(DOOR);
    let calling = call(&client, "[1]");
    let job = Taken::next(&mut rq).await;
    gateway.signal(rustix::process::Signal::KILL);
    gateway.wait();
    calling.abort();
    job.answer(&mut rq, "{\"data\": 1}").await;
    // The time of its caller, twice, and that of rq.
    let ttl = rq.ttl(&job.response_key).await;
    assert!((1..=2 * 15 + 60 + 90).contains(&ttl), "{ttl}");
}

#[tokio::test]
async fn drained_gateway_leaves_no_job_in_the_queue_of_rq() {
    let stage = Stage::new().await;
    let (client, mut rq) = (stage.client().await, RqRedis::of(&stage).await);
    let gateway = stage.program(&format!("{DOOR}[worker]\ndrain_timeout = \"5s\"\n"));
    let calling = call(&client, "[1]");
    let queue = "rq:queue:default";
    eventually("the job to be enqueued", async || (rq.ttl(queue).await == -1).then_some(())).await;
    gateway.signal(rustix::process::Signal::TERM);
    let (status, log) = gateway.wait();
    assert!(status.success(), "{log:#?}");
    assert_eq!(rq.ttl(queue).await, -2, "{log:#?}");
    assert_eq!(rq.keys("rq:job:").await, [""; 0]);
    calling.abort();
}

#[tokio::test]
async fn call_is_unavailable_while_the_redis_of_rq_is_away() {
    let stage = Stage::new().await;
    let redis = redcall_testkit::TestRedis::start().await;
    let proxy = FaultProxy::start(&redis);
    let door = DOOR.replace("20s", "1s");
    let _gateway = stage.gateway(&format!("{door}url = \"{}\"\n", proxy.url())).await;
    let (client, mut rq) = (stage.client().await, RqRedis(redis.connection().await));
    let calling = call(&client, "1");
    Taken::next(&mut rq).await.answer(&mut rq, "{\"data\": 1}").await;
    assert_eq!(calling.await.unwrap().unwrap(), json!(1));
    proxy.refuse();
    proxy.cut().await;
    for _ in 0..3 {
        assert_eq!(code(call(&client, "{}").await.unwrap()), Code::Unavailable);
    }
}
