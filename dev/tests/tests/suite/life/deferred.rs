//! Deferred jobs, settled by a holder of their token.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use redcall_client::{
    Client, Code, CompletionToken, Event, EventItem, EventStream, Kind, SettleError, Ticket,
    Update, WireError,
};
use redcall_common::settings::{AuthKey, AuthSettings, Secret};
use redcall_testkit::eventually;
use redcall_tests::{Bench, RunningWorker};
use redcall_worker::{DeferError, HandlerError, Json, Request, State, Worker};
use redis::AsyncCommands;
use serde_json::{Value, json};
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;

use super::{connection, dead_letter, keys, nothing_is_left};
use crate::support::{PATIENCE, failed};

/// Where handlers leave their tokens.
type Tokens = mpsc::UnboundedSender<CompletionToken>;

/// Defers its answer for as many ms as its data state, then tries to answer itself, which is
/// refused.
async fn start(request: Request, tokens: State<Tokens>) -> Result<Json<Value>, HandlerError> {
    let ms = serde_json::from_str::<Option<u64>>(request.data().get())?;
    let limit = ms.map(Duration::from_millis);
    let token = request.defer_with_notification(&json!({ "soon": 1 }), limit).await?;
    tokens.send(token)?;
    assert!(!request.respond(&"too late").await?, "the deferring handler has settled");
    assert!(matches!(request.defer(&0, None).await, Err(DeferError::NotOwned)));
    Ok(Json(json!("not used")))
}

/// Tries to defer a request that cannot be deferred, and answers with the error.
async fn odd(request: Request) -> Result<Json<Vec<String>>, HandlerError> {
    let mut why = Vec::new();
    let week = Duration::from_secs(7 * 24 * 3600 + 1);
    why.extend(request.defer(&0, Some(week)).await.map_err(|error| error.to_string()).err());
    let unwritable = BTreeMap::from([((1, 2), 3)]);
    why.extend(request.defer(&unwritable, None).await.map_err(|e| e.to_string()).err());
    let large = "x".repeat(2 << 20);
    why.extend(request.defer(&large, None).await.map_err(|error| error.to_string()).err());
    Ok(Json(why))
}

/// A worker of one slot, a client, and the tokens.
struct Setup {
    worker: RunningWorker,
    client: Client,
    tokens: Mutex<mpsc::UnboundedReceiver<CompletionToken>>,
    bench: Bench,
}

impl Setup {
    async fn new() -> Self {
        Self::with(Bench::new().await).await
    }

    async fn with(mut bench: Bench) -> Self {
        bench.settings.worker.concurrency = 1;
        let (leave, tokens) = mpsc::unbounded_channel();
        let build = |worker: Worker| {
            worker.state::<Tokens>(leave).handler("start", start).handler("odd", odd)
        };
        let worker = bench.worker_with(build).await;
        Self { worker, client: bench.client().await, tokens: Mutex::new(tokens), bench }
    }

    async fn token(&self) -> CompletionToken {
        self.tokens.lock().await.recv().await.unwrap()
    }

    async fn submit(&self, ms: Option<u64>) -> (Ticket, CompletionToken) {
        let ticket = self.client.request("start").data(&ms).submit().await.unwrap();
        (ticket, self.token().await)
    }
}

/// Returns the next event about a command's outcome.
async fn next(results: &mut EventStream) -> Arc<Event> {
    let next = timeout(PATIENCE, results.next()).await.expect("nothing is published");
    let EventItem::Event(event) = next.unwrap().unwrap() else { panic!("some were trimmed") };
    event
}

