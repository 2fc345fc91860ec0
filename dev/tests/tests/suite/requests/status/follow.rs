//! Monitors: each state once and in order, from any start and despite lost messages.

use std::time::Duration;

use futures_util::future::join_all;
use redcall_client::{Client, Code, DeadSelection};
use redcall_testkit::{FaultProxy, eventually};
use redcall_tests::Bench;
use redis::AsyncCommands;
use serde_json::json;
use tokio::time::timeout;

use super::{
    Gate, KEPT, Pending, Processing, SOON, Success, is_not_found, key, next, rest, shown, worker,
};

#[tokio::test]
async fn early_monitor_gets_each_state_once_in_order() {
    let bench = Bench::new().await;
    let (client, elsewhere) = (bench.client().await, bench.client().await);
    let ticket = client.request("gated").track_status(KEPT).submit().await.unwrap();
    let submitted = ticket.status().await.unwrap();
    assert_eq!((submitted.state, submitted.attempt), (Pending, 0));
    let mut early = elsewhere.monitor(&ticket.response_key).await.unwrap();
    assert_eq!(next(&mut early).await.state, Pending);

    let gate = Gate::new();
    let _worker = worker(&bench, &gate).await;
    let processing = next(&mut early).await;
    assert_eq!((processing.state, processing.attempt), (Processing, 1));
    let worker = bench.workers().await.remove(0).id;
    assert_eq!(processing.worker, Some(worker));
    // During the run: earlier states belong to it, and each form of its name works.
    let mut late = elsewhere.monitor(&ticket.id).await.unwrap();
    let mut later = client.monitor(("default", ticket.id.as_str())).await.unwrap();
    for monitor in [&mut late, &mut later] {
        let states = [next(monitor).await, next(monitor).await];
        assert_eq!(shown(&states), [(Pending, 0), (Processing, 1)]);
    }
    gate.open(1);
    for monitor in [&mut early, &mut late, &mut later] {
        assert_eq!(shown(&rest(monitor).await), [(Success, 1)]);
    }
    let history = ticket_history(&client, &ticket.id).await;
    assert!(history.is_sorted() && history[0] == submitted.at_ms, "{history:?}");
}

/// The times of all states, Redis ms.
async fn ticket_history(client: &Client, id: &str) -> Vec<u64> {
    let states = client.status_history(id).await.unwrap();
    assert_eq!(shown(&states), [(Pending, 0), (Processing, 1), (Success, 1)]);
    states.iter().map(|status| status.at_ms).collect()
}

#[tokio::test]
async fn late_monitor_gets_the_last_state_at_once() {
    let bench = Bench::new().await;
    let _worker = bench.worker().await;
    let client = bench.client().await;
    let answered = client.request("echo").track_status(KEPT).wait().await.unwrap();
    let failed = client.request("fail").data(&json!({})).track_status(KEPT).submit().await.unwrap();
    failed.wait().await.unwrap_err();
    let later = bench.client().await;
    assert_eq!(shown(&rest(&mut later.monitor(&answered.id).await.unwrap()).await), [(Success, 1)]);
    let states = rest(&mut later.monitor(&failed.response_key).await.unwrap()).await;
    assert_eq!((states.len(), super::code(&states[0])), (1, Code::HandlerFailed));
    assert_eq!(later.status(&failed).await.unwrap().at_ms, states[0].at_ms);
}

#[tokio::test]
async fn retried_job_is_processing_again() {
    let mut bench = Bench::new().await;
    let mut job = bench.settings.jobs["fail"].clone();
    job.retries.max = 2;
    job.retries.base = Duration::from_millis(1);
    job.kind = redcall_common::settings::HandlerSettings::Compiled("gated".to_owned());
    bench.settings.jobs.insert("gated".to_owned(), job);
    let gate = Gate::new();
    let _worker = worker(&bench, &gate).await;
    let client = bench.client().await;
    let ticket = client.request("gated").data(&2).track_status(KEPT).submit().await.unwrap();
    let mut monitor = ticket.monitor(SOON).await.unwrap();
    gate.open(3);
    let expected = [(Pending, 0), (Processing, 1), (Processing, 2), (Processing, 3), (Success, 3)];
    assert_eq!(shown(&rest(&mut monitor).await), expected);
}

#[tokio::test]
async fn states_before_the_subscription_are_not_missed() {
    let bench = Bench::new().await;
    let proxy = FaultProxy::start(&bench.redis);
    let gate = Gate::new();
    let _worker = worker(&bench, &gate).await;
    let client = bench.client().await;
    let far = bench.client_behind(&proxy).await;
    let ticket = client.request("gated").track_status(KEPT).submit().await.unwrap();
    let key = ticket.response_key.clone();
    let held = proxy.hold_request(|exchange| exchange.request_contains("SSUBSCRIBE"));
    let monitoring = tokio::spawn(async move {
        let mut monitor = far.monitor(&key).await.unwrap();
        rest(&mut monitor).await
    });
    let held = held.await;
    gate.open(1);
    ticket.wait().await.unwrap();
    assert!(held.deliver().await);
    let states = timeout(SOON, monitoring).await.unwrap().unwrap();
    assert_eq!(shown(&states).last(), Some(&(Success, 1)));
}

