//! Requests beyond a plain push: delayed, repeated under a key, refused for want of room. The
//! workers' side is tested with the workers.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime};

use redcall_client::{CallError, Cancellation, Code, RequestBuilder, Retry};
use redcall_common::digest;
use redcall_common::settings::QueueSettings;
use redcall_testkit::eventually;
use redcall_tests::Bench;
use redis::AsyncCommands;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::requests::still::Still;
use crate::support::{CANCELLED, QUEUE, SCHEDULE, carried_out, response_key, result_frame};

const SCHEDULED: &str = "redcall:{default}:scheduled";

impl Still {
    fn keyed(&self) -> RequestBuilder {
        self.request().idempotency_key("k")
    }

    /// The only envelope in the queue, once there is one.
    async fn envelope(&mut self) -> Value {
        serde_json::from_str(&self.queued(1).await[0]).unwrap()
    }

    /// The only delayed request, and its due time.
    async fn scheduled(&mut self) -> (Value, u64) {
        let due: Vec<(String, u64)> = eventually("a request to be scheduled", async || {
            let due: Vec<_> = self.conn.zrange_withscores(SCHEDULE, 0, -1).await.unwrap();
            (!due.is_empty()).then_some(due)
        })
        .await;
        assert_eq!(due.len(), 1, "{due:?}");
        let raw: String = self.conn.hget(SCHEDULED, &due[0].0).await.unwrap();
        let envelope: Value = serde_json::from_str(&raw).unwrap();
        assert_eq!(envelope["id"], due[0].0);
        (envelope, due[0].1)
    }

    async fn record(&mut self) -> HashMap<String, String> {
        self.conn.hgetall(record()).await.unwrap()
    }

    /// The ids that wait for the call under the key, once there are `count`.
    async fn waiters(&mut self, count: usize) -> Vec<String> {
        eventually("the callers to join", async || {
            let fields = self.record().await;
            let waiters = fields.keys().filter_map(|field| field.strip_prefix("w:"));
            let waiters: Vec<String> = waiters.map(str::to_owned).collect();
            (waiters.len() == count).then_some(waiters)
        })
        .await
    }
}

fn record() -> String {
    format!("redcall:{{default}}:idem:{}", digest::of_call("add", "k", None))
}

#[tokio::test]
async fn delayed_request_is_in_the_schedule() {
    let mut still = Still::new().await;
    let before = still.now_ms().await;
    let receipt = still.request().delay(Duration::from_secs(60)).send().await.unwrap();
    assert!(!receipt.deduplicated);
    let (envelope, due) = still.scheduled().await;
    assert_eq!(envelope["id"], *receipt.id);
    assert_eq!(envelope["enqueued_at"], due);
    assert_eq!((envelope.get("budget_ms"), envelope.get("response_key")), (None, None));
    assert!((before + 59_900..before + 61_000).contains(&due), "{due} at {before}");
    let () = still.conn.del(&[SCHEDULE, SCHEDULED]).await.unwrap();

    let mut off = Vec::new();
    for _ in 0..5 {
        // Each client has measured Redis's clock for itself.
        let client = still.bench.client().await;
        let time = SystemTime::now() + Duration::from_secs(3600);
        let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
        client.request("add").data(&1).at(time).send().await.unwrap();
        off.push(u128::from(still.scheduled().await.1).abs_diff(since_epoch));
        let () = still.conn.del(&[SCHEDULE, SCHEDULED]).await.unwrap();
    }
    // Converted through lengths of time: to the millisecond or two. The best of them: a machine may
    // delay a measurement, or this test between two readings of a clock.
    assert!(off.iter().min().is_some_and(|off| *off <= 2), "off by {off:?} ms");

    // A past time is due now, and its timeout begins now.
    still.request().at_ms(1).timeout(Duration::from_secs(9)).send().await.unwrap();
    let envelope = still.envelope().await;
    let now = still.now_ms().await;
    assert!((before..=now + 100).contains(&envelope["enqueued_at"].as_u64().unwrap()));
    assert_eq!(envelope["budget_ms"], 9000);
    let error = still.request().delay(Duration::MAX).send().await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidRequest);
}

