//! The kept events, and the missed counts of late subscribers.

use std::time::SystemTime;

use redcall_client::{Client, EventItem, Kind};
use redcall_testkit::{FaultProxy, TestRedis};
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;

use super::{KEY, bench, expect, next, publish};

#[tokio::test]
async fn topic_respects_its_bound_and_expires() {
    let mut bench = bench(200).await;
    bench.settings.events.age = std::time::Duration::from_secs(100);
    let client = bench.client().await;
    publish(&client, "door", 0..1000).await;
    let mut conn = bench.redis.connection().await;
    let length = length(&mut conn).await;
    assert!((200..=300).contains(&length), "{length}");
    let ttl: i64 = conn.pttl(KEY).await.unwrap();
    assert!((90_000..=100_000).contains(&ttl), "{ttl}");
    let mut all = client.events("door").since(SystemTime::UNIX_EPOCH).subscribe().await.unwrap();
    assert_eq!(next(&mut all).await, "missed some");
    expect(&mut all, 1000 - length..1000).await;
}

async fn length(conn: &mut MultiplexedConnection) -> u32 {
    redis::cmd("XLEN").arg(KEY).query_async(conn).await.unwrap()
}

/// Two clients of one server, of which the second goes by a proxy.
async fn behind_a_proxy(max: u64) -> (TestRedis, FaultProxy, Client, Client) {
    let bench = bench(max).await;
    let proxy = FaultProxy::start(&bench.redis);
    let client = bench.client().await;
    let away = bench.client_behind(&proxy).await;
    (bench.redis, proxy, client, away)
}

#[tokio::test]
async fn returning_subscriber_gets_kept_events_and_missed_count() {
    let (redis, proxy, client, away) = behind_a_proxy(1000).await;
    let mut stream = away.events("door").subscribe().await.unwrap();
    let mut other = away.events("window").subscribe().await.unwrap();
    publish(&client, "door", 0..5).await;
    expect(&mut stream, 0..5).await;
    // Away for less than the kept events: none is missed.
    proxy.refuse();
    proxy.cut().await;
    publish(&client, "door", 5..900).await;
    proxy.pass();
    expect(&mut stream, 5..900).await;
    // Away for longer.
    proxy.refuse();
    proxy.cut().await;
    publish(&client, "door", 900..4000).await;
    let length = length(&mut redis.connection().await).await;
    proxy.pass();
    assert_eq!(next(&mut stream).await, format!("missed {}", 4000 - length - 900));
    expect(&mut stream, 4000 - length..4000).await;
    publish(&client, "window", 0..1).await;
    expect(&mut other, 0..1).await;
}

#[tokio::test]
async fn slow_subscriber_misses_only_trimmed_events() {
    let bench = bench(2000).await;
    let client = bench.client().await;
    let mut slow = client.events("door").subscribe().await.unwrap();
    let mut quick = client.events("door").subscribe().await.unwrap();
    // More than a queue holds, and all of it kept.
    for part in 0..4 {
        publish(&client, "door", part * 450..(part + 1) * 450).await;
        expect(&mut quick, part * 450..(part + 1) * 450).await;
    }
    expect(&mut slow, 0..1800).await;
    // More than is kept.
    for part in 4..14 {
        publish(&client, "door", part * 450..(part + 1) * 450).await;
        expect(&mut quick, part * 450..(part + 1) * 450).await;
    }
    let (mut expected, mut missed) = (1800, 0);
    while expected < 6300 {
        let item = next(&mut slow).await;
        match item.strip_prefix("missed ") {
            Some(count) => {
                let count: u32 = count.parse().unwrap();
                (expected, missed) = (expected + count, missed + count);
            }
            None => {
                assert_eq!(item, expected.to_string());
                expected += 1;
            }
        }
    }
    assert!(missed > 1000, "{missed}");
    publish(&client, "door", 6300..6310).await;
    expect(&mut slow, 6300..6310).await;
    expect(&mut quick, 6300..6310).await;
}

#[tokio::test]
async fn resumed_subscriber_gets_missed_count_of_trimmed_events() {
    let bench = bench(100).await;
    let client = bench.client().await;
    let first = client.publish("door", Kind::EVENT, &0).await.unwrap();
    publish(&client, "door", 1..50).await;
    let mut rest = client.events("door").after(first).subscribe().await.unwrap();
    expect(&mut rest, 1..50).await;
    publish(&client, "door", 50..1000).await;
    let mut late = client.events("door").after(first).subscribe().await.unwrap();
    assert_eq!(next(&mut late).await, "missed some");
}

#[tokio::test]
async fn topic_lost_by_redis_starts_over_with_missed_events() {
    let (redis, proxy, client, away) = behind_a_proxy(100).await;
    let mut stream = away.events("door").subscribe().await.unwrap();
    publish(&client, "door", 0..5).await;
    expect(&mut stream, 0..5).await;
    proxy.refuse();
    proxy.cut().await;
    publish(&client, "door", 5..15).await;
    let () = redis.connection().await.del(KEY).await.unwrap();
    publish(&client, "door", 15..20).await;
    proxy.pass();
    assert_eq!(next(&mut stream).await, "missed some");
    expect(&mut stream, 15..20).await;
}

#[tokio::test]
async fn expired_topic_is_followed_without_missed_events() {
    let bench = bench(100).await;
    let client = bench.client().await;
    let mut stream = client.events("door").subscribe().await.unwrap();
    publish(&client, "door", 0..3).await;
    expect(&mut stream, 0..3).await;
    let mut conn = bench.redis.connection().await;
    let () = conn.del(KEY).await.unwrap();
    publish(&client, "door", 3..5).await;
    expect(&mut stream, 3..5).await;
    let EventItem::Event(_) = ({
        publish(&client, "door", 5..6).await;
        stream.next().await.unwrap().unwrap()
    }) else {
        panic!("nothing was missed")
    };
}
