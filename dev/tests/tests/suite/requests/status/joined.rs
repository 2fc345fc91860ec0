//! Jobs that have joined the call of another one end with it.

use redcall_client::{Client, Code, Ticket};
use redcall_testkit::eventually;
use redcall_tests::Bench;
use redis::AsyncCommands;

use super::{Error, Gate, KEPT, Pending, Processing, SOON, Success, code, rest, shown, worker};
use crate::support::{QUEUE, waited};

async fn submit(client: &Client, fails: u32) -> Ticket {
    let request = client.request("gated").data(&fails).idempotency_key("order 7");
    request.track_status(KEPT).submit().await.unwrap()
}

#[tokio::test]
async fn deduplicated_job_is_pending_until_the_call_ends() {
    for (fails, state) in [(0, Success), (1, Error)] {
        let bench = Bench::new().await;
        let gate = Gate::new();
        let client = bench.client().await;
        let _worker = worker(&bench, &gate).await;
        let first = submit(&client, fails).await;
        let second = submit(&client, fails).await;
        // Pushed without a check: its worker finds out.
        let mut conn = bench.redis.connection().await;
        let rest_of = r#","idempotency_key":"order 7","status_ttl_ms":60000"#;
        let pushed = waited("pushed", "gated", &fails.to_string(), rest_of);
        let silent = format!(r#"{{"id":"silent","name":"gated","data":{fails}{rest_of}}}"#);
        let () = conn.rpush(QUEUE, &[pushed, silent]).await.unwrap();
        let record = redcall_common::digest::of_call("gated", "order 7", None);
        let record = redcall_common::keys::Keys::new("redcall").of("default").idem(&record);
        eventually("all to have joined", async || {
            (conn.hlen::<_, usize>(&record).await.unwrap() == 7).then_some(())
        })
        .await;
        let mut monitor = second.monitor(SOON).await.unwrap();
        assert_eq!(super::next(&mut monitor).await.state, Pending);
        gate.open(1);
        assert_eq!(shown(&rest(&mut monitor).await), [(state, 1)]);
        let own = first.history().await.unwrap();
        assert_eq!(shown(&own), [(Pending, 0), (Processing, 1), (state, 1)]);
        for id in ["pushed", "silent"] {
            let states = eventually("its end", async || client.status_history(id).await.ok()).await;
            assert_eq!(shown(&states), [(state, 1)], "{id}");
            if state == Error {
                assert_eq!(code(&states[0]), Code::HandlerFailed);
                assert_eq!(states[0].error.as_ref().unwrap().message, "run 1");
            }
        }
        // A later call gets that end at once, tracked or not.
        let later = submit(&client, fails).await;
        assert_eq!(shown(&later.history().await.unwrap()), [(state, 1)]);
        let pushed = waited("late", "gated", &fails.to_string(), rest_of);
        let () = conn.rpush(QUEUE, pushed).await.unwrap();
        let states = eventually("its end", async || client.status_history("late").await.ok()).await;
        assert_eq!(shown(&states), [(state, 1)]);
    }
}

#[tokio::test]
async fn withdrawn_deduplicated_job_is_cancelled_alone() {
    let bench = Bench::new().await;
    let gate = Gate::new();
    let client = bench.client().await;
    let (first, second) = (submit(&client, 0).await, submit(&client, 0).await);
    second.cancel().await.unwrap();
    assert_eq!(code(&second.status().await.unwrap()), Code::Cancelled);
    assert_eq!(first.status().await.unwrap().state, Pending);
    let _worker = worker(&bench, &gate).await;
    gate.open(1);
    let mut monitor = first.monitor(SOON).await.unwrap();
    assert_eq!(rest(&mut monitor).await.last().unwrap().state, Success);
}

#[tokio::test]
async fn deduplicated_job_of_a_restarted_call_is_cancelled() {
    let bench = Bench::new().await;
    let client = bench.client().await;
    let (first, second) = (submit(&client, 0).await, submit(&client, 0).await);
    client.cancel_in("default", &first.id).await.unwrap();
    let again = submit(&client, 0).await;
    assert_eq!(code(&second.status().await.unwrap()), Code::Cancelled);
    let gate = Gate::new();
    gate.open(1);
    let _worker = worker(&bench, &gate).await;
    let mut monitor = again.monitor(SOON).await.unwrap();
    assert_eq!(rest(&mut monitor).await.last().unwrap().state, Success);
    let mut monitor = first.monitor(SOON).await.unwrap();
    assert_eq!(code(rest(&mut monitor).await.last().unwrap()), Code::Cancelled);
}
