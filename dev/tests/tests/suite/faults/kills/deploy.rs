//! A deploy: workers with lanes share a queue with those of an earlier version, which know none.

use redcall_common::keys::Keys;
use redis::AsyncCommands;

use super::{Stage, is_dead};

/// Takes over a worker without leases, as a worker of an earlier version does: it leaves lane
/// inboxes where they are.
async fn take_over_as_before(stage: &mut Stage) {
    let keys = Keys::new("redcall").of("default");
    let ids: Vec<String> = stage.conn.zrange(keys.workers(), 0, -1).await.unwrap();
    let [worker] = ids.as_slice() else { panic!("one worker: {ids:?}") };
    let young: Vec<String> = stage.conn.lrange(keys.lane_inbox(worker, 0), 0, -1).await.unwrap();
    assert_eq!(young.len(), 1, "its request is in its lane");
    let own = [keys.leases(worker), keys.worker(worker), format!("{}:poll:{worker}", keys.base())];
    let () = stage.conn.del(&own).await.unwrap();
    let () = stage.conn.zrem(keys.workers(), worker).await.unwrap();
}

#[tokio::test]
async fn request_of_a_lane_is_found_after_a_take_over_by_an_earlier_version() {
    let mut stage = Stage::new().await;
    let doomed = stage.worker_at(stage.bench.redis.url(), Some("in")).await;
    let ticket = stage.submit("job", None).await;
    let watch = stage.watch(&ticket).await;
    is_dead(&doomed).await;
    take_over_as_before(&mut stage).await;
    let successor = stage.successor().await;
    stage.is_answered_once(&ticket, watch, 2).await;
    let expected = [("ran 1".to_owned(), doomed.pid()), ("ran 2".to_owned(), successor.pid())];
    assert_eq!(stage.effects(), expected);
}

/// It leases each request, as all did before there were lanes.
#[tokio::test]
async fn request_of_a_killed_worker_without_lanes_is_run_by_one_with_lanes() {
    let mut stage = Stage::without_lanes().await;
    let doomed = stage.worker_at(stage.bench.redis.url(), Some("in")).await;
    let ticket = stage.submit("job", None).await;
    let watch = stage.watch(&ticket).await;
    is_dead(&doomed).await;
    let () = stage.conn.del(Keys::new("redcall").of("default").cancelled()).await.unwrap();
    let successor = stage.successor().await;
    stage.is_answered_once(&ticket, watch, 2).await;
    let expected = [("ran 1".to_owned(), doomed.pid()), ("ran 2".to_owned(), successor.pid())];
    assert_eq!(stage.effects(), expected);
}
