//! A Redis that can be reached and refuses.

use std::time::{Duration, Instant};

use redcall_client::{Client, Code};
use redcall_common::settings::Settings;
use redcall_store::StoreError;
use redcall_testkit::{ReplicatedRedis, TestRedis, eventually};
use redcall_tests::Bench;
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use serde_json::json;

use crate::life::works;
use crate::operation::probes::Served;
use crate::support::SOON;

/// Longer than pauses between attempts grow.
const LONG_ENOUGH: Duration = Duration::from_millis(1500);

async fn set(conn: &mut MultiplexedConnection, name: &str, value: &str) {
    let set = redis::cmd("CONFIG").arg("SET").arg(name).arg(value).to_owned();
    let () = set.query_async(conn).await.unwrap();
}

/// Closes all connections but the calling one.
async fn cut(conn: &mut MultiplexedConnection) {
    let cut = redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("normal").to_owned();
    let _: i64 = cut.query_async(conn).await.unwrap();
}

/// Returns the number of pops so far.
async fn pops(conn: &mut MultiplexedConnection) -> u64 {
    let query = redis::cmd("INFO").arg("commandstats").to_owned();
    let stats: String = query.query_async(conn).await.unwrap();
    let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_blmove:")).unwrap();
    let field = |name: &str| {
        let field = line.split(',').find_map(|field| field.strip_prefix(name)).unwrap();
        field.trim_start_matches('=').parse::<u64>().unwrap()
    };
    field("calls") + field("rejected_calls")
}

/// A worker that is ready, its client, and a connection of our own.
async fn stage(bench: &Bench) -> (Served, Client, MultiplexedConnection) {
    let served = Served::of(bench).await;
    served.becomes(200).await;
    (served, bench.client().await, bench.redis.connection().await)
}

/// The worker is not ready and calls are refused, for longer than pauses between attempts grow.
async fn is_away(served: &Served, client: &Client) {
    served.becomes(503).await;
    let call = client.request("echo").data(&1).timeout(LONG_ENOUGH);
    let error = call.wait().await.unwrap_err();
    assert_eq!((error.code(), error.may_be_queued()), (Code::Unavailable, false), "{error}");
    let reasons = served.get("/ready").await.reasons();
    assert!(reasons.iter().any(|reason| reason == "no connection to Redis"), "{reasons:?}");
}

/// Calls are answered and the worker is ready, both soon.
async fn goes_on(served: &Served, client: &Client) {
    let since = Instant::now();
    let call = client.request("echo").data(&2).timeout(SOON).wait();
    let ready = async {
        served.becomes(200).await;
        since.elapsed()
    };
    let (answer, ready) = tokio::join!(call, ready);
    assert_eq!(answer.unwrap().data.get(), "2");
    assert!(ready < SOON, "ready {ready:?} after Redis was back");
}

