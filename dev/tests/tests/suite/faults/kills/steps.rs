//! SIGKILL at each step of a job's life. Another worker takes over; the caller gets one answer.

use super::{MARK, Stage, is_dead, kill};

/// Runs a job on a worker that kills itself at `step`, and then on another one; how many times its
/// handler ran.
async fn dies_at(step: &str) -> usize {
    let mut stage = Stage::new().await;
    let doomed = stage.worker_at(stage.bench.redis.url(), Some(step)).await;
    let ticket = stage.submit("job", None).await;
    let watch = stage.watch(&ticket).await;
    is_dead(&doomed).await;
    let _successor = stage.successor().await;
    stage.is_answered_once(&ticket, watch, 2).await;
    stage.effects().len()
}

/// Kills a worker before it reads the reply of `command` that brings the request.
async fn killed_before_the_fetch_reply(mut stage: Stage, command: &'static str) {
    let doomed = stage.cut_off().await;
    let leased = stage.proxy.hold_reply(move |exchange| {
        exchange.request_contains(command) && exchange.reply_contains(MARK)
    });
    let ticket = stage.submit("job", None).await;
    let watch = stage.watch(&ticket).await;
    let held = leased.await;
    kill(&doomed).await;
    held.lose();
    let successor = stage.successor().await;
    stage.is_answered_once(&ticket, watch, 2).await;
    assert_eq!(stage.effects(), [("ran 2".to_owned(), successor.pid())]);
}

#[tokio::test]
async fn killed_after_the_pop_of_a_lane_before_its_reply_is_read() {
    killed_before_the_fetch_reply(Stage::new().await, "BLMOVE").await;
}

#[tokio::test]
async fn killed_after_the_lease_before_its_reply_is_read() {
    killed_before_the_fetch_reply(Stage::without_lanes().await, "EVALSHA").await;
}

#[tokio::test]
async fn killed_before_the_handler() {
    assert_eq!(dies_at("before").await, 1);
}

#[tokio::test]
async fn killed_in_the_handler() {
    assert_eq!(dies_at("in").await, 2);
}

#[tokio::test]
async fn killed_after_the_handler_before_the_settlement() {
    assert_eq!(dies_at("after").await, 2);
}

#[tokio::test]
async fn killed_after_the_settlement_before_its_reply_is_read() {
    let mut stage = Stage::new().await;
    let doomed = stage.cut_off().await;
    let settled =
        stage.proxy.hold_reply(|exchange| exchange.request_contains("\"type\":\"result\",\"seq\""));
    let ticket = stage.submit("job", None).await;
    let watch = stage.watch(&ticket).await;
    let held = settled.await;
    kill(&doomed).await;
    held.lose();
    let _successor = stage.successor().await;
    stage.is_answered_once(&ticket, watch, 1).await;
    assert_eq!(stage.effects(), [("ran 1".to_owned(), doomed.pid())]);
}
