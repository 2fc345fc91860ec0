//! The status of a job whose worker is killed: correct at every instant, each state once.

use futures_util::future::join_all;
use redcall_client::{JobState, JobStatus, StatusStream};
use redcall_testkit::eventually;

use super::{MARK, Stage, is_dead, kill};
use crate::support::PATIENCE;
use JobState::{Pending, Processing, Success};

async fn submit(stage: &Stage, until: Option<&str>) -> redcall_client::Ticket {
    let data = serde_json::json!({ "mark": MARK, "until": until });
    let request = stage.client.request("job").data(&data).track_status(PATIENCE);
    request.submit().await.unwrap()
}

fn shown(states: &[JobStatus]) -> Vec<(JobState, u32)> {
    states.iter().map(|status| (status.state, status.attempt)).collect()
}

async fn all(mut monitor: StatusStream) -> Vec<(JobState, u32)> {
    let mut states = Vec::new();
    while let Some(status) = monitor.next().await {
        states.push(status.unwrap());
    }
    shown(&states)
}

#[tokio::test]
async fn monitors_see_each_state_once_despite_a_killed_worker() {
    let stage = Stage::new().await;
    let doomed = stage.worker_at(stage.bench.redis.url(), None).await;
    let ticket = submit(&stage, Some("never")).await;
    let clients = [stage.bench.client().await, stage.bench.client().await];
    let monitors = (0..100).map(|n| clients[n % 2].monitor_timeout(&ticket, PATIENCE));
    let monitors = join_all(monitors).await.into_iter().map(|monitor| all(monitor.unwrap()));
    let monitors = tokio::spawn(join_all(monitors.collect::<Vec<_>>()));
    assert_eq!(stage.has_run(&doomed).await, 1);
    kill(&doomed).await;
    let _successor = stage.successor().await;
    for states in monitors.await.unwrap() {
        assert_eq!(states, [(Pending, 0), (Processing, 1), (Processing, 2), (Success, 2)]);
    }
}

/// Returns the status when the worker had died at `step`, and the final one.
async fn dies_at(step: &str) -> [Vec<(JobState, u32)>; 2] {
    let mut stage = Stage::new().await;
    let doomed = stage.worker_at(stage.bench.redis.url(), Some(step)).await;
    let ticket = submit(&stage, None).await;
    is_dead(&doomed).await;
    let then = shown(&ticket.history().await.unwrap());
    let _successor = stage.successor().await;
    eventually("the answer", async || {
        (super::final_frames(&mut stage.conn, &ticket.response_key).await == 1).then_some(())
    })
    .await;
    [then, shown(&ticket.history().await.unwrap())]
}

#[tokio::test]
async fn the_status_is_true_wherever_the_worker_dies() {
    for step in ["before", "in", "after"] {
        let [then, end] = dies_at(step).await;
        assert_eq!(then, [(Pending, 0), (Processing, 1)], "{step}");
        let all = [(Pending, 0), (Processing, 1), (Processing, 2), (Success, 2)];
        assert_eq!(end, all, "{step}");
    }
}

#[tokio::test]
async fn status_settled_before_the_kill_is_final() {
    let stage = Stage::new().await;
    let doomed = stage.cut_off().await;
    let ticket = submit(&stage, Some("gate")).await;
    assert_eq!(stage.has_run(&doomed).await, 1);
    let settled =
        stage.proxy.hold_reply(|exchange| exchange.request_contains(r#""type":"result""#));
    std::fs::File::create(stage.folder.path().join("gate")).unwrap();
    let held = settled.await;
    let ended = ticket.history().await.unwrap();
    assert_eq!(shown(&ended), [(Pending, 0), (Processing, 1), (Success, 1)]);
    kill(&doomed).await;
    held.lose();
    let _successor = stage.successor().await;
    ticket.wait().await.unwrap();
    assert_eq!(shown(&ticket.history().await.unwrap()), shown(&ended));
}