#[tokio::test]
async fn caller_gets_deferred_at_once_and_the_answer_later() {
    let setup = Setup::new().await;
    let mut stream = setup.client.request("start").stream().await.unwrap();
    // Not settled yet: the update cannot have waited for it.
    let Update::Deferred { data, notify, until_ms } = stream.next().await.unwrap().unwrap() else {
        panic!()
    };
    assert_eq!((data.get(), notify), (r#"{"soon":1}"#, true));
    // By the caller's time, as Redis notes it.
    let mut conn = connection(&setup.bench).await;
    let noted: i64 = conn.zscore(keys().deferred_ids(), stream.id()).await.unwrap();
    let until_ms = i64::try_from(until_ms.unwrap()).unwrap();
    assert!((noted - until_ms).abs() < 5_000, "{until_ms} is not near {noted}");
    let token = setup.token().await;
    assert!(setup.client.settle(&token, Ok(json!({ "started": true }))).await.unwrap());
    let Update::Done(response) = stream.next().await.unwrap().unwrap() else { panic!() };
    assert_eq!(response.data.get(), r#"{"started":true}"#);
    nothing_is_left(&mut connection(&setup.bench).await).await;
}

#[tokio::test]
async fn detached_request_is_answered_although_its_stream_has_ended() {
    let setup = Setup::new().await;
    let mut stream = setup.client.request("start").stream().await.unwrap();
    assert!(matches!(stream.next().await, Some(Ok(Update::Deferred { .. }))));
    let response_key = stream.detach().unwrap();
    setup.client.flush().await; // a cancellation would be written now
    let token = setup.token().await;
    assert!(setup.client.settle(&token, Ok(3)).await.unwrap());
    assert_eq!(setup.client.fetch(&response_key).await.unwrap().data.get(), "3");
}

#[tokio::test]
async fn time_of_the_job_goes_on_after_its_caller_has_detached() {
    let setup = Setup::new().await;
    let hour = Duration::from_secs(3600);
    let mut stream = setup.client.request("start").job_timeout(hour).stream().await.unwrap();
    let Some(Ok(Update::Deferred { until_ms, .. })) = stream.next().await else { panic!() };
    let left_ms = until_ms.unwrap() - redcall_common::time::now_ms();
    let hour_ms = 3_600_000;
    assert!((hour_ms - 60_000..=hour_ms + 60_000).contains(&left_ms), "{left_ms}");
}

#[tokio::test]
async fn deferred_call_frees_capacity_and_gets_the_final_frame() {
    let setup = Setup::new().await;
    let waiting = setup.client.request("start");
    let waiting = tokio::spawn(async move { waiting.wait().await });
    let token = setup.token().await;
    // The only slot, and the bytes of the token are nowhere at Redis.
    let answer = setup.client.call_and_wait("add", &json!({ "a": 1, "b": 1 })).await.unwrap();
    assert_eq!(answer.data.get(), r#"{"answer":2}"#);
    let mut conn = connection(&setup.bench).await;
    let record: BTreeMap<String, String> = conn.hgetall(keys().deferred(token.id())).await.unwrap();
    let secret = token.reveal().rsplit('.').next().unwrap().to_owned();
    assert!(!record.is_empty() && !record.values().any(|value| value.contains(&secret)));

    let error = WireError::new(Code::Conflict, "no");
    assert!(setup.client.settle::<()>(&token, Err(error)).await.unwrap());
    let error = failed(waiting.await.unwrap());
    assert_eq!((error.code, &*error.message, error.attempt), (Code::Conflict, "no", Some(1)));
}

#[tokio::test]
async fn one_of_twenty_settlements_succeeds() {
    let setup = Setup::new().await;
    let (ticket, token) = setup.submit(None).await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(setup.bench.client().await);
    }
    let settlers = (0..20).map(|n| {
        let (client, token) = (clients[n % 4].clone(), token.clone());
        tokio::spawn(async move { client.settle(&token, Ok(n)).await.unwrap() })
    });
    let settlers: Vec<_> = settlers.collect();
    let mut winners = Vec::new();
    for (n, settler) in settlers.into_iter().enumerate() {
        winners.extend(settler.await.unwrap().then_some(n));
    }
    assert_eq!(winners.len(), 1, "{winners:?}");
    assert_eq!(ticket.wait().await.unwrap().json::<usize>().unwrap(), winners[0]);
}

#[tokio::test]
async fn a_wrong_token_settles_nothing() {
    let setup = Setup::new().await;
    let (ticket, token) = setup.submit(None).await;
    let other = CompletionToken::new("default", token.id());
    let elsewhere = CompletionToken::new("default", "elsewhere");
    for wrong in [other, elsewhere] {
        let error = setup.client.settle(&wrong, Ok(1)).await.unwrap_err();
        assert!(matches!(error, SettleError::NotFound), "{error}");
    }
    assert!(setup.client.settle(&token, Ok(2)).await.unwrap());
    assert!(!setup.client.settle(&token, Ok(3)).await.unwrap());
    assert_eq!(ticket.wait().await.unwrap().data.get(), "2");
}

#[tokio::test]
async fn expired_deferral_is_answered_by_the_workers() {
    let setup = Setup::new().await;
    let mut results = setup.client.events("command_result").subscribe().await.unwrap();
    let request = setup.client.request("start").data(&1).header("nonce", "n-1");
    let error = failed(request.wait().await);
    assert_eq!((error.code, error.attempt), (Code::DeadlineExceeded, Some(1)));
    let event = next(&mut results).await;
    let context: Value = serde_json::from_str(event.context.get()).unwrap();
    assert_eq!((&context["nonce"], &context["result"]), (&json!("n-1"), &json!(400)));
    let token = setup.token().await;
    let error = setup.client.settle(&token, Ok(1)).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    nothing_is_left(&mut connection(&setup.bench).await).await;
}

#[tokio::test]
async fn results_follower_gets_each_result_under_its_nonce() {
    let setup = Setup::new().await;
    let mut results = setup.client.events("6001").subscribe().await.unwrap();
    for (nonce, settled) in [("7", Ok(json!({ "speed": 3 }))), ("8", Err("stuck"))] {
        let request = setup.client.request("start").header("nonce", nonce);
        let id = request.send().await.unwrap().id;
        let token = setup.token().await;
        let error = |message| WireError::new(Code::HandlerFailed, message);
        setup.client.settle(&token, settled.clone().map_err(error)).await.unwrap();
        let event = next(&mut results).await;
        assert_eq!(event.kind, Kind::COMMAND_RESULT);
        let context: Value = serde_json::from_str(event.context.get()).unwrap();
        let (result, code) = if settled.is_ok() { (100, 0) } else { (400, -32010) };
        let expected = json!({
            "id": id, "nonce": nonce, "command": "start", "result": result,
            "data": settled.clone().unwrap_or_default(), "errorCode": code,
            "errorMessage": settled.err(),
        });
        assert_eq!(context, expected);
    }
    // The second was fire and forget, and it failed.
    let letter = dead_letter(&mut connection(&setup.bench).await).await;
    assert_eq!((&*letter["code"], &*letter["reason"]), ("handler_failed", "stuck"));
}

#[tokio::test]
async fn withdrawn_call_is_settled_without_a_receiver() {
    let setup = Setup::new().await;
    let (ticket, token) = setup.submit(None).await;
    let mut results = setup.client.events("command_result").subscribe().await.unwrap();
    let found = setup.client.cancel(&ticket.id).await.unwrap();
    assert_eq!(found, redcall_client::Cancellation::Deferred);
    assert_eq!(failed(ticket.wait().await).code, Code::Cancelled);
    let event = next(&mut results).await;
    assert!(event.context.get().contains(r#""errorMessage":"the call was cancelled""#));
    let error = setup.client.settle(&token, Ok(1)).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);

    // A caller that goes withdraws its request.
    let request = setup.client.request("start").data(&3_600_000).header("nonce", &"7".repeat(257));
    let waiting = tokio::spawn(async move { request.wait().await });
    let token = setup.token().await;
    waiting.abort();
    let event = next(&mut results).await;
    let context: Value = serde_json::from_str(event.context.get()).unwrap();
    assert_eq!((&context["id"], &context["nonce"]), (&json!(token.id()), &Value::Null));
    assert_eq!(context["errorMessage"], "the call was cancelled");

    // So does one whose time is over; a deferral cannot outlast its wait.
    // Time enough to start on a machine that stops processes for a moment.
    let request = setup.client.request("start").data(&3_600_000).timeout(Duration::from_secs(2));
    let error = request.wait().await.unwrap_err();
    assert_eq!(error.code(), Code::DeadlineExceeded);
    let token = setup.token().await;
    let mut conn = connection(&setup.bench).await;
    eventually("it to be withdrawn, or over", async || {
        let pending: bool = conn.hexists(keys().deferred(token.id()), "raw").await.unwrap();
        (!pending).then_some(())
    })
    .await;
}

#[tokio::test]
async fn draining_worker_does_not_wait_for_deferrals() {
    let mut bench = Bench::new().await;
    bench.settings.worker.drain_timeout = Duration::from_secs(600);
    let setup = Setup::with(bench).await;
    let (ticket, token) = setup.submit(None).await;
    let drained = timeout(PATIENCE, setup.worker.drain()).await;
    drained.expect("it waits for a settlement");
    assert!(setup.client.settle(&token, Ok(1)).await.unwrap());
    assert_eq!(ticket.wait().await.unwrap().data.get(), "1");
}

#[tokio::test]
async fn deduplicated_caller_gets_the_deferred_end() {
    let setup = Setup::new().await;
    let call = || setup.client.request("start").idempotency_key("k");
    let first = call().submit().await.unwrap();
    let token = setup.token().await;
    let second = call().submit().await.unwrap();
    assert!(setup.client.settle(&token, Ok("once")).await.unwrap());
    let third = call().submit().await.unwrap();
    for ticket in [first, second, third] {
        assert_eq!(ticket.wait().await.unwrap().data.get(), r#""once""#);
    }
}

#[tokio::test]
async fn settled_answer_of_a_signed_request_is_signed() {
    let mut bench = Bench::new().await;
    let secret = Secret::new("a secret that only caller and worker share");
    let key = AuthKey { secret, jobs: vec!["*".to_owned()] };
    let signing = AuthSettings {
        keys: BTreeMap::from([("web".to_owned(), key)]),
        sign_with: Some("web".to_owned()),
        required: true,
    };
    bench.settings.auth = Some(signing);
    let setup = Setup::with(bench).await;
    let mut without = setup.bench.settings.clone();
    without.auth = None;
    let unsigned = Client::from_settings(&without).await.unwrap();
    for (key, ms) in [(None, None), (Some("k"), None), (None, Some(1))] {
        let mut request = setup.client.request("start").data(&ms);
        if let Some(key) = key {
            request = request.idempotency_key(key);
        }
        let ticket = request.submit().await.unwrap();
        let token = setup.token().await;
        if ms.is_some() {
            // The frame was signed by the worker beforehand.
            assert_eq!(failed(ticket.wait().await).code, Code::DeadlineExceeded);
            continue;
        }
        let error = unsigned.settle(&token, Ok(1)).await.unwrap_err();
        assert!(matches!(&error, SettleError::NoKey(key) if key == "web"), "{error}");
        assert!(setup.client.settle(&token, Ok(1)).await.unwrap());
        assert_eq!(ticket.wait().await.unwrap().data.get(), "1");
    }
}

#[tokio::test]
async fn data_that_cannot_be_written_still_answer() {
    let setup = Setup::new().await;
    let why = setup.client.call_and_wait("odd", &0).await.unwrap().json::<Vec<String>>().unwrap();
    assert_eq!(why.len(), 3, "{why:?}");
    let parts = ["7 days", "cannot be serialised as JSON", "limits.frame"];
    assert!(why.iter().zip(parts).all(|(why, parts)| why.contains(parts)), "{why:?}");

    let (ticket, token) = setup.submit(None).await;
    let unwritable = BTreeMap::from([((1, 2), 3)]);
    let error = setup.client.settle(&token, Ok(&unwritable)).await.unwrap_err();
    assert!(matches!(error, SettleError::Encode(_)), "{error}");
    let error = failed(ticket.wait().await);
    assert_eq!(error.code, Code::HandlerFailed);
    assert!(error.message.contains("not JSON"), "{error}");

    let (ticket, token) = setup.submit(None).await;
    let large = "x".repeat(setup.bench.settings.limits.answer);
    let error = setup.client.settle(&token, Ok(&large)).await.unwrap_err();
    assert_eq!(error.code(), Code::TooLarge);
    assert_eq!(failed(ticket.wait().await).code, Code::TooLarge);

    let (ticket, token) = setup.submit(None).await;
    let mut error = WireError::new(Code::HandlerFailed, "é".repeat(10_000));
    error.data = Some(serde_json::value::to_raw_value(&"x".repeat(2 << 20)).unwrap());
    assert!(setup.client.settle::<()>(&token, Err(error)).await.unwrap());
    let error = failed(ticket.wait().await);
    assert_eq!((error.message.len(), error.data.is_none()), (16 << 10, true));

    // A value without a JSON form is null, as everywhere.
    let (ticket, token) = setup.submit(None).await;
    assert!(setup.client.settle(&token, Ok(f64::NAN)).await.unwrap());
    assert_eq!(ticket.wait().await.unwrap().data.get(), "null");
}

#[tokio::test]
async fn answer_by_token_that_nests_too_deep_is_too_large() {
    let setup = Setup::new().await;
    let nested = |levels: usize| {
        let json = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        serde_json::value::RawValue::from_string(json).unwrap()
    };
    let (ticket, token) = setup.submit(None).await;
    assert!(setup.client.settle(&token, Ok(&nested(63))).await.unwrap());
    assert_eq!(ticket.wait().await.unwrap().data.get(), nested(63).get());
    let (ticket, token) = setup.submit(None).await;
    let error = setup.client.settle(&token, Ok(&nested(64))).await.unwrap_err();
    assert!(matches!(error, SettleError::TooDeep { limit: 64 }), "{error}");
    assert_eq!(failed(ticket.wait().await).code, Code::TooLarge);
    // The data of an error is a level deeper; it is omitted.
    let (ticket, token) = setup.submit(None).await;
    let mut error = WireError::new(Code::NotFound, "m");
    error.data = Some(nested(63));
    assert!(setup.client.settle::<()>(&token, Err(error)).await.unwrap());
    let error = failed(ticket.wait().await);
    assert_eq!((error.code, error.data.is_none()), (Code::NotFound, true));
}