#[tokio::test]
async fn states_during_a_disconnection_are_read_afterwards() {
    let bench = Bench::new().await;
    let proxy = FaultProxy::start(&bench.redis);
    let gate = Gate::new();
    let _worker = worker(&bench, &gate).await;
    let client = bench.client().await;
    let far = bench.client_behind(&proxy).await;
    let ticket = client.request("gated").track_status(KEPT).submit().await.unwrap();
    let mut monitor = far.monitor(&ticket.id).await.unwrap();
    assert_eq!(next(&mut monitor).await.state, Pending);
    assert_eq!(next(&mut monitor).await.state, Processing);
    proxy.refuse();
    proxy.cut().await;
    gate.open(1);
    ticket.wait().await.unwrap();
    proxy.pass();
    assert_eq!(shown(&rest(&mut monitor).await), [(Success, 1)]);
}

#[tokio::test]
async fn thousand_monitors_share_connections_and_clean_up() {
    let bench = Bench::new().await;
    let gate = Gate::new();
    let _worker = worker(&bench, &gate).await;
    let client = bench.client().await;
    let mut conn = bench.redis.connection().await;
    let submission = || client.request("gated").track_status(KEPT).submit();
    let tickets = join_all((0..10).map(|_| submission())).await;
    let tickets: Vec<_> = tickets.into_iter().map(Result::unwrap).collect();
    let before = connections(&mut conn).await;
    let monitors = (0..1000).map(|n| tickets[n % 10].monitor(Duration::from_secs(20)));
    let monitors = join_all(monitors).await;
    assert!(connections(&mut conn).await <= before);
    gate.open(10);
    let ends = monitors.into_iter().map(async |monitor| shown(&rest(&mut monitor.unwrap()).await));
    for states in join_all(ends).await {
        assert_eq!(states, [(Pending, 0), (Processing, 1), (Success, 1)]);
    }
    eventually("all subscriptions to end", async || {
        let listening = redis::cmd("PUBSUB").arg("SHARDCHANNELS").arg("*:status:*").to_owned();
        let channels: Vec<String> = listening.query_async(&mut conn).await.unwrap();
        channels.is_empty().then_some(())
    })
    .await;
}

/// The number of connections of clients.
async fn connections(conn: &mut redis::aio::MultiplexedConnection) -> usize {
    let list: String = redis::cmd("CLIENT").arg("LIST").query_async(conn).await.unwrap();
    list.lines().filter(|line| line.contains(" name=redcall-client-")).count()
}

#[tokio::test]
async fn monitor_ends_at_its_timeout_and_may_start_again() {
    let bench = Bench::new().await;
    let client = bench.client().await;
    let ticket = client.request("gated").track_status(KEPT).submit().await.unwrap();
    let mut monitor = ticket.monitor(Duration::from_secs(1)).await.unwrap();
    assert_eq!(next(&mut monitor).await.state, Pending);
    let late = timeout(SOON, monitor.next()).await.unwrap().unwrap();
    assert!(late.as_ref().is_err_and(|error| error.code() == Code::DeadlineExceeded), "{late:?}");
    assert!(monitor.next().await.is_none());
    let mut again = ticket.monitor(SOON).await.unwrap();
    assert_eq!(next(&mut again).await.state, Pending);
}

#[tokio::test]
async fn record_that_expires_during_a_monitor_is_not_found() {
    let bench = Bench::new().await;
    let client = bench.client().await;
    let ticket = client.request("gated").track_status(KEPT).submit().await.unwrap();
    let mut monitor = ticket.monitor(SOON).await.unwrap();
    assert_eq!(next(&mut monitor).await.state, Pending);
    let mut conn = bench.redis.connection().await;
    let () = conn.del(key(&ticket.id)).await.unwrap();
    // It would read the key only some seconds later.
    let () =
        redis::cmd("SPUBLISH").arg(key(&ticket.id)).arg("").exec_async(&mut conn).await.unwrap();
    is_not_found(timeout(SOON, monitor.next()).await.unwrap().unwrap());
    assert!(monitor.next().await.is_none());
}

#[tokio::test]
async fn a_dead_letter_that_is_retried_has_another_life() {
    let bench = Bench::new().await;
    let running = bench.worker().await;
    let client = bench.client().await;
    let receipt = client.request("fail").data(&json!({})).track_status(KEPT).send().await.unwrap();
    eventually("it to fail", async || {
        let status = client.status(&receipt).await.unwrap();
        (status.state == super::Error).then_some(())
    })
    .await;
    running.drain().await;
    let retried = client.dead("default").retry(&DeadSelection::default(), false).await.unwrap();
    assert_eq!(retried.done.len(), 1);
    // The earlier life has ended: a new monitor follows the next one.
    let mut monitor = client.monitor(&receipt).await.unwrap();
    assert_eq!(next(&mut monitor).await.state, Pending);
    let _worker = bench.worker().await;
    let states = rest(&mut monitor).await;
    assert_eq!(shown(&states), [(Processing, 1), (super::Error, 1)]);
}