#[tokio::test]
async fn wait_for_a_delayed_request_includes_the_delay() {
    let mut still = Still::new().await;
    let since = Instant::now();
    // Time enough to be placed on a machine that stops processes for a moment.
    let request = still.request().delay(Duration::from_millis(800));
    let error = request.timeout(Duration::from_millis(200)).wait().await.unwrap_err();
    assert_eq!(error.code(), Code::DeadlineExceeded);
    assert!((1000..5000).contains(&since.elapsed().as_millis()), "{:?}", since.elapsed());
    let ids: Vec<String> = eventually("the withdrawal", async || {
        let ids: Vec<String> = still.conn.zrange(CANCELLED, 0, -1).await.unwrap();
        (!ids.is_empty()).then_some(ids)
    })
    .await;
    // A worker finds it at once, and ends it.
    assert_eq!(still.envelope().await["id"], *ids[0]);
    assert!(!still.conn.exists::<_, bool>(SCHEDULED).await.unwrap());
    let () = still.conn.del(QUEUE).await.unwrap();

    let request = still.request().delay(Duration::from_secs(60)).timeout(Duration::from_secs(9));
    let waiting = tokio::spawn(request.wait());
    let (envelope, due) = still.scheduled().await;
    assert_eq!((&envelope["budget_ms"], &envelope["enqueued_at"]), (&json!(9000), &json!(due)));
    let id = envelope["id"].as_str().unwrap();
    let () = still.conn.rpush(response_key(id), result_frame(id, "3")).await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap().data.get(), "3");
}

#[tokio::test]
async fn delayed_request_does_not_need_a_worker_yet() {
    let mut bench = Bench::new().await;
    bench.settings.client.no_workers_grace = Duration::ZERO;
    let client = bench.client().await;
    let delay = Duration::from_millis(50);
    let request = client.request("add").delay(delay).timeout(delay);
    assert_eq!(request.wait().await.unwrap_err().code(), Code::DeadlineExceeded);
    let keyed = client.request("add").idempotency_key("k");
    assert_eq!(keyed.wait().await.unwrap_err().code(), Code::NoWorkers);
}

#[tokio::test]
async fn a_call_under_a_key_waits_for_a_worker_to_come() {
    let mut still = Still::new().await;
    let () = still.conn.del("redcall:{default}:workers").await.unwrap();
    let waiting = tokio::spawn(still.keyed().wait());
    eventually("the client to check again", async || {
        (carried_out(&mut still.conn, "zrange").await > 0).then_some(())
    })
    .await;
    assert!(!waiting.is_finished() && still.record().await.is_empty());
    crate::support::seems_served(&mut still.conn, "default").await;
    assert_eq!(still.envelope().await["id"], *still.waiters(1).await[0]);
    waiting.abort();
}

#[tokio::test]
async fn mark_of_a_submitted_request_outlives_its_run() {
    let mut still = Still::new().await;
    let hour = Duration::from_secs(3600);
    let week = 7 * 24 * 3_600_000;
    for (request, lasts) in [
        (still.request().delay(hour), week + 3_600_000),
        (still.request().delay(hour).timeout(hour), 2 * 3_600_000 + 30_000),
        (still.request(), week),
    ] {
        let ticket = request.submit().await.unwrap();
        let ttl: i64 = still.conn.pttl(&ticket.response_key).await.unwrap();
        assert!((lasts - 10_000..=lasts).contains(&ttl), "{ttl} instead of {lasts}");
        let late = still.client.fetch_timeout(&ticket.response_key, Duration::from_secs(1));
        assert_eq!(late.await.unwrap_err().code(), Code::DeadlineExceeded);
    }
}

#[tokio::test]
async fn envelope_carries_the_workers_fields() {
    let mut still = Still::new().await;
    still.keyed().max_attempts(3).send().await.unwrap();
    let envelope = still.envelope().await;
    assert_eq!((&envelope["idempotency_key"], &envelope["max_attempts"]), (&json!("k"), &json!(3)));
    let () = still.conn.del(QUEUE).await.unwrap();
    still.request().max_attempts(1).send().await.unwrap();
    assert_eq!(still.envelope().await["max_attempts"], 1);
    for key in ["", &"x".repeat(257)] {
        let error = still.request().idempotency_key(key).send().await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidRequest);
    }
}

