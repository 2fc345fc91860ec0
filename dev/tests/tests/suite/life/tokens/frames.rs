//! Answers under another key than that of their request, and where they are refused.

use std::time::Duration;

use redcall_client::{CallError, Client, Code};
use redcall_common::auth::Keyring;
use redcall_common::frame::FrameType;
use redcall_common::frame_head::FrameHead;
use redcall_testkit::eventually;
use redcall_tests::Bench;
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::{connection, keys};
use super::{auth, client, signing, worker};
use crate::support::seems_served;

/// A bench whose workers and clients know `web` and `batch`.
async fn bench() -> Bench {
    let mut bench = signing().await;
    bench.settings.auth = Some(auth(&[("web", "*"), ("batch", "*")], Some("web")));
    // A call without a worker is queued all the same.
    bench.settings.client.no_workers_grace = Duration::ZERO;
    bench
}

/// The answer that `key` signs, for this request or for its call.
fn answer(bench: &Bench, key: &str, request: &Value, call: Option<&str>) -> String {
    let signer = Keyring::new(bench.settings.auth.as_ref().unwrap()).signer(key, call).unwrap();
    let (id, response_key) = (request["id"].as_str().unwrap(), &request["response_key"]);
    let response_key = response_key.as_str().unwrap();
    let head = FrameHead { id, response_key, attempt: 1, signer: Some(&signer) };
    let data = RawValue::from_string("\"said\"".to_owned()).unwrap();
    head.data(FrameType::Result, 1, Some(&data))
}

/// Takes the next request from the queue, and answers it as the holder of `key`.
async fn answers(conn: &mut MultiplexedConnection, bench: &Bench, key: &str) {
    let raw: (String, String) = conn.blpop(keys().queue(), 20.0).await.unwrap();
    let request: Value = serde_json::from_str(&raw.1).unwrap();
    announce(conn, &request, &answer(bench, key, &request, None)).await;
}

async fn announce(conn: &mut MultiplexedConnection, request: &Value, frame: &str) {
    let (key, notify) = (&request["response_key"], &request["notify"]);
    let () = conn.rpush(key.as_str().unwrap(), frame).await.unwrap();
    let message = format!("[{frame}]");
    let () = redis::cmd("SPUBLISH")
        .arg(notify.as_str().unwrap())
        .arg(message)
        .query_async(conn)
        .await
        .unwrap();
}

fn code<T>(message: Result<T, CallError>) -> Result<(), Code> {
    message.map(drop).map_err(|error| error.code())
}

#[tokio::test]
async fn answer_under_another_key_ends_no_call_well() {
    let bench = bench().await;
    let caller = bench.client().await;
    let mut conn = connection(&bench).await;
    seems_served(&mut conn, "default").await;
    for (key, expected) in [("web", Ok(())), ("batch", Err(Code::Unauthorized))] {
        let waiting = tokio::spawn({
            let request = caller.request("counted");
            async move { request.wait().await }
        });
        answers(&mut conn, &bench, key).await;
        assert_eq!(code(waiting.await.unwrap()), expected, "waited for, {key}");

        let ticket = caller.request("counted").submit().await.unwrap();
        answers(&mut conn, &bench, key).await;
        assert_eq!(code(ticket.wait().await), expected, "its ticket, {key}");

        let ticket = caller.request("counted").submit().await.unwrap();
        answers(&mut conn, &bench, key).await;
        let elsewhere = bench.client().await;
        assert_eq!(code(elsewhere.fetch(&ticket.response_key).await), expected, "fetched, {key}");

        let mut stream = caller.request("counted").stream().await.unwrap();
        answers(&mut conn, &bench, key).await;
        assert_eq!(code(stream.next().await.unwrap()), expected, "streamed, {key}");

        let ticket = caller.request("counted").submit().await.unwrap();
        let mut stream = elsewhere.follow(&ticket.response_key, 1).await.unwrap();
        answers(&mut conn, &bench, key).await;
        assert_eq!(code(stream.next().await.unwrap()), expected, "followed, {key}");
    }
}

#[tokio::test]
async fn end_of_a_joined_call_under_another_key_is_refused() {
    let bench = bench().await;
    let caller = bench.client().await;
    let mut conn = connection(&bench).await;
    seems_served(&mut conn, "default").await;
    for (key, expected) in [("web", Ok(())), ("batch", Err(Code::Unauthorized))] {
        let waiting = tokio::spawn({
            let request = caller.request("counted").idempotency_key(&format!("order {key}"));
            async move { request.wait().await }
        });
        let raw: (String, String) = conn.blpop(keys().queue(), 20.0).await.unwrap();
        let request: Value = serde_json::from_str(&raw.1).unwrap();
        // The digest that names the call is that of its record.
        let record = eventually("its record", async || {
            let found: Vec<String> = conn.keys(keys().idem("*")).await.unwrap();
            found.into_iter().next()
        });
        let record = record.await;
        let digest = record.rsplit(':').next().unwrap().to_owned();
        announce(&mut conn, &request, &answer(&bench, key, &request, Some(&digest))).await;
        assert_eq!(code(waiting.await.unwrap()), expected, "{key}");
        let () = conn.del(record).await.unwrap();
    }
}

/// A client without a signing key accepts frames signed with any of its keys, as before.
#[tokio::test]
async fn reader_without_a_key_of_its_own_fetches_answers_of_each_key() {
    let bench = bench().await;
    let runs = super::Runs::default();
    let _worker = worker(&bench, &runs).await;
    let reader: Client = client(&bench, Some(auth(&[("web", "*"), ("batch", "*")], None))).await;
    for key in ["web", "batch"] {
        let keys = auth(&[("web", "*"), ("batch", "*")], Some(key));
        let caller = client(&bench, Some(keys)).await;
        let ticket = caller.request("counted").data("x").submit().await.unwrap();
        assert_eq!(code(reader.fetch(&ticket.response_key).await), Ok(()), "{key}");
    }
}
