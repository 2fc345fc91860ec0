//! The operations at rq's Redis below the door: room, bounds, and each result of their scripts.

mod scripts;

use std::time::Duration;

use redcall_store::Connector;
use redcall_store::rq::{JobEnd, RqFinish, RqInbox, RqKeys, TakenJob, Unreadable};
use redcall_testkit::TestRedis;
use redcall_testkit::redis::AsyncCommands as _;

use crate::rq_redis::RqRedis;

const TIMEOUT: Duration = Duration::from_secs(10);
const LONG: Duration = Duration::from_secs(1000);

async fn inbox(redis: &TestRedis, lease: Duration) -> RqInbox {
    let connector = Connector::new(&redis.settings(), "test").unwrap();
    RqInbox::open(connector, RqKeys::new("redcall", "door"), lease).await.unwrap()
}

async fn take(inbox: &RqInbox, ended: &[String], room: usize, max: usize) -> Vec<TakenJob> {
    let queues = ["high", "low"].map(str::to_owned);
    inbox.take(ended, &queues, room, max, TIMEOUT).await.unwrap()
}

fn end<'a>(job: &'a TakenJob, answer: Option<(&'a str, &'a str)>) -> JobEnd<'a> {
    JobEnd {
        id: &job.id,
        inbox: &job.inbox,
        status: "finished",
        result_ttl: Duration::from_secs(100),
        answer,
        answer_ttl: Duration::from_secs(50),
    }
}

fn ids(jobs: &[TakenJob]) -> Vec<&str> {
    jobs.iter().map(|job| std::str::from_utf8(&job.id).unwrap()).collect()
}

#[tokio::test]
async fn take_stops_at_room_and_at_bytes() {
    let redis = TestRedis::start().await;
    let mut rq = RqRedis(redis.connection().await);
    for (queue, id) in [("low", "d"), ("high", "a"), ("high", "b"), ("high", "c")] {
        rq.enqueue(queue, id, &[b'x'; 60]).await;
    }
    let inbox = inbox(&redis, LONG).await;
    assert_eq!(ids(&take(&inbox, &[], 1, 100).await), ["a"]);
    // Each has 60 bytes: the second one passes 100.
    assert_eq!(ids(&take(&inbox, &[], 10, 100).await), ["b", "c"]);
    let last = take(&inbox, &[], 10, 50).await;
    assert_eq!(ids(&last), ["d"]);
    assert_eq!(last[0].data, Err(Unreadable::TooLarge));
    assert!(take(&inbox, &[], 10, 100).await.is_empty());
}

#[tokio::test]
async fn job_ends_once_and_only_in_the_inbox_that_holds_it() {
    let redis = TestRedis::start().await;
    let mut rq = RqRedis(redis.connection().await);
    rq.enqueue("high", "a", b"x").await;
    let (first, second) =
        (inbox(&redis, Duration::from_millis(1)).await, inbox(&redis, LONG).await);
    // Another gateway took it 100 s ago.
    let (now, _): (u64, u64) =
        redcall_testkit::redis::cmd("TIME").query_async(&mut rq.0).await.unwrap();
    let () = rq.0.hset("rq:job:a", "redcall_taken_at", (now - 100) * 1000).await.unwrap();
    let taken = take(&first, &[], 10, 100).await;
    assert!(taken[0].age >= Duration::from_secs(99), "{:?}", taken[0].age);
    let ended = redcall_testkit::eventually("its lease to end", async || {
        let ended = second.beat(TIMEOUT).await.unwrap().ended;
        (!ended.is_empty()).then_some(ended)
    })
    .await;
    let again = take(&second, &ended, 10, 100).await;
    assert_eq!(ids(&again), ["a"]);
    assert!(again[0].age >= Duration::from_secs(99), "counted from the first taking");
    let of_first = end(&taken[0], Some(("key", "one")));
    assert_eq!(first.finish(&of_first, TIMEOUT).await.unwrap(), RqFinish::NotOurs);
    assert_eq!(rq.ttl("key").await, -2);
    let of_second = end(&again[0], Some(("key", "two")));
    assert_eq!(second.finish(&of_second, TIMEOUT).await.unwrap(), RqFinish::Ended);
    assert_eq!(second.finish(&of_second, TIMEOUT).await.unwrap(), RqFinish::NotOurs);
    let answers: Vec<String> = rq.0.lrange("key", 0, -1).await.unwrap();
    assert_eq!(answers, ["two"]);
    assert!((1..=50).contains(&rq.ttl("key").await));
    assert!((51..=100).contains(&rq.ttl("rq:job:a").await));
    // The ended gateway is forgotten with its last job.
    assert!(second.beat(TIMEOUT).await.unwrap().ended.is_empty());
    let gateways: usize = rq.0.zcard("redcall-gateway:rq:door:gateways").await.unwrap();
    assert_eq!(gateways, 1);
}

#[tokio::test]
async fn answer_to_a_key_of_another_type_ends_the_job_as_failed() {
    let redis = TestRedis::start().await;
    let mut rq = RqRedis(redis.connection().await);
    rq.enqueue("high", "a", b"x").await;
    let () = rq.0.set("key", "other").await.unwrap();
    let inbox = inbox(&redis, LONG).await;
    let taken = take(&inbox, &[], 10, 100).await;
    let ended = inbox.finish(&end(&taken[0], Some(("key", "x"))), TIMEOUT).await.unwrap();
    assert_eq!(ended, RqFinish::Unanswerable);
    assert_eq!(rq.status("a").await.as_deref(), Some("failed"));
}

#[tokio::test]
async fn left_inbox_is_taken_over_at_once() {
    let redis = TestRedis::start().await;
    let mut rq = RqRedis(redis.connection().await);
    rq.enqueue("high", "a", b"x").await;
    let (first, second) = (inbox(&redis, LONG).await, inbox(&redis, LONG).await);
    assert_eq!(take(&first, &[], 10, 100).await.len(), 1);
    assert!(second.beat(TIMEOUT).await.unwrap().ended.is_empty());
    assert_eq!(first.leave(TIMEOUT).await.unwrap(), 1);
    let ended = second.beat(TIMEOUT).await.unwrap().ended;
    assert_eq!(ids(&take(&second, &ended, 10, 100).await), ["a"]);
    assert_eq!(first.leave(TIMEOUT).await.unwrap(), 0);
}

#[tokio::test]
async fn full_redis_still_takes_and_ends_jobs() {
    let redis = TestRedis::start().await;
    let mut rq = RqRedis(redis.connection().await);
    rq.enqueue("high", "a", b"x").await;
    let inbox = inbox(&redis, LONG).await;
    let full = redcall_testkit::redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(1).to_owned();
    full.exec_async(&mut rq.0).await.unwrap();
    inbox.beat(TIMEOUT).await.unwrap();
    let taken = take(&inbox, &[], 10, 100).await;
    let ended = inbox.finish(&end(&taken[0], Some(("key", "x"))), TIMEOUT).await.unwrap();
    assert_eq!(ended, RqFinish::Ended);
}
