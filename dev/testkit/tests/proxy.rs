//! The fault proxy: it passes everything on, except for the injected fault.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

use std::time::{Duration, Instant};

use redcall_testkit::redis::aio::MultiplexedConnection;
use redcall_testkit::redis::{AsyncCommands, AsyncConnectionConfig, Client, RedisResult};
use redcall_testkit::{FaultProxy, Odds, TestRedis, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;

/// A server, its proxy, and a connection to the server without faults.
struct Stage {
    proxy: FaultProxy,
    direct: MultiplexedConnection,
    _redis: TestRedis,
}

impl Stage {
    async fn new() -> Self {
        let redis = TestRedis::start().await;
        Self { proxy: FaultProxy::start(&redis), direct: redis.connection().await, _redis: redis }
    }

    /// A connection through the proxy, in the given version of the protocol.
    async fn connect_as(&self, version: u8) -> RedisResult<MultiplexedConnection> {
        let client = Client::open(format!("{}/?protocol={version}", self.proxy.url())).unwrap();
        let patience = Some(Duration::from_secs(10));
        let config = AsyncConnectionConfig::new().set_response_timeout(patience);
        client.get_multiplexed_async_connection_with_config(&config).await
    }

    async fn connect(&self) -> MultiplexedConnection {
        self.connect_as(3).await.unwrap()
    }

    /// Counts `key` up through the proxy, in the background.
    fn count(conn: &MultiplexedConnection, key: &'static str) -> JoinHandle<RedisResult<i64>> {
        let mut conn = conn.clone();
        tokio::spawn(async move { conn.incr(key, 1).await })
    }

    /// How far `key` has been counted.
    async fn counted(&mut self, key: &str) -> i64 {
        self.direct.get::<_, Option<i64>>(key).await.unwrap().unwrap_or(0)
    }

    /// Waits until `key` has been counted that far: the request has taken effect.
    async fn has_counted(&mut self, key: &str, count: i64) {
        eventually("the request to take effect", async || {
            (self.counted(key).await == count).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn everything_passes_in_both_versions_of_the_protocol() {
    let stage = Stage::new().await;
    for version in [2, 3] {
        let mut conn = stage.connect_as(version).await.unwrap();
        let large = "x".repeat(3 << 20);
        let () = conn.set("large", &large).await.unwrap();
        assert_eq!(conn.get::<_, String>("large").await.unwrap(), large);
        let mut pipe = redcall_testkit::redis::pipe();
        for n in 0..1000 {
            pipe.rpush("list", n);
        }
        pipe.query_async::<()>(&mut conn).await.unwrap();
        let list: Vec<i64> = conn.lrange("list", 0, -1).await.unwrap();
        assert!(list.into_iter().eq(0..1000));
        let () = conn.del("list").await.unwrap();
        assert!(conn.get::<_, String>("list").await.is_err(), "nothing is there");
    }
}

#[tokio::test]
async fn subscriptions_do_not_bring_replies_out_of_step() {
    let mut stage = Stage::new().await;
    let client = Client::open(format!("{}/?protocol=3", stage.proxy.url())).unwrap();
    let (sender, mut pushes) = tokio::sync::mpsc::unbounded_channel();
    let config = AsyncConnectionConfig::new().set_push_sender(sender);
    let mut conn = client.get_multiplexed_async_connection_with_config(&config).await.unwrap();
    conn.subscribe("news").await.unwrap();
    let held = stage.proxy.hold_reply(|exchange| exchange.request_contains("INCR"));
    let () = redcall_testkit::redis::cmd("PUBLISH")
        .arg(&["news", "late"])
        .query_async(&mut stage.direct)
        .await
        .unwrap();
    let counting = Stage::count(&conn, "n");
    let held = held.await;
    assert_eq!(held.reply, b":1\r\n");
    held.release();
    assert_eq!(counting.await.unwrap().unwrap(), 1);
    let mut received = Vec::new();
    while received.len() < 2 {
        received.push(format!("{:?}", pushes.recv().await.unwrap().kind));
    }
    assert_eq!(received, ["Subscribe", "Message"]);
}

#[tokio::test]
async fn a_cut_closes_all_connections_and_new_ones_are_taken() {
    let stage = Stage::new().await;
    let (mut first, mut second) = (stage.connect().await, stage.connect().await);
    stage.proxy.cut().await;
    assert!(first.ping::<()>().await.is_err() && second.ping::<()>().await.is_err());
    let () = stage.connect().await.ping().await.unwrap();
}

#[tokio::test]
async fn held_replies_arrive_on_release_after_their_requests() {
    let mut stage = Stage::new().await;
    let conn = stage.connect().await;
    stage.proxy.hold_replies();
    let counting = Stage::count(&conn, "n");
    stage.has_counted("n", 1).await;
    assert!(!counting.is_finished());
    stage.proxy.pass();
    assert_eq!(counting.await.unwrap().unwrap(), 1);
}

#[tokio::test]
async fn lost_replies_never_reach_the_client() {
    let mut stage = Stage::new().await;
    let conn = stage.connect().await;
    stage.proxy.hold_replies();
    let held = Stage::count(&conn, "n");
    stage.has_counted("n", 1).await;
    stage.proxy.lose_replies();
    let lost = Stage::count(&conn, "n");
    stage.has_counted("n", 2).await;
    assert!(!held.is_finished() && !lost.is_finished());
    stage.proxy.cut().await;
    stage.proxy.pass();
    assert!(held.await.unwrap().is_err() && lost.await.unwrap().is_err());
    assert_eq!(Stage::count(&stage.connect().await, "n").await.unwrap().unwrap(), 3);
}

#[tokio::test]
async fn a_proxy_that_refuses_takes_no_new_connections() {
    let stage = Stage::new().await;
    let mut before = stage.connect().await;
    stage.proxy.refuse();
    assert!(stage.connect_as(3).await.is_err());
    let () = before.ping().await.unwrap();
    stage.proxy.pass();
    let () = stage.connect().await.ping().await.unwrap();
}

#[tokio::test]
async fn delay_applies_to_every_reply_without_adding_up() {
    const DELAY: Duration = Duration::from_millis(300);
    let stage = Stage::new().await;
    let conn = stage.connect().await;
    stage.proxy.delay(DELAY);
    let since = Instant::now();
    let counts: Vec<_> = (0..20).map(|_| Stage::count(&conn, "n")).collect();
    for (n, count) in counts.into_iter().enumerate() {
        assert_eq!(count.await.unwrap().unwrap(), n as i64 + 1);
    }
    let took = since.elapsed();
    assert!(took >= DELAY && took < 10 * DELAY, "{took:?}");
}

#[tokio::test]
async fn single_reply_is_lost_after_its_effect_with_its_connection() {
    let mut stage = Stage::new().await;
    let (mut other, conn) = (stage.connect().await, stage.connect().await);
    let lost = stage.proxy.lose_reply(|exchange| {
        exchange.request_contains("INCR") && exchange.reply_contains(":2\r\n")
    });
    assert_eq!(Stage::count(&conn, "n").await.unwrap().unwrap(), 1);
    let second = Stage::count(&conn, "n");
    lost.await;
    assert_eq!(stage.counted("n").await, 2);
    assert!(second.await.unwrap().is_err());
    // Only this one, and only once.
    let () = other.ping().await.unwrap();
    let () = stage.direct.set("n", 1).await.unwrap();
    assert_eq!(Stage::count(&other, "n").await.unwrap().unwrap(), 2);
}

#[tokio::test]
async fn single_reply_is_held_then_released_or_lost() {
    let mut stage = Stage::new().await;
    let conn = stage.connect().await;
    let held = stage.proxy.hold_reply(|exchange| exchange.request_contains("INCR"));
    let counting = Stage::count(&conn, "n");
    let held = held.await;
    assert_eq!(stage.counted("n").await, 1);
    // Later replies wait with it, but their requests take effect.
    let next = Stage::count(&conn, "n");
    stage.has_counted("n", 2).await;
    assert!(!counting.is_finished() && !next.is_finished());
    held.release();
    assert_eq!((counting.await.unwrap().unwrap(), next.await.unwrap().unwrap()), (1, 2));
    let held = stage.proxy.hold_reply(|exchange| exchange.request_contains("INCR"));
    let counting = Stage::count(&conn, "n");
    held.await.lose();
    assert!(counting.await.unwrap().is_err());
    assert_eq!(stage.counted("n").await, 3);
}

#[tokio::test]
async fn single_request_is_held_with_later_ones_then_delivered() {
    let stage = Stage::new().await;
    let (conn, mut other) = (stage.connect().await, stage.connect().await);
    assert_eq!(Stage::count(&conn, "n").await.unwrap().unwrap(), 1);
    let held = stage.proxy.hold_request(|request| request.request_contains("INCR"));
    let first = Stage::count(&conn, "n");
    let held = held.await;
    assert!(held.request.starts_with(b"*3\r\n$6\r\nINCRBY\r\n"), "{held:?}");
    let second = Stage::count(&conn, "n");
    // Others overtake it.
    assert_eq!(other.incr::<_, _, i64>("n", 10).await.unwrap(), 11);
    assert!(!first.is_finished() && !second.is_finished());
    assert!(held.deliver().await);
    assert_eq!((first.await.unwrap().unwrap(), second.await.unwrap().unwrap()), (12, 13));
    assert_eq!(Stage::count(&conn, "n").await.unwrap().unwrap(), 14, "only this one was held");
}

#[tokio::test]
async fn held_request_outlives_its_client_not_its_connection() {
    let mut stage = Stage::new().await;
    for (is_cut, count) in [(false, 2), (true, 2)] {
        let address = stage.proxy.url().replace("redis://", "");
        let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
        client.write_all(b"CLIENT ID\r\n").await.unwrap();
        let mut id = [0; 64];
        let length = client.read(&mut id).await.unwrap();
        let id: i64 = std::str::from_utf8(&id[1..length]).unwrap().trim().parse().unwrap();
        let held = stage.proxy.hold_request(|request| request.request_contains("a"));
        client.write_all(b"INCR a\r\nINCR a\r\n").await.unwrap();
        let held = held.await;
        drop(client);
        if is_cut {
            let kill =
                redcall_testkit::redis::cmd("CLIENT").arg(&["KILL", "ID"]).arg(id).to_owned();
            assert_eq!(kill.query_async::<i64>(&mut stage.direct).await.unwrap(), 1);
        }
        assert_eq!(held.deliver().await, !is_cut);
        stage.has_counted("a", count).await;
    }
}

#[tokio::test]
async fn a_held_request_that_is_dropped_is_lost_with_its_connection() {
    let mut stage = Stage::new().await;
    let conn = stage.connect().await;
    drop(stage.proxy.hold_request(|request| request.request_contains("INCR")));
    assert_eq!(Stage::count(&conn, "n").await.unwrap().unwrap(), 1, "no test waits any more");
    let held = stage.proxy.hold_request(|request| request.request_contains("INCR"));
    let counting = Stage::count(&conn, "n");
    drop(held.await);
    assert!(counting.await.unwrap().is_err());
    assert_eq!(stage.counted("n").await, 1);
    let held = stage.proxy.hold_request(|request| request.request_contains("INCR"));
    let counting = Stage::count(&stage.connect().await, "n");
    let held = held.await;
    stage.proxy.cut().await;
    assert!(!held.deliver().await && counting.await.unwrap().is_err());
    assert_eq!(stage.counted("n").await, 1);
}

#[tokio::test]
async fn dropped_wait_releases_its_reply() {
    let stage = Stage::new().await;
    let conn = stage.connect().await;
    drop(stage.proxy.hold_reply(|exchange| exchange.request_contains("INCR")));
    drop(stage.proxy.lose_reply(|exchange| exchange.request_contains("INCR")));
    assert_eq!(Stage::count(&conn, "n").await.unwrap().unwrap(), 1);
}

#[tokio::test]
async fn a_connection_ends_with_its_server() {
    let Stage { proxy, direct, _redis: redis } = Stage::new().await;
    let client = Client::open(proxy.url()).unwrap();
    let mut conn = client.get_multiplexed_async_connection().await.unwrap();
    drop((redis, direct));
    assert!(conn.ping::<()>().await.is_err());
    assert!(client.get_multiplexed_async_connection().await.is_err());
}

#[tokio::test]
async fn silenced_connection_receives_nothing_others_do() {
    let mut stage = Stage::new().await;
    let mut conn = stage.connect().await;
    let () = conn.set("a", 1).await.unwrap();
    stage.proxy.silence();
    let silent = Stage::count(&conn, "a");
    let mut other = stage.connect().await;
    assert_eq!(other.incr::<_, _, i64>("a", 1).await.unwrap(), 2);
    assert!(!silent.is_finished());
    stage.proxy.cut().await;
    silent.await.unwrap().unwrap_err();
    assert_eq!(stage.counted("a").await, 2, "its request came through");
}

#[tokio::test]
async fn requests_after_a_half_close_take_effect() {
    let mut stage = Stage::new().await;
    let address = stage.proxy.url().replace("redis://", "");
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (mut read, mut write) = stream.into_split();
    write.write_all(b"PING\r\n").await.unwrap();
    let mut pong = [0; 7];
    read.read_exact(&mut pong).await.unwrap();
    stage.proxy.half_close();
    assert_eq!(read.read(&mut pong).await.unwrap(), 0);
    write.write_all(b"INCR a\r\n").await.unwrap();
    stage.has_counted("a", 1).await;
}

#[tokio::test]
async fn replies_come_in_pieces_together_and_slowly_and_stay_whole() {
    let stage = Stage::new().await;
    let long = "x".repeat(5000);
    let mut conn = stage.connect().await;
    let () = conn.set("long", &long).await.unwrap();
    for fault in ["split", "merge", "both"] {
        stage.proxy.pass();
        if fault != "merge" {
            stage.proxy.split(7);
        }
        if fault != "split" {
            stage.proxy.merge(Duration::from_millis(5));
        }
        let read = (0..50).map(|_| {
            let mut conn = conn.clone();
            tokio::spawn(async move { conn.get::<_, String>("long").await })
        });
        for read in read.collect::<Vec<_>>() {
            assert_eq!(read.await.unwrap().unwrap(), long, "{fault}");
        }
    }
    stage.proxy.pass();
    stage.proxy.throttle(20_000);
    let since = Instant::now();
    assert_eq!(conn.get::<_, String>("long").await.unwrap(), long);
    assert!(since.elapsed() > Duration::from_millis(200), "{:?}", since.elapsed());
}

#[tokio::test]
async fn chance_loses_replies_after_their_effect() {
    let mut stage = Stage::new().await;
    stage.proxy.misbehave(3, Odds { lose_one_in: 5, ..Odds::default() });
    let mut received = 0;
    for _ in 0..100 {
        // A connection may already be lost while it greets.
        let Ok(mut conn) = stage.connect_as(2).await else { continue };
        received += i64::from(conn.incr::<_, _, i64>("a", 1).await.is_ok());
    }
    stage.proxy.pass();
    assert!(received < stage.counted("a").await, "none was lost after its effect");
    let mut conn = stage.connect().await;
    let () = conn.set("b", 1).await.unwrap();
}

#[tokio::test]
async fn detained_request_executes_on_delivery_without_its_client() {
    let mut stage = Stage::new().await;
    let old = stage.connect().await;
    stage.proxy.detain();
    let counting = Stage::count(&old, "late");
    // Arrives on a new connection, after the detained requests were written.
    let mut new = stage.connect().await;
    assert_eq!(new.incr::<_, _, i64>("soon", 1).await.unwrap(), 1);
    counting.abort();
    drop(old);
    assert_eq!(stage.counted("late").await, 0);
    stage.proxy.deliver().await;
    assert_eq!(stage.counted("late").await, 1);
    assert_eq!(new.incr::<_, _, i64>("soon", 1).await.unwrap(), 2);
}
