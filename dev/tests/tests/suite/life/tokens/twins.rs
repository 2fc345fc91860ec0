//! Refused elements that bear the id of a request which waits for its time, or has ended.

use std::time::Duration;

use redcall_client::{Client, Code};
use redcall_testkit::eventually;
use redcall_tests::Bench;
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use serde_json::{Value, json};

use super::super::{connection, dead_letter, job, keys};
use super::{Runs, signing, worker};
use crate::support::DEAD;

/// Changes the element of a delayed request, as a neighbour without a key would.
type Alteration = fn(&mut Value);

const TWINS: [(Alteration, &str); 4] = [
    (|twin| twin["data"] = json!("another"), "unauthorized"),
    (|twin| drop(twin.as_object_mut().unwrap().remove("auth")), "unauthorized"),
    (|twin| drop(twin.as_object_mut().unwrap().remove("response_key")), "unauthorized"),
    (|twin| drop(twin.as_object_mut().unwrap().remove("name")), "invalid_request"),
];

/// The only request of the schedule, as soon as there is one.
async fn scheduled(conn: &mut MultiplexedConnection) -> Value {
    let raw = eventually("it to be scheduled", async || {
        let all: Vec<String> = conn.hvals(keys().scheduled()).await.unwrap();
        all.into_iter().next()
    });
    serde_json::from_str(&raw.await).unwrap()
}

/// Pushes an altered copy, and waits until it is a dead letter.
async fn push_twin(
    conn: &mut MultiplexedConnection,
    real: &Value,
    (alter, code): (Alteration, &str),
) {
    let mut twin = real.clone();
    alter(&mut twin);
    super::push(conn, &twin).await;
    assert_eq!(dead_letter(conn).await["code"], code);
    let () = conn.del(DEAD).await.unwrap();
}

#[tokio::test]
async fn refused_twin_of_a_delayed_request_answers_nothing() {
    let bench = signing().await;
    let runs = Runs::default();
    let _worker = worker(&bench, &runs).await;
    let caller = bench.client().await;
    let mut conn = connection(&bench).await;
    for twin in TWINS {
        for with_key in [false, true] {
            let request = caller.request("counted").data("x").delay(Duration::from_millis(700));
            let request = request.track_status(Duration::from_secs(60));
            let key = format!("order {}", runs.count());
            let request = if with_key { request.idempotency_key(&key) } else { request };
            let waiting = tokio::spawn(async move { request.wait().await });
            let real = scheduled(&mut conn).await;
            push_twin(&mut conn, &real, twin).await;
            assert_eq!(waiting.await.unwrap().unwrap().data.get(), "\"ran\"");
            let states = keys().status(real["id"].as_str().unwrap());
            let states: Vec<String> = conn.lrange(states, 0, -1).await.unwrap();
            assert!(!states.iter().any(|state| state.contains("Error")), "{states:?}");
        }
    }
    assert_eq!(runs.count(), 8);
}

/// Its signature is good: it does not cover how long a request has waited.
#[tokio::test]
async fn expired_copy_does_not_end_a_delayed_request() {
    let bench = signing().await;
    let runs = Runs::default();
    let _worker = worker(&bench, &runs).await;
    let caller = bench.client().await;
    let mut conn = connection(&bench).await;
    let request = caller.request("counted").data("x").delay(Duration::from_millis(700));
    let waiting = tokio::spawn(async move { request.wait().await });
    let real = scheduled(&mut conn).await;
    let copy: Alteration = |copy| copy["enqueued_at"] = json!(1);
    push_twin(&mut conn, &real, (copy, "deadline_exceeded")).await;
    assert_eq!(waiting.await.unwrap().unwrap().data.get(), "\"ran\"");
    assert_eq!(runs.count(), 1);
}

#[tokio::test]
async fn refused_twin_of_a_retry_leaves_its_record() {
    let mut bench = signing().await;
    let base = Duration::from_secs(3_600);
    let retries = &mut job(&mut bench, "counted").retries;
    (retries.max, retries.base, retries.cap) = (1, base, base);
    let runs = Runs::default();
    let _worker = worker(&bench, &runs).await;
    let caller = bench.client().await;
    let mut conn = connection(&bench).await;
    let ticket = caller.request("counted").data("fails").submit().await.unwrap();
    let real = scheduled(&mut conn).await;
    let before: String = conn.hget(keys().attempts(), &ticket.id).await.unwrap();
    let frames: Vec<String> = conn.lrange(&ticket.response_key, 0, -1).await.unwrap();
    for twin in TWINS {
        push_twin(&mut conn, &real, twin).await;
        let after: Option<String> = conn.hget(keys().attempts(), &ticket.id).await.unwrap();
        assert_eq!(after.as_ref(), Some(&before));
        let now: Vec<String> = conn.lrange(&ticket.response_key, 0, -1).await.unwrap();
        assert_eq!(now, frames);
    }
    assert_eq!(runs.count(), 1);
}

