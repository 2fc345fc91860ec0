//! Signed requests: the jobs that run, and the refused ones, all with the same answer.

mod calls;
mod frames;
mod letters;
mod replays;
mod sealed;
mod twins;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use redcall_client::{Client, Code};
use redcall_common::auth::{Claims, Keyring, LONGEST_MS, Token};
use redcall_common::request::Envelope;
use redcall_common::settings::{AuthKey, AuthSettings, Missed, Retries, ScheduleSettings, Secret};
use redcall_testkit::eventually;
use redcall_tests::{Bench, RunningWorker};
use redcall_worker::{HandlerError, Request, State};
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{connection, dead_letter, dies, job, keys};
use crate::support::{error_frame, now_ms as now, response_key};

const MESSAGE: &str = "the request has no signature that its worker accepts";

#[derive(Clone, Default)]
struct Runs(Arc<AtomicUsize>);

impl Runs {
    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// Fails at its first attempt if its data request it.
async fn counted(request: Request, runs: State<Runs>) -> Result<Value, HandlerError> {
    runs.0.fetch_add(1, Ordering::SeqCst);
    if request.data().get() == "\"fails\"" && request.attempt() == 1 {
        return Err(HandlerError::new("on purpose"));
    }
    Ok(json!("ran"))
}

/// Keys by name and the jobs that they may call; each has a secret of its own.
fn auth(keys: &[(&str, &str)], sign_with: Option<&str>) -> AuthSettings {
    let key = |(name, jobs): &(&str, &str)| {
        let secret = Secret::new(format!("{name}: a secret that only caller and worker share"));
        ((*name).to_owned(), AuthKey { secret, jobs: vec![(*jobs).to_owned()] })
    };
    let keys = keys.iter().map(key).collect();
    AuthSettings { keys, sign_with: sign_with.map(str::to_owned), required: true }
}

async fn worker(bench: &Bench, runs: &Runs) -> RunningWorker {
    let runs = runs.clone();
    bench.worker_with(|worker| worker.state(runs).handler("counted", counted)).await
}

/// A bench whose workers and clients know the key `web`, and sign with it.
async fn signing() -> Bench {
    let mut bench = Bench::new().await;
    bench.settings.auth = Some(auth(&[("web", "*")], Some("web")));
    job(&mut bench, "counted");
    bench
}

/// A client with these keys instead.
async fn client(bench: &Bench, auth: Option<AuthSettings>) -> Client {
    let mut settings = bench.settings.clone();
    settings.auth = auth;
    Client::from_settings(&settings).await.unwrap()
}

async fn code(client: &Client, name: &str) -> Result<(), Code> {
    client.call_and_wait(name, &json!({"a": 1, "b": 2})).await.map(drop).map_err(|e| e.code())
}

/// The envelope of `counted` under this id, signed with `keyring` until `expires_at`.
fn signed(keyring: &Keyring, id: &str, expires_at: u64) -> Value {
    let (data, key) = (RawValue::from_string("\"x\"".to_owned()).unwrap(), response_key(id));
    let headers = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
    let notify = keys().notify("me");
    let enqueued_at = expires_at.saturating_sub(60_000);
    let mut envelope = Envelope::new(id, "counted", &data, enqueued_at);
    envelope.response_key = Some(&key);
    envelope.notify = Some(&notify);
    envelope.headers = &headers;
    let token: Option<Token> = keyring.sign(&envelope.claims("default", expires_at));
    envelope.auth = token.as_ref();
    serde_json::from_str(&envelope.encode()).unwrap()
}

/// The signature of a request whose data was changed, as its caller would make it.
fn token_of(keyring: &Keyring, request: &Value, expires_at: u64) -> Value {
    let text = |field: &str| request[field].as_str();
    let (data, headers) = (request["data"].to_string(), request["headers"].clone());
    let token = keyring.sign(&Claims {
        id: text("id").unwrap(),
        name: text("name").unwrap(),
        queue: "default",
        data: &data,
        response_key: text("response_key"),
        notify: text("notify"),
        idempotency_key: text("idempotency_key"),
        headers: &serde_json::from_value(headers).unwrap(),
        budget_ms: request["budget_ms"].as_u64(),
        expires_at,
    });
    json!(token)
}

/// A change of a request whose signature stays.
type Alteration = fn(&mut Value);

const ALTERATIONS: &[Alteration] = &[
    |request| request["name"] = json!("echo"),
    |request| request["data"] = json!("y"),
    |request| drop(request.as_object_mut().unwrap().remove("response_key")),
    |request| request["notify"] = json!(keys().notify("other")),
    |request| drop(request.as_object_mut().unwrap().remove("notify")),
    |request| request["idempotency_key"] = json!("order 7"),
    |request| request["headers"]["a"] = json!("c"),
    |request| drop(request.as_object_mut().unwrap().remove("headers")),
    |request| request["budget_ms"] = json!(600_000),
    |request| {
        request["auth"]["expires_at"] = json!(request["auth"]["expires_at"].as_u64().unwrap() + 1)
    },
    |request| request["auth"]["key"] = json!("batch"),
    |request| request["auth"]["key"] = json!("absent"),
    |request| {
        let sig = request["auth"]["sig"].as_str().unwrap();
        let first = if sig.starts_with('0') { "1" } else { "0" };
        request["auth"]["sig"] = json!(format!("{first}{}", &sig[1..]));
    },
    |request| request["auth"]["sig"] = json!(""),
    |request| request["auth"] = json!("this is not an object"),
    |request| drop(request.as_object_mut().unwrap().remove("auth")),
];

/// The frames at the response key of `id`, as soon as there is one.
async fn frames(conn: &mut MultiplexedConnection, id: &str) -> Vec<String> {
    eventually("a frame", async || {
        let frames: Vec<String> = conn.lrange(response_key(id), 0, -1).await.unwrap();
        (!frames.is_empty()).then_some(frames)
    })
    .await
}

async fn push(conn: &mut MultiplexedConnection, element: &Value) {
    let () = conn.rpush(keys().queue(), element.to_string()).await.unwrap();
}

#[tokio::test]
async fn forged_altered_and_expired_requests_are_refused() {
    let mut bench = signing().await;
    let both = auth(&[("web", "*"), ("batch", "*")], Some("web"));
    bench.settings.auth = Some(both.clone());
    let (runs, keyring) = (Runs::default(), Keyring::new(&both));
    let _worker = worker(&bench, &runs).await;
    let mut conn = connection(&bench).await;
    let at = now(&mut conn).await;
    let (mut right, mut wrong) = (Vec::new(), Vec::new());
    for (number, alter) in ALTERATIONS.iter().enumerate() {
        let id = format!("right-{number}");
        push(&mut conn, &signed(&keyring, &id, at + 60_000 + number as u64)).await;
        right.push(id);
        let id = format!("wrong-{number}");
        let mut request = signed(&keyring, &id, at + 60_000);
        alter(&mut request);
        push(&mut conn, &request).await;
        if request.get("response_key").is_some() {
            wrong.push(id);
        }
    }
    // The id of one with the signature of another.
    let mut moved = signed(&keyring, "moved", at + 60_000);
    moved["auth"] = signed(&keyring, "other", at + 60_000)["auth"].clone();
    push(&mut conn, &moved).await;
    for (id, expires_at) in [("past", at - 1), ("far", at + LONGEST_MS + 3_600_000)] {
        push(&mut conn, &signed(&keyring, id, expires_at)).await;
    }
    wrong.extend(["moved", "past", "far"].map(str::to_owned));
    for id in &wrong {
        let denial = [error_frame(id, Code::Unauthorized, MESSAGE, "")];
        assert_eq!(frames(&mut conn, id).await, denial, "{id}");
    }
    for id in &right {
        let frame = frames(&mut conn, id).await.remove(0);
        assert!(
            frame.contains(r#""type":"result""#) && frame.contains(r#""data":"ran""#),
            "{frame}"
        );
    }
    assert_eq!(runs.count(), right.len());
    // Without a caller to notify, it becomes a dead letter for the operators.
    let letter = dead_letter(&mut conn).await;
    assert_eq!((&*letter["code"], &*letter["reason"]), ("unauthorized", MESSAGE));
}

#[tokio::test]
async fn a_request_that_was_captured_runs_no_second_time() {
    let bench = signing().await;
    let (runs, keyring) = (Runs::default(), Keyring::new(bench.settings.auth.as_ref().unwrap()));
    let _worker = worker(&bench, &runs).await;
    let mut conn = connection(&bench).await;
    let request = signed(&keyring, "once", now(&mut conn).await + 60_000);
    push(&mut conn, &request).await;
    assert!(frames(&mut conn, "once").await[0].contains("result"));
    let () = conn.del(response_key("once")).await.unwrap();
    for _ in 0..3 {
        push(&mut conn, &request).await;
        let denial = [error_frame("once", Code::Unauthorized, MESSAGE, "")];
        assert_eq!(frames(&mut conn, "once").await, denial);
        let () = conn.del(response_key("once")).await.unwrap();
    }
    assert_eq!(runs.count(), 1);
    let ttl: i64 = conn.pttl(keys().seen("once")).await.unwrap();
    assert!((1..=60_000).contains(&ttl), "its id is forgotten in {ttl} ms");
}

#[tokio::test]
async fn retry_or_take_over_is_not_a_replay_and_is_remembered() {
    let mut bench = signing().await;
    let base = Duration::from_millis(2);
    job(&mut bench, "counted").retries = Retries { max: 1, base, cap: base, ..Retries::default() };
    let (runs, client) = (Runs::default(), bench.client().await);
    let mut conn = connection(&bench).await;
    let call = client.request("counted").data("taken over").submit().await.unwrap();
    let (id, call_key) = (call.id.clone(), call.response_key.clone());
    let request: String = conn.lindex(keys().queue(), 0).await.unwrap();
    assert_eq!(dies(&bench, "ghost", 1).await, 1);
    let _worker = worker(&bench, &runs).await;
    assert_eq!(call.wait().await.unwrap().data.get(), "\"ran\"");
    assert_eq!(client.call_and_wait("counted", "fails").await.unwrap().data.get(), "\"ran\"");
    assert_eq!(runs.count(), 3);
    // The answer that was read is deleted a little later: the next frame is of the replay.
    eventually("its answer to be deleted", async || {
        (!conn.exists::<_, bool>(&call_key).await.unwrap()).then_some(())
    })
    .await;
    // Its first worker has not come to remembering it.
    let () = conn.rpush(keys().queue(), request).await.unwrap();
    eventually("it to be answered", async || {
        conn.exists::<_, bool>(&call_key).await.unwrap().then_some(())
    })
    .await;
    let denial = frames(&mut conn, &id).await;
    assert_eq!(denial, [error_frame(&id, Code::Unauthorized, MESSAGE, "")]);
    assert_eq!(runs.count(), 3);
}

#[tokio::test]
async fn a_key_calls_only_the_jobs_that_it_may() {
    let mut bench = signing().await;
    let all = [("web", "*"), ("one", "echo"), ("group", "ad*")];
    bench.settings.auth = Some(auth(&all, None));
    let _worker = worker(&bench, &Runs::default()).await;
    let allowed = [("web", [true, true, true]), ("one", [true, false, false])];
    for (name, may) in allowed.into_iter().chain([("group", [false, true, false])]) {
        let caller = client(&bench, Some(auth(&all, Some(name)))).await;
        for (job, may) in ["echo", "add", "unmapped"].into_iter().zip(may) {
            let expected = match (may, job) {
                (true, "unmapped") => Err(Code::UnknownJob),
                (true, _) => Ok(()),
                // Nor does it learn which jobs there are.
                (false, _) => Err(Code::Unauthorized),
            };
            assert_eq!(code(&caller, job).await, expected, "{name} {job}");
        }
    }
}

#[tokio::test]
async fn unsigned_request_is_refused_unless_keys_are_optional() {
    let mut bench = signing().await;
    let keys = bench.settings.auth.clone();
    let running = worker(&bench, &Runs::default()).await;
    let (signing, plain) = (client(&bench, keys.clone()).await, client(&bench, None).await);
    assert_eq!(code(&signing, "add").await, Ok(()));
    assert_eq!(code(&plain, "add").await, Err(Code::Unauthorized));
    running.drain().await;
    // While callers are being given their keys: a signed request has to be right even so.
    let some = |auth| AuthSettings { required: false, ..auth };
    bench.settings.auth = keys.clone().map(some);
    let running = worker(&bench, &Runs::default()).await;
    let wrong = client(&bench, Some(self::auth(&[("else", "*")], Some("else")))).await;
    assert_eq!(code(&plain, "add").await, Ok(()));
    assert_eq!(code(&signing, "add").await, Ok(()));
    assert_eq!(code(&wrong, "add").await, Err(Code::Unauthorized));
    running.drain().await;
    // Without keys a worker takes no notice.
    bench.settings.auth = None;
    let _running = worker(&bench, &Runs::default()).await;
    assert_eq!(code(&plain, "add").await, Ok(()));
    let lenient = client(&bench, keys.map(some)).await;
    assert_eq!(code(&lenient, "add").await, Ok(()));
}

#[tokio::test]
async fn refused_call_starts_over_for_the_next_caller() {
    let bench = signing().await;
    let runs = Runs::default();
    let _worker = worker(&bench, &runs).await;
    let (signing, plain) = (bench.client().await, client(&bench, None).await);
    let call = |client: &Client| client.request("counted").data("x").idempotency_key("order 7");
    assert_eq!(call(&plain).wait().await.unwrap_err().code(), Code::Unauthorized);
    assert_eq!(call(&signing).wait().await.unwrap().data.get(), "\"ran\"");
    assert_eq!(call(&signing).wait().await.unwrap().data.get(), "\"ran\"");
    assert_eq!(runs.count(), 1);
}

#[tokio::test]
async fn delayed_requests_and_schedule_ticks_are_signed() {
    let mut bench = signing().await;
    let schedule = ScheduleSettings {
        job: "counted".to_owned(),
        data: "null".to_owned(),
        queue: None,
        cron: "* * * * * *".to_owned(),
        timezone: "UTC".to_owned(),
        missed: Missed::Skip,
    };
    bench.settings.schedules.insert("often".to_owned(), schedule);
    let runs = Runs::default();
    let _worker = worker(&bench, &runs).await;
    let client = bench.client().await;
    let later = client.request("echo").data("x").delay(Duration::from_millis(20));
    assert_eq!(later.wait().await.unwrap().data.get(), "\"x\"");
    eventually("a tick to run", async || (runs.count() > 0).then_some(())).await;
    let too_long = client.request("echo").expires_in(Duration::from_secs(8 * 86_400));
    assert_eq!(too_long.wait().await.unwrap_err().code(), Code::InvalidRequest);
}

/// A worker that answers every request without signing.
async fn unsigned(bench: &mut Bench, runs: &Runs) -> RunningWorker {
    let auth = bench.settings.auth.take();
    let running = worker(bench, runs).await;
    bench.settings.auth = auth;
    running
}

#[tokio::test]
async fn answers_are_signed_and_those_that_are_not_are_refused() {
    let mut bench = signing().await;
    let base = Duration::from_millis(2);
    job(&mut bench, "counted").retries = Retries { max: 1, base, cap: base, ..Retries::default() };
    let runs = Runs::default();
    let running = worker(&bench, &runs).await;
    let caller = bench.client().await;
    assert_eq!(code(&caller, "add").await, Ok(()));
    assert_eq!(code(&caller, "fail").await, Err(Code::HandlerFailed));
    assert_eq!(code(&caller, "unmapped").await, Err(Code::UnknownJob));
    // Delayed, fetched, followed over two attempts, and joined.
    let ticket = caller.request("counted").data("x").submit().await.unwrap();
    assert_eq!(bench.client().await.fetch(&ticket.response_key).await.unwrap().id, ticket.id);
    let mut stream = caller.request("counted").data("fails").stream().await.unwrap();
    let mut seen = 0;
    while let Some(update) = stream.next().await {
        update.unwrap();
        seen += 1;
    }
    assert_eq!(seen, 3, "why it is tried again, that it is, and its answer");
    let call = || caller.request("counted").data("x").idempotency_key("order 7");
    for answer in caller.wait_many(vec![call(), call(), call()]).await {
        assert_eq!(answer.unwrap().data.get(), "\"ran\"");
    }
    running.drain().await;
    // Another worker takes from the queue.
    let _running = unsigned(&mut bench, &runs).await;
    let denial = |error: redcall_client::CallError| (error.code(), error.to_string());
    let refused = "unauthorized: the answer is not signed with a key of this client";
    let waited = caller.call_and_wait("counted", "x").await.unwrap_err();
    assert_eq!(denial(waited), (Code::Unauthorized, refused.to_owned()));
    let failed = denial(caller.call_and_wait("fail", &json!({"message": "no"})).await.unwrap_err());
    assert_eq!(failed.1, format!("{refused}; the unverified error is: handler_failed: no"));
    let ticket = caller.request("counted").data("x").submit().await.unwrap();
    assert_eq!(ticket.wait().await.unwrap_err().code(), Code::Unauthorized);
    let mut stream = caller.request("counted").data("fails").stream().await.unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap_err().code(), Code::Unauthorized);
    assert!(stream.next().await.is_none());
}
