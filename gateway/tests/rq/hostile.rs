//! Hostile jobs: refused in bounded time and memory, while other jobs go on.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::rq_redis::{DOOR, RqRedis, uuid};
use crate::support::Stage;
use redcall_testkit::unhex;

const REFUSE: &str = include_str!("../vectors/rq/refuse.json");

/// The file that some of them would touch if they were run.
const TOUCHED: &str = "/tmp/pwned";

#[tokio::test]
async fn a_hundred_hostile_pickles_are_refused_beside_other_jobs() {
    let was_touched = std::path::Path::new(TOUCHED).exists();
    let stage = Stage::new().await;
    let _worker = stage.worker(|worker| worker).await;
    let program = stage.program(DOOR);
    let mut rq = RqRedis::of(&stage).await;
    // The program has opened the door.
    let key = rq.call("default", "add", "{\"a\": 0, \"b\": 0}").await;
    assert_eq!(rq.answer(&key).await, json!({"answer": 0}));
    let before = program.rss();

    let vectors: Vec<Value> = serde_json::from_str(REFUSE).unwrap();
    let (mut hostile, mut calls, began) = (Vec::new(), Vec::new(), Instant::now());
    for round in 0..3 {
        for vector in &vectors {
            let id = uuid();
            rq.enqueue("default", &id, &unhex(vector["data_hex"].as_str().unwrap())).await;
            hostile.push((id, vector["is"].as_str().unwrap()));
            let data = format!("{{\"a\": {}, \"b\": {round}}}", calls.len());
            calls.push((calls.len() + round, rq.call("default", "add", &data).await));
        }
    }
    assert!(hostile.len() >= 100);
    for (sum, key) in calls {
        assert_eq!(rq.answer(&key).await, json!({"answer": sum}));
    }
    for (id, is) in &hostile {
        rq.ends(id, "failed").await;
        let ttl = rq.ttl(&format!("rq:job:{id}")).await;
        assert!(ttl > 0, "{is}: {ttl}");
    }
    rq.inboxes_are_empty().await;
    let (took, grown) = (began.elapsed(), program.rss().saturating_sub(before));
    println!("{} hostile jobs: {took:?}, {} KiB more memory", hostile.len(), grown / 1024);
    // Half a second for two jobs, by the readers of an unoptimised build on a loaded machine.
    let bound = Duration::from_millis(500) * u32::try_from(hostile.len()).unwrap();
    assert!(took < bound, "{took:?}");
    assert!(grown < 64 << 20, "{grown} bytes");
    assert!(was_touched || !std::path::Path::new(TOUCHED).exists(), "a pickle was executed");
}
