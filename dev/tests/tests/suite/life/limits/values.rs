//! Customers of a limited job are distinguished by the values as callers wrote them.

use std::sync::Arc;

use redcall_common::settings::Limit;
use redcall_testkit::eventually;
use redcall_tests::Bench;
use redcall_worker::{Request, State};
use redis::AsyncCommands;
use serde_json::Value;
use tokio::sync::{Semaphore, mpsc};

use crate::life::{connection, job, keys};
use crate::support::{carried_out, waited};

/// Reports its start, then waits for a permit.
type Start = (mpsc::UnboundedSender<String>, Arc<Semaphore>);

async fn order(request: Request, start: State<Start>) {
    let _ = start.0.send(request.id().to_owned());
    if let Ok(permit) = start.1.acquire().await {
        permit.forget();
    }
}

#[tokio::test]
async fn customers_are_distinguished_by_values_as_written() {
    let mut bench = Bench::new().await;
    bench.settings.worker.queues = vec!["default".to_owned()];
    let limit = Limit { key: Some("customer".into()), concurrency: Some(1), rate: None };
    job(&mut bench, "order").limit = Some(limit);
    let (started, mut starts) = mpsc::unbounded_channel();
    let gate = Arc::new(Semaphore::new(0));
    let start: Start = (started, gate.clone());
    let _worker =
        bench.worker_with(|worker| worker.state::<Start>(start).handler("order", order)).await;
    let mut conn = connection(&bench).await;
    // Numbers that are equal as floats, or as texts of a number, are different customers.
    let different =
        ["1311768467463790320", "1311768467463790321", "1", "1.0", "\"1\"", "true", "null"];
    let same = ["1", "\"\\u0031\"", "1311768467463790321"];
    let element = |(n, value): (usize, &&str)| {
        waited(&format!("x{n}"), "order", &format!(r#"{{"customer":{value}}}"#), "")
    };
    let all: Vec<&str> = different.into_iter().chain(same).collect();
    let elements: Vec<String> = all.iter().enumerate().map(element).collect();
    let () = conn.rpush(keys().queue(), elements).await.unwrap();
    let mut running = Vec::new();
    for _ in different {
        running.push(starts.recv().await.unwrap());
    }
    running.sort_unstable();
    assert_eq!(running, ["x0", "x1", "x2", "x3", "x4", "x5", "x6"]);
    // The others wait for the first of their customer, over further polls.
    let polls = carried_out(&mut conn, "evalsha").await;
    eventually("further polls", async || {
        (carried_out(&mut conn, "evalsha").await > polls + 20).then_some(())
    })
    .await;
    assert!(starts.try_recv().is_err());
    gate.add_permits(different.len());
    let mut later = Vec::new();
    for _ in same {
        later.push(starts.recv().await.unwrap());
    }
    later.sort_unstable();
    assert_eq!(later, ["x7", "x8", "x9"]);
    gate.add_permits(same.len());
}

#[tokio::test]
async fn customer_that_two_readers_could_read_differently_is_refused() {
    let mut bench = Bench::new().await;
    let limit = Limit { key: Some("customer".into()), concurrency: Some(1), rate: None };
    job(&mut bench, "order").limit = Some(limit);
    let (started, mut starts) = mpsc::unbounded_channel();
    let start: Start = (started, Arc::new(Semaphore::new(9)));
    let _worker =
        bench.worker_with(|worker| worker.state::<Start>(start).handler("order", order)).await;
    let mut conn = connection(&bench).await;
    let far = "x".repeat(70_000);
    for (id, data) in [
        ("twice", r#"{"customer":"a","customer":"b"}"#.to_owned()),
        ("far", format!(r#"{{"other":"{far}","customer":"a"}}"#)),
    ] {
        let () = conn.rpush(keys().queue(), waited(id, "order", &data, "")).await.unwrap();
        let frame = eventually("the answer", async || {
            let frames: Vec<String> = conn.lrange(keys().response(id), 0, -1).await.unwrap();
            frames.into_iter().next()
        })
        .await;
        let frame: Value = serde_json::from_str(&frame).unwrap();
        assert_eq!(frame["error"]["code"], "invalid_data", "{frame}");
        let message = frame["error"]["message"].as_str().unwrap();
        assert!(message.contains("`customer`"), "{message}");
    }
    assert!(starts.try_recv().is_err());
}
