//! A gateway that stops while requests are open for longer than `worker.drain_timeout`.

use std::time::{Duration, Instant};

use redcall_testkit::eventually;
use rustix::process::Signal;
use serde_json::json;

use crate::pm_peer::Peer;
use crate::rq_redis::{RqRedis, gated};
use crate::support::Stage;

const DRAIN: Duration = Duration::from_secs(2);

const DOORS: &str = "
[worker]
drain_timeout = \"2s\"
[gateways.python-rpc]
protocol = \"rq\"
take = [\"default\"]
timeout = \"40s\"
[gateways.apps]
protocol = \"pm\"
listen = \"127.0.0.1:0\"
serves = [\"run\"]
queues = [\"pm\"]
timeout = \"40s\"
";

#[tokio::test]
async fn drain_overrun_ends_in_time_and_loses_no_request() {
    let stage = Stage::new().await;
    let client = stage.client().await;
    let (_worker, mut gate) = gated(&stage).await;
    let first = stage.program(DOORS);
    // Open at the stop: a call by rq, a call by an application, a notification of the
    // application, and a job that the application runs.
    let mut rq = RqRedis::of(&stage).await;
    let key = rq.call("default", "gate", "\"rq\"").await;
    let mut peer = Peer::connect(first.address("apps", "listen").await).await;
    peer.request(1, "gate", "S", json!("pm")).await;
    peer.notify("gate", "S", json!("notification")).await;
    let ticket = client.request("run").queue("pm").submit().await.unwrap();
    let incoming = peer.next().await;
    assert_eq!(incoming["params"]["sid"], json!(ticket.id));
    let mut started = Vec::new();
    while started.len() < 3 {
        started.push(gate.started.recv().await.unwrap());
    }
    started.sort();
    assert_eq!(started, [r#""notification""#, r#""pm""#, r#""rq""#]);

    let begun = Instant::now();
    first.signal(Signal::TERM);
    let (status, log) = tokio::task::spawn_blocking(move || first.wait()).await.unwrap();
    let took = begun.elapsed();
    assert_eq!(status.code(), Some(0), "{log:?}");
    assert!(DRAIN <= took + Duration::from_millis(100), "it did not wait: {took:?}");
    assert!(took < DRAIN + Duration::from_secs(5), "{took:?}");
    let overrun = "open requests have not ended within worker.drain_timeout";
    assert!(log.iter().any(|line| line.contains(overrun)), "{log:?}");
    assert_eq!(peer.end().await, Vec::<String>::new());

    // The next gateway has the rest: the job of the application, and the answer of rq's caller.
    let second = stage.program(DOORS);
    let mut peer = Peer::connect(second.address("apps", "listen").await).await;
    let incoming = peer.next().await;
    assert_eq!(incoming["params"]["sid"], json!(ticket.id));
    peer.answer(&incoming, json!(7)).await;
    assert_eq!(client.fetch(&ticket.response_key).await.unwrap().data.get(), "7");
    gate.ends.add_permits(3);
    assert_eq!(rq.answer(&key).await, json!("rq"));
    rq.inboxes_are_empty().await;
    let dead = eventually("all runs to end", async || {
        let queue = client.inspect().queue("default").await.ok()?;
        (queue.running == 0 && queue.length == 0).then_some(queue.dead)
    })
    .await;
    assert_eq!((dead, gate.runs()), (0, 3), "each of them ran once");
}
