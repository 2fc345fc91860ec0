//! How safe a request is when its receipt comes.

use std::time::{Duration, Instant};

use redcall_client::{Client, Code, Durability, StoreError};
use redcall_common::settings::Settings;
use redcall_testkit::{ReplicatedRedis, TestRedis};
use redcall_tests::Bench;
use rustix::process::{Pid, Signal, kill_process};

fn signal(pid: u32, signal: Signal) {
    kill_process(i32::try_from(pid).ok().and_then(Pid::from_raw).unwrap(), signal).unwrap();
}

async fn client(redis: &ReplicatedRedis, level: Durability) -> Client {
    let mut settings = Settings { redis: redis.settings(), ..Settings::default() };
    settings.redis.durability = level;
    Client::from_settings(&settings).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_says_replicated_when_a_replica_has_it() {
    let mut redis = ReplicatedRedis::start().await;
    let client = client(&redis, Durability::Replicated).await;
    let receipts = client.call_many((0..200).map(|n| client.request("add").data(&n))).await;
    for receipt in receipts {
        assert_eq!(receipt.unwrap().durability, Durability::Replicated);
    }
    let plain = client.request("add").durability(Durability::Memory).send().await.unwrap();
    assert_eq!(plain.durability, Durability::Memory);
    let ticket = client.request("add").submit().await.unwrap();
    assert_eq!(ticket.durability, Durability::Replicated);
    // What it said: the replica alone has them all.
    redis.kill(0);
    let mut conn = redis.connection(1).await;
    let queued: usize =
        redis::cmd("LLEN").arg("redcall:{default}:queue").query_async(&mut conn).await.unwrap();
    assert!(queued >= 201, "{queued} of the replicated requests are there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_replicated_in_time_is_queued_and_its_receipt_says_so() {
    let redis = ReplicatedRedis::start().await;
    let client = client(&redis, Durability::Memory).await;
    signal(redis.pid(1), Signal::STOP);
    let request = || client.request("add").durability(Durability::Replicated);
    let since = Instant::now();
    let receipt = request().timeout(Duration::from_millis(500)).send().await.unwrap();
    assert_eq!(receipt.durability, Durability::Memory);
    assert!(since.elapsed() < Duration::from_millis(1500), "{:?}", since.elapsed());
    assert_eq!(client.inspect().queues().await.unwrap()[0].length, 1);
    // Who has more time does not wait behind who had less, and hears when it is so.
    let later = tokio::spawn(request().timeout(Duration::from_secs(10)).send());
    let soon = request().timeout(Duration::from_millis(300)).send().await.unwrap();
    assert_eq!(soon.durability, Durability::Memory);
    signal(redis.pid(1), Signal::CONT);
    assert_eq!(later.await.unwrap().unwrap().durability, Durability::Replicated);
}

#[tokio::test]
async fn a_server_that_cannot_tell_is_refused_before_anything_is_queued() {
    let bench = Bench::on(TestRedis::start_newer([] as [&str; 0]).await);
    let mut settings = bench.settings.clone();
    settings.redis.durability = Durability::Fsynced;
    let error = Client::from_settings(&settings).await.map(drop).unwrap_err();
    assert!(matches!(error, StoreError::Unsupported { .. }));
    let said = "durability `fsynced` needs a Redis with `appendonly yes`";
    assert_eq!(error.to_string(), said);
    let client = bench.client().await;
    let call = client.request("add").durability(Durability::Fsynced).send().await;
    let error = call.unwrap_err();
    assert_eq!((error.code(), error.may_be_queued()), (Code::Unavailable, false));
    assert_eq!(error.to_string(), format!("unavailable: {said} (not queued)"));
    assert_eq!(client.inspect().queues().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_says_fsynced_when_it_is_on_the_disk() {
    // Once a second: a receipt that came at once would have to lie.
    let aof = ["--appendonly", "yes", "--appendfsync", "everysec"];
    let bench = Bench::on(TestRedis::start_newer(aof).await);
    let mut settings = bench.settings.clone();
    settings.redis.durability = Durability::Fsynced;
    let client = Client::from_settings(&settings).await.unwrap();
    for _ in 0..2 {
        let receipts = client.call_many((0..100).map(|n| client.request("add").data(&n))).await;
        for receipt in receipts {
            assert_eq!(receipt.unwrap().durability, Durability::Fsynced);
        }
    }
}

#[tokio::test]
async fn an_older_server_is_refused_with_the_version_that_is_needed() {
    let old = ["--appendonly", "yes", "--rename-command", "WAITAOF", ""];
    let bench = Bench::on(TestRedis::start_newer(old).await);
    let mut settings = bench.settings.clone();
    settings.redis.durability = Durability::Fsynced;
    let error = Client::from_settings(&settings).await.map(drop).unwrap_err();
    let said = "durability `fsynced` needs Redis or Valkey 7.2 or newer";
    assert_eq!(error.to_string(), said);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_went_to_another_server_than_the_one_that_is_asked_is_not_called_replicated() {
    let mut redis = ReplicatedRedis::start().await;
    let client = client(&redis, Durability::Replicated).await;
    assert_eq!(client.call("add", &1).await.unwrap().durability, Durability::Replicated);
    // The replica hears nothing of it, and becomes the primary.
    signal(redis.pid(1), Signal::STOP);
    let request = client.request("add").timeout(Duration::from_secs(10));
    let sending = tokio::spawn(request.send());
    let mut conn = redis.connection(0).await;
    redcall_testkit::eventually("both to be queued", async || {
        let queued: usize =
            redis::cmd("LLEN").arg("redcall:{default}:queue").query_async(&mut conn).await.ok()?;
        (queued == 2).then_some(())
    })
    .await;
    redis.kill(0);
    signal(redis.pid(1), Signal::CONT);
    redis.is_primary(1).await;
    // The new primary has no replica to ask; it gets one, so that every question is answered yes.
    redis.replace(0, 1).await;
    assert_eq!(sending.await.unwrap().unwrap().durability, Durability::Memory);
}