#[tokio::test]
async fn the_same_call_is_queued_once_and_joined_by_the_others() {
    let mut still = Still::new().await;
    let other = still.bench.client().await;
    let first = tokio::spawn(still.keyed().wait());
    let id = still.waiters(1).await.remove(0);
    let request = other.request("add").data(&1).idempotency_key("k");
    let second = tokio::spawn(request.wait());
    let ids = still.waiters(2).await;
    let ticket = still.keyed().submit().await.unwrap();
    let receipt = still.keyed().send().await.unwrap();
    assert_eq!((receipt.id.as_str(), receipt.deduplicated), (id.as_str(), true));
    assert_eq!(still.waiters(3).await.len(), 3);
    let fields = still.record().await;
    assert_eq!((&*fields["id"], &*fields["keep"]), (&*id, "1"));
    assert_eq!(still.envelope().await["id"], *id);
    // As the end of the one that runs is given to all.
    for id in ids {
        let () = still.conn.rpush(response_key(&id), result_frame(&id, "2")).await.unwrap();
    }
    let frame = result_frame(&ticket.id, "2");
    let () = still.conn.rpush(&ticket.response_key, frame).await.unwrap();
    assert_eq!(first.await.unwrap().unwrap().data.get(), "2");
    assert_eq!(second.await.unwrap().unwrap().data.get(), "2");
    assert_eq!(ticket.wait().await.unwrap().data.get(), "2");
}

