//! How safe a request is when its receipt comes.

use std::time::{Duration, Instant};

use redcall_client::{Client, Code, Durability, StoreError};
use redcall_common::settings::Settings;
use redcall_testkit::{ReplicatedRedis, TestRedis, eventually};
use redcall_tests::Bench;
use redis::aio::MultiplexedConnection;
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{QUEUE, carried_out};

/// Time enough to be queued, and not to be confirmed, on a machine that stops processes for a
/// moment.
const BRIEF: Duration = Duration::from_secs(1);
/// The permitted excess of a call over its timeout, on such a machine.
const LATE: Duration = Duration::from_secs(4);

fn signal(pid: u32, signal: Signal) {
    kill_process(i32::try_from(pid).ok().and_then(Pid::from_raw).unwrap(), signal).unwrap();
}

async fn client(redis: &ReplicatedRedis, level: Durability) -> Client {
    let mut settings = Settings { redis: redis.settings(), ..Settings::default() };
    settings.redis.durability = level;
    Client::from_settings(&settings).await.unwrap()
}

/// How many requests lie on the default queue.
async fn queued(conn: &mut MultiplexedConnection) -> usize {
    redis::cmd("LLEN").arg(QUEUE).query_async(conn).await.unwrap()
}

/// The last command of each client connection, and whether it is blocked, in order of its id.
async fn connections(conn: &mut MultiplexedConnection) -> Vec<(String, bool)> {
    let list = redis::cmd("CLIENT").arg("LIST").arg("TYPE").arg("normal").to_owned();
    let list: String = list.query_async(conn).await.unwrap();
    let of_client = |line: &&str| line.contains(" name=redcall-client");
    let field = |line: &str, name: &str| {
        line.split(' ').find_map(|field| field.strip_prefix(name)).unwrap().to_owned()
    };
    let read = |line: &str| (field(line, "cmd="), field(line, "flags=").contains('b'));
    list.lines().filter(of_client).map(read).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receipt_is_replicated_once_a_replica_has_it() {
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
    // The receipts were right: the replica alone has them all.
    redis.kill(0);
    let mut conn = redis.connection(1).await;
    let queued = queued(&mut conn).await;
    assert!(queued >= 201, "{queued} of the replicated requests are there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unreplicated_call_is_queued_with_an_honest_receipt() {
    let redis = ReplicatedRedis::start().await;
    let client = client(&redis, Durability::Memory).await;
    signal(redis.pid(1), Signal::STOP);
    let request = || client.request("add").durability(Durability::Replicated);
    let since = Instant::now();
    let receipt = request().timeout(BRIEF).send().await.unwrap();
    assert_eq!(receipt.durability, Durability::Memory);
    assert!(since.elapsed() < BRIEF + LATE, "{:?}", since.elapsed());
    assert_eq!(client.inspect().queues().await.unwrap()[0].length, 1);
    // A call with more time does not wait behind one with less, and gets its confirmation.
    let later = tokio::spawn(request().timeout(Duration::from_secs(10)).send());
    let soon = request().timeout(BRIEF).send().await.unwrap();
    assert_eq!(soon.durability, Durability::Memory);
    signal(redis.pid(1), Signal::CONT);
    assert_eq!(later.await.unwrap().unwrap().durability, Durability::Replicated);
}

#[tokio::test]
async fn server_without_appendonly_is_refused_before_the_enqueue() {
    let bench = Bench::on(TestRedis::start_newer([] as [&str; 0]).await);
    let mut settings = bench.settings.clone();
    settings.redis.durability = Durability::Fsynced;
    let error = Client::from_settings(&settings).await.map(drop).unwrap_err();
    assert!(matches!(error, StoreError::Unsupported { .. }));
    let expected = "durability `fsynced` needs a Redis with `appendonly yes`";
    assert_eq!(error.to_string(), expected);
    let client = bench.client().await;
    let call = client.request("add").durability(Durability::Fsynced).send().await;
    let error = call.unwrap_err();
    assert_eq!((error.code(), error.may_be_queued()), (Code::Unavailable, false));
    assert_eq!(error.to_string(), format!("unavailable: {expected} (not queued)"));
    assert_eq!(client.inspect().queues().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receipt_is_fsynced_once_it_is_on_the_disk() {
    // Once a second: a receipt that came at once would have to lie.
    let aof = ["--appendonly", "yes", "--appendfsync", "everysec"];
    let bench = Bench::on(TestRedis::start_newer(aof).await);
    let mut settings = bench.settings.clone();
    settings.redis.durability = Durability::Fsynced;
    let client = Client::from_settings(&settings).await.unwrap();
    let mut conn = bench.redis.connection().await;
    for _ in 0..2 {
        let before = carried_out(&mut conn, "waitaof").await;
        let receipts = client.call_many((0..100).map(|n| client.request("add").data(&n))).await;
        for receipt in receipts {
            assert_eq!(receipt.unwrap().durability, Durability::Fsynced);
        }
        let queries = carried_out(&mut conn, "waitaof").await - before;
        assert!((1..50).contains(&queries), "{queries} queries for 100 calls");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unsynced_call_is_queued_with_an_honest_receipt() {
    // Left to the operating system: Redis never knows that it is there.
    let aof = ["--appendonly", "yes", "--appendfsync", "no"];
    let bench = Bench::on(TestRedis::start_newer(aof).await);
    let client = bench.client().await;
    let mut conn = bench.redis.connection().await;
    let request = || client.request("add").durability(Durability::Fsynced);
    let since = Instant::now();
    let receipt = request().timeout(BRIEF).send().await.unwrap();
    assert_eq!(receipt.durability, Durability::Memory);
    assert!(since.elapsed() < BRIEF + LATE, "{:?}", since.elapsed());
    let ticket = request().timeout(BRIEF).submit().await.unwrap();
    assert_eq!(ticket.durability, Durability::Memory);
    assert_eq!(queued(&mut conn).await, 2);
    // A call with more time gets its confirmation.
    let later = tokio::spawn(request().timeout(Duration::from_secs(10)).send());
    eventually("it to be queued", async || (queued(&mut conn).await == 3).then_some(())).await;
    let sync = redis::cmd("CONFIG").arg("SET").arg("appendfsync").arg("always").to_owned();
    let () = sync.query_async(&mut conn).await.unwrap();
    assert_eq!(later.await.unwrap().unwrap().durability, Durability::Fsynced);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_durability_wait_serves_all_callers() {
    const CALLS: u64 = 300;
    let redis = ReplicatedRedis::start().await;
    let client = client(&redis, Durability::Replicated).await;
    let mut conn = redis.connection(0).await;
    signal(redis.pid(1), Signal::STOP);
    let send = || tokio::spawn(client.request("add").timeout(Duration::from_secs(20)).send());
    let mut sending: Vec<_> = (0..CALLS).map(|_| send()).collect();
    // It waits for a confirmation; none has come so far.
    eventually("all to be queued and queried", async || {
        let waits = connections(&mut conn).await.contains(&("wait".to_owned(), true));
        (queued(&mut conn).await == CALLS as usize && waits).then_some(())
    })
    .await;
    // Of all its connections the waiting one is blocked; calls use another.
    let since = Instant::now();
    while since.elapsed() < Duration::from_millis(500) {
        let plain = client.request("add").durability(Durability::Memory).send().await.unwrap();
        assert_eq!(plain.durability, Durability::Memory);
        let all = connections(&mut conn).await;
        let count = |is: &dyn Fn(&(String, bool)) -> bool| all.iter().filter(|one| is(one)).count();
        assert!(count(&|(_, blocked)| *blocked) <= 1, "{all:?}");
        assert_eq!(count(&|(cmd, _)| cmd == "wait" || cmd == "set"), 1, "{all:?}");
        let enqueues = |cmd: &str| ["evalsha", "exists", "rpush"].contains(&cmd);
        assert!(count(&|(cmd, blocked)| enqueues(cmd) && !blocked) >= 1, "{all:?}");
    }
    signal(redis.pid(1), Signal::CONT);
    for sent in sending.drain(..) {
        assert_eq!(sent.await.unwrap().unwrap().durability, Durability::Replicated);
    }
    // One after the other, each 200 ms long; by far not one for each call.
    let queries = carried_out(&mut conn, "wait").await;
    assert!((1..CALLS / 5).contains(&queries), "{queries} queries for {CALLS} calls");
}

#[tokio::test]
async fn an_older_server_is_refused_with_the_version_that_is_needed() {
    let old = ["--appendonly", "yes", "--rename-command", "WAITAOF", ""];
    let bench = Bench::on(TestRedis::start_newer(old).await);
    let mut settings = bench.settings.clone();
    settings.redis.durability = Durability::Fsynced;
    let error = Client::from_settings(&settings).await.map(drop).unwrap_err();
    let expected = "durability `fsynced` needs Redis or Valkey 7.2 or newer";
    assert_eq!(error.to_string(), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn write_to_another_primary_is_not_confirmed_as_replicated() {
    let mut redis = ReplicatedRedis::start().await;
    let client = client(&redis, Durability::Replicated).await;
    assert_eq!(client.call("add", &1).await.unwrap().durability, Durability::Replicated);
    // The replica receives nothing of it, and becomes the primary.
    signal(redis.pid(1), Signal::STOP);
    let request = client.request("add").timeout(Duration::from_secs(10));
    let sending = tokio::spawn(request.send());
    let mut conn = redis.connection(0).await;
    eventually("both to be queued", async || (queued(&mut conn).await == 2).then_some(())).await;
    redis.kill(0);
    signal(redis.pid(1), Signal::CONT);
    redis.is_primary(1).await;
    // The new primary has no replica to wait for; it gets one, so that every wait is confirmed.
    redis.replace(0, 1).await;
    assert_eq!(sending.await.unwrap().unwrap().durability, Durability::Memory);
}
