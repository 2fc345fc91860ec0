//! Every call survives that Redis forgets its scripts, as it does when it is restarted.

use std::sync::Arc;

use redcall_client::Client;
use redcall_common::settings::Settings;
use redcall_store::{
    AnswerOps as _, BlockingPop, CancelRequest, Cancellation, EnqueueExtResult, Enqueued,
    PollOps as _, Pushed, QueuePoll, Released, RequestPop as _, RunOps as _, SendOps as _,
    UpkeepOps as _, Waited, WorkerKeys,
};
use redcall_testkit::eventually;
use redcall_tests::Bench;
use serde_json::json;

use crate::lua::enqueue_ext::extended;
use crate::lua::{LONG, Store, TIMEOUT, envelope, item};
use crate::support::blocked;

async fn flush(conn: &mut redis::aio::MultiplexedConnection) {
    let () = redis::cmd("SCRIPT").arg("FLUSH").query_async(conn).await.unwrap();
}

#[tokio::test]
async fn every_typed_call_loads_its_script_again() {
    let mut store = Store::new().await;
    let own = store.worker("own");
    let (items, keys) = ([item(false, &envelope("a"))], store.keys.clone());
    let one = Enqueued { waited: Waited::Taken, accepted: 1 };

    flush(&mut store.conn).await;
    assert_eq!(store.link.enqueue(&keys, 0, &items, &[], TIMEOUT).await.unwrap(), one);
    flush(&mut store.conn).await;
    let items = [item(false, &envelope("b"))];
    let forget = [keys.response("x")];
    assert_eq!(store.link.enqueue(&keys, 0, &items, &forget, TIMEOUT).await.unwrap(), one);
    flush(&mut store.conn).await;
    let results = store.link.enqueue_ext(&keys, 0, &[extended("c")], TIMEOUT).await.unwrap();
    assert_eq!(results[0].as_ref().unwrap(), &EnqueueExtResult::Queued);
    flush(&mut store.conn).await;
    let results =
        store.link.enqueue_ext(&keys, 0, &[extended("d"), extended("e")], TIMEOUT).await.unwrap();
    assert!(
        results
            .iter()
            .all(|results| results.as_ref().is_ok_and(|one| *one == EnqueueExtResult::Queued))
    );
    flush(&mut store.conn).await;
    let withdrawn = CancelRequest { id: "x".to_owned(), ttl_ms: 60_000, record: None };
    let (cancelled, _) = store.link.cancel(&keys, &[withdrawn], TIMEOUT).await.unwrap();
    assert_eq!(cancelled, [Cancellation::Unseen]);
    // Nothing was pushed twice.
    assert_eq!(store.queued().await, ["a", "b", "c", "d", "e"].map(envelope));
    flush(&mut store.conn).await;
    assert_eq!(store.lease(&own, 1).await, ["a"]);
    flush(&mut store.conn).await;
    let push = store.link.push_frame(&own.leases, "a", &store.reply("a"), "1", 9, TIMEOUT).await;
    assert_eq!(push.unwrap(), Pushed::Yes);
    assert_eq!(store.frames("a").await, ["1"]);
    flush(&mut store.conn).await;
    let trimmed = store.link.trim(&keys.response("a"), (0, 0), 0, TIMEOUT).await;
    assert_eq!(trimmed.unwrap(), Some((0, 0)));
    flush(&mut store.conn).await;
    store.beat("own", LONG, &[]).await;
    flush(&mut store.conn).await;
    let released = store.link.release(&keys, "own", true, TIMEOUT).await.unwrap();
    assert_eq!(released, Released::Back(1));
    assert_eq!(store.queued().await, ["a", "b", "c", "d", "e"].map(envelope));
}

#[tokio::test]
async fn poll_of_several_queues_recovers_without_duplicates() {
    let mut store = Store::new().await;
    let first = store.worker("own");
    let keys = redcall_common::keys::Keys::new("redcall").of("second");
    let second = WorkerKeys::new(keys, "own", 100, LONG);
    store.push_ids(&["a", "b"]).await;
    flush(&mut store.conn).await;
    store.lives(&first).await;
    store.lives(&second).await;
    let poll = |keys| QueuePoll::take(keys, 1);
    let replies = store.link.poll(&[poll(&second), poll(&first)], TIMEOUT).await.unwrap();
    let replies: Vec<_> = replies.into_iter().map(Result::unwrap).collect();
    assert!(replies[0].leased.is_empty());
    assert_eq!((replies[1].leased.len(), replies[1].length), (1, Some(1)));
    assert_eq!(store.live().await, ["a"]);
}

#[tokio::test]
async fn blocked_pop_still_leases_after_a_flush() {
    let mut store = Store::new().await;
    let own = Arc::new(store.worker("own"));
    store.lives(&own).await;
    let mut pop = BlockingPop::new(store.connector.clone(), own);
    let popping = tokio::spawn(async move { pop.next(TIMEOUT, &[], false).await });
    eventually("the pop to block", async || (blocked(&mut store.conn).await == 1).then_some(()))
        .await;
    flush(&mut store.conn).await;
    store.push_ids(&["a"]).await;
    let reply = popping.await.unwrap().unwrap();
    assert_eq!(reply.leased.len(), 1);
    assert_eq!(reply.leased[0].raw, envelope("a").into_bytes());
    assert_eq!(store.live().await, ["a"]);
}

#[tokio::test]
async fn workers_and_clients_continue_their_calls() {
    let bench = Bench::new().await;
    let _worker = bench.worker().await;
    let settings: &Settings = &bench.settings;
    let client = Client::from_settings(settings).await.unwrap();
    let mut conn = bench.redis.connection().await;
    for n in 0..20 {
        flush(&mut conn).await;
        let answer = client.call_and_wait("add", &json!({"a": n, "b": 1})).await.unwrap();
        assert_eq!(answer.data.get(), format!(r#"{{"answer":{}}}"#, n + 1));
    }
}

/// Flushes the scripts as fast as Redis can, so that none that was loaded is there when it is
/// called.
async fn flush_without_end(redis: &redcall_testkit::TestRedis) {
    let mut conn = redis.connection().await;
    let mut flushes = redis::pipe();
    for _ in 0..5 {
        flushes.cmd("SCRIPT").arg("FLUSH").ignore();
    }
    loop {
        let () = flushes.query_async(&mut conn).await.unwrap();
    }
}

#[tokio::test]
async fn script_that_is_flushed_behind_each_load_runs_nevertheless() {
    let bench = Bench::new().await;
    let _worker = bench.worker().await;
    let client = bench.client().await;
    let calls = async {
        for n in 0..8 {
            let answer = client.call_and_wait("add", &json!({"a": n, "b": 1})).await;
            assert_eq!(answer.unwrap().data.get(), format!(r#"{{"answer":{}}}"#, n + 1));
            let far = client.request("add").delay(std::time::Duration::from_secs(60));
            let receipt = far.idempotency_key(&n.to_string()).send().await.unwrap();
            client.cancel_in("default", &receipt.id).await.unwrap();
            client.pause("low").await.unwrap();
            client.dead("default").list(&Default::default()).await.unwrap();
            let many = (0..3).map(|n| client.request("echo").data(&n).queue(&format!("q{n}")));
            for sent in client.call_many(many).await {
                sent.unwrap();
            }
            client.publish("news", redcall_client::Kind(7), &n).await.unwrap();
        }
    };
    tokio::select! {
        () = calls => {}
        () = flush_without_end(&bench.redis) => {}
    }
}