#[tokio::test]
async fn the_kept_end_of_a_call_answers_the_same_call_again() {
    let mut still = Still::new().await;
    let receipt = still.keyed().send().await.unwrap();
    assert!(!receipt.deduplicated);
    let tail = r#","type":"result","seq":1,"attempt":1,"data":"kept"}"#;
    let () = still.conn.hset(record(), "tail", tail).await.unwrap();
    let mut took = Vec::new();
    for _ in 0..5 {
        let since = Instant::now();
        let answer = still.keyed().wait().await.unwrap();
        took.push(since.elapsed());
        assert_eq!(answer.data.get(), r#""kept""#);
        assert_ne!(answer.id, receipt.id);
    }
    // Announced, not found by chance: that takes a second, each time.
    assert!(took.iter().min().is_some_and(|took| took.as_millis() < 800), "{took:?}");
    let ticket = still.keyed().submit().await.unwrap();
    assert_eq!(ticket.wait().await.unwrap().data.get(), r#""kept""#);
    let again = still.keyed().send().await.unwrap();
    assert_eq!((again.id, again.deduplicated), (receipt.id.clone(), true));
    let error = r#","type":"error","error":{"code":"handler_failed","message":"no"}}"#;
    let () = still.conn.hset(record(), "tail", error).await.unwrap();
    assert_eq!(still.keyed().wait().await.unwrap_err().code(), Code::HandlerFailed);
    assert_eq!(still.envelope().await["id"], *receipt.id);
}

#[tokio::test]
async fn the_same_key_with_other_data_is_refused() {
    let still = Still::new().await;
    still.keyed().send().await.unwrap();
    for error in [
        still.keyed().data(&2).wait().await.unwrap_err(),
        still.keyed().data(&2).send().await.unwrap_err(),
        still.keyed().data(&2).submit().await.err().unwrap(),
    ] {
        assert!(matches!(error, CallError::Rejected { .. }), "{error:?}");
        assert_eq!((error.code(), error.code().retry()), (Code::Conflict, Retry::Useless));
        assert!(!error.may_be_queued() && error.retry_after().is_none());
    }
    // Another name, or another queue, is another call.
    let other = still.client.request("echo").data(&2).idempotency_key("k");
    assert!(!other.send().await.unwrap().deduplicated);
    let elsewhere = still.keyed().data(&2).queue("other");
    assert!(!elsewhere.send().await.unwrap().deduplicated);
}

#[tokio::test]
async fn a_call_of_several_is_withdrawn_by_the_last_of_them() {
    let mut still = Still::new().await;
    let first = tokio::spawn(still.keyed().wait());
    let id = still.waiters(1).await.remove(0);
    let second = tokio::spawn(still.keyed().wait());
    still.waiters(2).await;
    let ticket = still.keyed().submit().await.unwrap();
    first.abort();
    let left = still.waiters(2).await;
    assert!(!left.contains(&id));
    second.abort();
    assert_eq!(still.waiters(1).await, [ticket.id.as_str()]);
    assert!(!still.conn.exists::<_, bool>(CANCELLED).await.unwrap());
    assert_eq!(ticket.cancel().await.unwrap(), Cancellation::Unseen);
    assert_eq!(still.conn.zrange::<_, Vec<String>>(CANCELLED, 0, -1).await.unwrap(), [&*id]);
    assert!(still.record().await.is_empty());
    // Cancelled: the same call is a new one.
    assert!(!still.keyed().send().await.unwrap().deduplicated);
    let raws: Vec<String> = still.conn.lrange(QUEUE, 0, -1).await.unwrap();
    assert_eq!(raws.len(), 2);
    // A request of a fire-and-forget caller continues without its waiters.
    let waiting = tokio::spawn(still.keyed().wait());
    still.waiters(1).await;
    waiting.abort();
    still.waiters(0).await;
    assert_eq!(still.conn.zcard::<_, usize>(CANCELLED).await.unwrap(), 1);
}

#[tokio::test]
async fn full_queue_returns_a_retry_time() {
    let mut bench = Bench::new().await;
    bench.settings.limits.max_length = 100;
    let two = QueueSettings { max_length: Some(2), ..QueueSettings::default() };
    bench.settings.queues.insert("default".to_owned(), two);
    let still = Still::with(bench).await;
    still.request().send().await.unwrap();
    still.request().delay(Duration::from_secs(60)).send().await.unwrap();
    for error in [
        still.keyed().send().await.unwrap_err(),
        still.keyed().wait().await.unwrap_err(),
        still.request().submit().await.err().unwrap(),
        still.request().delay(Duration::from_secs(60)).send().await.unwrap_err(),
    ] {
        assert_eq!((error.code(), error.may_be_queued()), (Code::Overloaded, false));
        assert_eq!(error.retry_after(), Some(Duration::from_secs(1)));
    }
    // Plain ones count the same.
    let error = still.request().send().await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(1)));
    assert_eq!(still.request().wait().await.unwrap_err().code(), Code::Overloaded);
    // Other queues have their own measure.
    for _ in 0..3 {
        still.request().queue("other").send().await.unwrap();
    }
}

#[tokio::test]
async fn call_with_too_many_waiters_returns_a_retry_time() {
    let mut still = Still::new().await;
    let submits = (0..100).map(|_| still.keyed().submit());
    let tickets = futures_util::future::join_all(submits).await;
    assert!(tickets.iter().all(Result::is_ok));
    let error = still.keyed().submit().await.err().unwrap();
    assert_eq!(error.code(), Code::Overloaded);
    assert_eq!(error.retry_after(), Some(Duration::from_secs(1)));
    assert_eq!(still.waiters(100).await.len(), 100);
    still.envelope().await;
}

#[tokio::test]
async fn call_with_a_lost_reply_is_repeated_and_runs_once() {
    let mut bench = Bench::new().await;
    bench.settings.redis.response_timeout = Duration::from_secs(1);
    let mut still = Still::with(bench).await;
    still.request().queue("warm").send().await.unwrap();
    still.request().send().await.unwrap();
    let () = still.conn.del(QUEUE).await.unwrap();
    let pid = Pid::from_raw(still.bench.redis.pid().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    let lost = still.keyed().timeout(Duration::from_secs(5)).send().await;
    kill_process(pid, Signal::CONT).unwrap();
    let error = lost.unwrap_err();
    assert!(matches!(error, CallError::Unknown { .. }), "{error:?}");
    assert_eq!((error.code(), error.may_be_queued()), (Code::Unavailable, true));
    let receipt = eventually("Redis to answer", async || still.keyed().send().await.ok()).await;
    assert_eq!(still.envelope().await["id"], *receipt.id);
}