async fn answered(bench: &Bench, caller: &Client) -> (redcall_client::Ticket, Value) {
    let mut conn = connection(bench).await;
    let () = conn.set(keys().paused(), "1").await.unwrap();
    let ticket = caller.request("counted").data("x").submit().await.unwrap();
    let raw = eventually("it to be back in the queue", async || {
        conn.lindex::<_, Option<String>>(keys().queue(), 0).await.unwrap()
    });
    let raw = raw.await;
    redcall_client::Client::resume(caller, "default").await.unwrap();
    eventually("its answer", async || {
        let last: Option<String> = conn.lindex(&ticket.response_key, -1).await.unwrap();
        last.filter(|last| last.contains(r#""type":"result""#))
    })
    .await;
    (ticket, serde_json::from_str(&raw).unwrap())
}

#[tokio::test]
async fn refused_copy_leaves_the_answer_that_waits_for_its_caller() {
    let bench = signing().await;
    let runs = Runs::default();
    let _worker = worker(&bench, &runs).await;
    let caller = bench.client().await;
    let mut conn = connection(&bench).await;
    let copies: [Alteration; 2] = [|_| {}, |copy| copy["data"] = json!("another")];
    for copy in copies {
        let (ticket, raw) = answered(&bench, &caller).await;
        push_twin(&mut conn, &raw, (copy, "unauthorized")).await;
        assert_eq!(ticket.wait().await.map(|it| it.data.get().to_owned()).unwrap(), "\"ran\"");
    }
    assert_eq!(runs.count(), 2);
}

/// Decision 22: no index by id shows which requests are queued. The second of two elements with one
/// id is a dead letter, whichever is the real one, and nothing is lost.
#[tokio::test]
async fn second_of_a_queued_request_and_its_twin_is_a_dead_letter() {
    let bench = signing().await;
    let runs = Runs::default();
    let _worker = worker(&bench, &runs).await;
    let caller = bench.client().await;
    let mut conn = connection(&bench).await;
    for (is_ahead, expected, runs_after) in [(false, Ok(()), 1), (true, Err(Code::Unauthorized), 1)]
    {
        assert!(caller.pause("default").await.unwrap());
        let ticket = caller.request("counted").data("x").submit().await.unwrap();
        let raw = eventually("it to be back in the queue", async || {
            conn.lindex::<_, Option<String>>(keys().queue(), 0).await.unwrap()
        })
        .await;
        let twin = raw.replace("\"x\"", "\"y\"");
        let mut push = redis::cmd(if is_ahead { "LPUSH" } else { "RPUSH" });
        let () = push.arg(keys().queue()).arg(&twin).query_async(&mut conn).await.unwrap();
        assert!(caller.resume("default").await.unwrap());
        let answer = ticket.wait().await.map(drop).map_err(|error| error.code());
        let letter = dead_letter(&mut conn).await;
        let second = if is_ahead { &raw } else { &twin };
        assert_eq!((&*letter["code"], &letter["request"]), ("invalid_request", second));
        assert_eq!((answer, runs.count()), (expected, runs_after), "ahead: {is_ahead}");
        let () = conn.del(DEAD).await.unwrap();
    }
}

/// A caller with a wrong key gets the refusal, although its key has a `pending` frame.
#[tokio::test]
async fn refused_caller_still_gets_the_error() {
    let bench = signing().await;
    let runs = Runs::default();
    let _worker = worker(&bench, &runs).await;
    let plain = super::client(&bench, None).await;
    let ticket = plain.request("counted").submit().await.unwrap();
    assert_eq!(ticket.wait().await.unwrap_err().code(), Code::Unauthorized);
    let delayed = plain.request("counted").delay(Duration::from_millis(20));
    assert_eq!(delayed.wait().await.unwrap_err().code(), Code::Unauthorized);
}