#[tokio::test]
async fn full_memory_refuses_requests_and_the_queue_drains() {
    let bench = Bench::new().await;
    let (mut conn, client) = (bench.redis.connection().await, bench.client().await);
    let mut tickets = Vec::new();
    for n in 0..200 {
        tickets.push(client.request("add").data(&json!({"a": n, "b": 1})).submit().await.unwrap());
    }
    let later = client.request("echo").data(&7).delay(Duration::from_millis(500));
    let later = later.submit().await.unwrap();
    set(&mut conn, "maxmemory", "1").await;

    let error = client.call("add", &1).await.unwrap_err();
    assert_eq!((error.code(), error.may_be_queued()), (Code::Overloaded, false));
    assert_eq!(error.retry_after(), Some(Duration::from_secs(1)));
    let expected =
        "overloaded: Redis refused the script `enqueue`: the server is out of memory (not queued)";
    assert_eq!(error.to_string(), expected);

    let _worker = bench.worker().await;
    for (n, ticket) in tickets.into_iter().enumerate() {
        assert_eq!(ticket.wait().await.unwrap().data.get(), format!(r#"{{"answer":{}}}"#, n + 1));
    }
    assert_eq!(later.wait().await.unwrap().data.get(), "7");
    set(&mut conn, "maxmemory", "0").await;
    assert_eq!(client.call_and_wait("echo", &1).await.unwrap().data.get(), "1");
}

#[tokio::test]
async fn idle_worker_continues_when_memory_is_free_again() {
    let bench = Bench::new().await;
    let (served, client, mut conn) = stage(&bench).await;
    set(&mut conn, "maxmemory", "1").await;
    // Its next pop is refused.
    cut(&mut conn).await;
    eventually("a call to be refused", async || {
        let refused = client.request("echo").data(&1).wait().await;
        refused.is_err_and(|error| error.code() == Code::Overloaded).then_some(())
    })
    .await;
    // It retries now and then, and does not spin.
    let (before, since) = (pops(&mut conn).await, Instant::now());
    works(Duration::from_secs(1)).await;
    let count = pops(&mut conn).await - before;
    let max = 60.0 * since.elapsed().as_secs_f64();
    assert!(count >= 3 && (count as f64) < max, "{count} pops of three queues, not below {max}");
    served.becomes(503).await;
    set(&mut conn, "maxmemory", "0").await;
    goes_on(&served, &client).await;
}

#[tokio::test]
async fn a_replica_is_refused_and_left_when_it_cannot_be_written_to() {
    let redis = ReplicatedRedis::start().await;
    let mut settings = Settings::default();
    settings.redis.url = redis.url(1);
    let error = Client::from_settings(&settings).await.map(drop).unwrap_err();
    assert_eq!(error.to_string(), "Redis refused a command: the server is a read-only replica");
    assert!(matches!(error, StoreError::Refused(_)));
}

#[tokio::test]
async fn demoted_server_is_used_again_once_it_is_primary() {
    let (bench, other) = (Bench::new().await, ReplicatedRedis::start().await);
    let (served, client, mut conn) = stage(&bench).await;
    assert_eq!(client.call_and_wait("echo", &1).await.unwrap().data.get(), "1");
    let port = other.url(0).rsplit(':').next().unwrap().to_owned();
    let follow = redis::cmd("REPLICAOF").arg("127.0.0.1").arg(port).to_owned();
    let () = follow.query_async(&mut conn).await.unwrap();
    for _ in 0..2 {
        let call = client.request("echo").data(&1).timeout(Duration::from_millis(300));
        let error = call.wait().await.unwrap_err();
        assert!(!error.may_be_queued(), "{error}");
        assert_eq!(error.code(), Code::Unavailable);
    }
    is_away(&served, &client).await;
    let lead = redis::cmd("REPLICAOF").arg("NO").arg("ONE").to_owned();
    let () = lead.query_async(&mut conn).await.unwrap();
    // Its data went with the synchronisation; the worker registers again.
    goes_on(&served, &client).await;
}

#[tokio::test]
async fn wrong_password_is_named_and_a_corrected_one_works() {
    let redis = TestRedis::start_with(["--requirepass", "right"]).await;
    let settings = |password: &str| {
        let mut settings = Settings { redis: redis.settings(), ..Settings::default() };
        let (socket, _) = settings.redis.url.split_once('?').unwrap_or((&settings.redis.url, ""));
        settings.redis.url = format!("{socket}?pass={password}");
        settings
    };
    for wrong in ["wrong", ""] {
        let error = Client::from_settings(&settings(wrong)).await.map(drop).unwrap_err();
        let expected = "Redis refused a command: wrong user or password";
        assert_eq!(error.to_string(), expected, "{wrong:?}");
    }
    Client::from_settings(&settings("right")).await.map(drop).unwrap();
}

#[tokio::test]
async fn locked_out_client_returns_with_the_old_password() {
    let bench = Bench::new().await;
    let (served, client, mut conn) = stage(&bench).await;
    set(&mut conn, "requirepass", "another").await;
    cut(&mut conn).await;
    eventually("a call to be refused", async || {
        let call = client.request("echo").data(&1).timeout(Duration::from_millis(300));
        let refused = call.wait().await.err()?;
        refused.to_string().contains("wrong user or password").then_some(())
    })
    .await;
    is_away(&served, &client).await;
    set(&mut conn, "requirepass", "").await;
    goes_on(&served, &client).await;
}

#[tokio::test]
async fn client_over_maxclients_returns_when_there_is_room() {
    let bench = Bench::new().await;
    let (served, client, mut conn) = stage(&bench).await;
    set(&mut conn, "maxclients", "1").await;
    cut(&mut conn).await;
    let call = client.request("echo").data(&1).timeout(Duration::from_millis(300));
    let error = call.wait().await.unwrap_err();
    assert_eq!((error.code(), error.may_be_queued()), (Code::Unavailable, false), "{error}");
    let error = Client::from_settings(&bench.settings).await.map(drop).unwrap_err();
    eprintln!("{error}: {:?}", std::error::Error::source(&error));
    is_away(&served, &client).await;
    set(&mut conn, "maxclients", "1000").await;
    goes_on(&served, &client).await;
}

/// A call is answered.
async fn answers(client: &Client) {
    client.call_and_wait("echo", &1).await.unwrap();
}

#[tokio::test]
async fn pops_work_without_the_right_to_client_reply() {
    let bench = Bench::new().await;
    let mut conn = bench.redis.connection().await;
    let acl = redis::cmd("ACL").arg("SETUSER").arg("default").arg("-client|reply").to_owned();
    let () = acl.query_async(&mut conn).await.unwrap();
    let (served, client, mut conn) = stage(&bench).await;
    for n in 0..5 {
        answers(&client).await;
        served.becomes(200).await;
        assert!(pops(&mut conn).await < 100, "after {n} calls");
    }
}

#[tokio::test]
async fn queue_whose_polls_stop_gets_a_pause_and_still_answers() {
    let bench = Bench::new().await;
    let (_served, client, mut conn) = stage(&bench).await;
    let () = conn.set("redcall:{default}:dead", "no stream").await.unwrap();
    let () = conn.rpush("redcall:{default}:queue", "garbage").await.unwrap();
    let before = pops(&mut conn).await;
    for _ in 0..3 {
        answers(&client).await;
    }
    let more = pops(&mut conn).await - before;
    assert!(more < 100, "{more} pops");
    let () = conn.del("redcall:{default}:dead").await.unwrap();
    eventually("the element to be dead-lettered", async || {
        let length = redis::cmd("XLEN").arg("redcall:{default}:dead").to_owned();
        (length.query_async::<usize>(&mut conn).await.ok() == Some(1)).then_some(())
    })
    .await;
}
