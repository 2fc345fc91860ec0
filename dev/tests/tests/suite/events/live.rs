//! Following live, from a time, after an event.

use std::time::{Duration, SystemTime};

use redcall_client::{EventError, EventItem, Kind};
use redcall_testkit::eventually;
use serde_json::json;
use tokio::time::timeout;

use super::{PATIENCE, bench, expect, next, publish};
use crate::support::{carried_out, client_connections};

#[tokio::test]
async fn subscriber_receives_later_events_in_order() {
    let bench = bench(10_000).await;
    let (client, other) = (bench.client().await, bench.client().await);
    publish(&client, "door", 0..3).await;
    let mut one = other.events("door").subscribe().await.unwrap();
    publish(&client, "door", 3..6).await;
    let mut two = other.events("door").subscribe().await.unwrap();
    publish(&client, "window", 50..53).await;
    publish(&client, "door", 6..900).await;
    expect(&mut one, 3..900).await;
    expect(&mut two, 6..900).await;
    // Without anything before it.
    let mut early = other.events("roof").subscribe().await.unwrap();
    publish(&client, "roof", 0..3).await;
    expect(&mut early, 0..3).await;
}

#[tokio::test]
async fn event_has_its_publishers_time_and_a_growing_index() {
    let bench = bench(10_000).await;
    let client = bench.client().await;
    let mut events = client.events("4001").subscribe().await.unwrap();
    let before = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
    let mut ids = Vec::new();
    for kind in [101, 7, 99_999] {
        let context = json!({"reason": "door open", "n": [1.5, -1e-7, "2023-04-26"]});
        ids.push(client.publish("event", Kind(kind), &context).await.unwrap());
    }
    let mut last = 0;
    for (id, kind) in ids.into_iter().zip([101, 7, 99_999]) {
        let item = timeout(PATIENCE, events.next()).await.unwrap().unwrap().unwrap();
        let EventItem::Event(event) = item else { panic!("{item:?}") };
        assert_eq!((event.id, event.kind), (id, Kind(kind)));
        assert_eq!(event.context.get(), r#"{"n":[1.5,-1e-7,"2023-04-26"],"reason":"door open"}"#);
        assert!(
            u128::from(event.when) >= before
                && event.when < u64::try_from(before).unwrap() + 20_000
        );
        assert!(event.index.unwrap() > last);
        last = event.index.unwrap();
    }
}

#[tokio::test]
async fn lagging_subscriber_with_half_full_buffer_gets_the_rest() {
    let bench = bench(10_000).await;
    let client = bench.client().await;
    publish(&client, "door", 0..3000).await;
    let mut events = client.events("door").since(SystemTime::UNIX_EPOCH).subscribe().await.unwrap();
    let mut conn = bench.redis.connection().await;
    // The reader reads 256 at a time, and stops when there is no room for twice as many.
    eventually("the reader to have filled its queue", async || {
        (carried_out(&mut conn, "xrange").await >= 3).then_some(())
    })
    .await;
    expect(&mut events, 0..3000).await;
}

#[tokio::test]
async fn subscriber_from_the_past_gets_kept_then_new_events() {
    let bench = bench(10_000).await;
    let client = bench.client().await;
    publish(&client, "door", 0..700).await;
    let mut all = client.events("door").since(SystemTime::UNIX_EPOCH).subscribe().await.unwrap();
    publish(&client, "door", 700..710).await;
    expect(&mut all, 0..710).await;
    // Where it ended, in another process.
    let mut rest = bench.client().await.events("door").after(all.last()).subscribe().await.unwrap();
    publish(&client, "door", 710..720).await;
    expect(&mut rest, 710..720).await;
    // From the middle of it, by its time at Redis.
    let middle = client.publish("door", Kind::EVENT, &720).await.unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(middle.ms);
    let mut since = client.events("door").since(time).subscribe().await.unwrap();
    let first: u32 = next(&mut since).await.parse().unwrap();
    assert!(first <= 720, "{first}");
    expect(&mut since, first + 1..721).await;
    // A time to come.
    let future = SystemTime::now() + Duration::from_secs(3600);
    let _later = client.events("door").since(future).subscribe().await.unwrap();
    publish(&client, "door", 721..722).await;
    expect(&mut since, 721..722).await;
}

#[tokio::test]
async fn only_the_kinds_that_are_wanted_come() {
    let bench = bench(10_000).await;
    let client = bench.client().await;
    let some = client.events("door").kind(Kind(7)).kind(Kind(8)).subscribe().await;
    let all = client.events("door").kind(Kind(7)).kind(Kind::ANY).subscribe().await;
    for kind in [7, 9, 8, 7] {
        client.publish("door", Kind(kind), &kind).await.unwrap();
    }
    let (mut some, mut all) = (some.unwrap(), all.unwrap());
    for kind in ["7", "8", "7"] {
        assert_eq!(next(&mut some).await, kind);
    }
    for kind in ["7", "9", "8", "7"] {
        assert_eq!(next(&mut all).await, kind);
    }
}

#[tokio::test]
async fn emergencies_are_published_first() {
    let mut bench = bench(10_000).await;
    bench.settings.events.emergency = vec![101];
    let client = bench.client().await;
    let mut emergencies = client.events("emergency").subscribe().await.unwrap();
    let mut events = client.events("event").subscribe().await.unwrap();
    client.publish("event", Kind(102), &"not one").await.unwrap();
    let mut conn = bench.redis.connection().await;
    let log = redis::cmd("CONFIG").arg("SET").arg("slowlog-log-slower-than").arg(0).to_owned();
    let () = log.query_async(&mut conn).await.unwrap();
    client.publish("event", Kind(101), &"stop").await.unwrap();
    let log = redis::cmd("SLOWLOG").arg("GET").arg(100).to_owned();
    let log: Vec<(u64, u64, u64, Vec<String>, String, String)> =
        log.query_async(&mut conn).await.unwrap();
    // The newest first. That of a client which was woken has no words.
    let commands = log.into_iter().rev().map(|(.., command, _, _)| command);
    let is_add = |command: &Vec<String>| command.first().is_some_and(|name| name == "XADD");
    let added: Vec<String> = commands.filter(is_add).map(|command| command[1].clone()).collect();
    assert_eq!(added, ["redcall:{events:emergency}:events", "redcall:{events:event}:events"]);
    client.publish("emergency", Kind(101), &"itself").await.unwrap();
    let item = timeout(PATIENCE, emergencies.next()).await.unwrap().unwrap().unwrap();
    let EventItem::Event(copy) = item else { panic!("{item:?}") };
    assert_eq!((copy.context.get(), copy.origin.as_deref()), (r#""stop""#, Some("event")));
    assert_eq!(next(&mut emergencies).await, r#""itself""#);
    assert_eq!(next(&mut events).await, r#""not one""#);
    let item = timeout(PATIENCE, events.next()).await.unwrap().unwrap().unwrap();
    let EventItem::Event(event) = item else { panic!("{item:?}") };
    assert_eq!((event.when, event.index), (copy.when, copy.index), "one and the same");
    assert_eq!(event.origin, None);
}

#[tokio::test]
async fn relayed_event_keeps_its_times_and_may_have_no_copy() {
    let mut bench = bench(10_000).await;
    bench.settings.events.emergency = vec![101];
    let client = bench.client().await;
    let mut emergencies = client.events("emergency").subscribe().await.unwrap();
    let mut events = client.events("event").subscribe().await.unwrap();
    let event = || client.publish_event("event", Kind(101)).when_ms(5).index(6);
    event().context("relayed").without_copy().send().await.unwrap();
    event().context("copied").send().await.unwrap();
    for expected in [r#""relayed""#, r#""copied""#] {
        let item = timeout(PATIENCE, events.next()).await.unwrap().unwrap().unwrap();
        let EventItem::Event(event) = item else { panic!("{item:?}") };
        assert_eq!((event.when, event.index, event.context.get()), (5, Some(6), expected));
    }
    assert_eq!(next(&mut emergencies).await, r#""copied""#);
}

#[tokio::test]
async fn invalid_event_is_refused() {
    let mut bench = bench(10_000).await;
    bench.settings.limits.frame = 2048;
    let client = bench.client().await;
    for topic in ["", "any", "0", "a:b", "{a}"] {
        let refused = client.publish(topic, Kind::EVENT, &1).await;
        assert!(matches!(refused, Err(EventError::Topic(_))), "{topic}");
        let refused = client.events(topic).subscribe().await.err();
        assert!(matches!(refused, Some(EventError::Topic(_))), "{topic}");
    }
    assert!(matches!(client.publish("a", Kind::ANY, &1).await, Err(EventError::Kind)));
    let large = "x".repeat(2047);
    let refused = client.publish("a", Kind::EVENT, &large).await;
    assert!(matches!(refused, Err(EventError::TooLarge { size: 2049, limit: 2048 })));
    client.publish("a", Kind::EVENT, &large[1..]).await.unwrap();
    let mut conn = bench.redis.connection().await;
    let key = "redcall:{events:list}:events";
    let () = redis::AsyncCommands::rpush(&mut conn, key, "x").await.unwrap();
    assert!(matches!(client.publish("list", Kind(1), &1).await, Err(EventError::Store(_))));
    // A subscriber of another topic of the same client is not affected.
    let mut other = client.events("a").subscribe().await.unwrap();
    let mut list = client.events("list").since(SystemTime::UNIX_EPOCH).subscribe().await.unwrap();
    assert!(timeout(PATIENCE, list.next()).await.unwrap().unwrap().is_err());
    assert!(timeout(PATIENCE, list.next()).await.unwrap().is_none());
    client.publish("a", Kind::EVENT, &"still there").await.unwrap();
    assert_eq!(next(&mut other).await, r#""still there""#);
}

#[tokio::test]
async fn subscribers_share_one_connection_until_the_last_leaves() {
    let bench = bench(10_000).await;
    let client = bench.client().await;
    let mut conn = bench.redis.connection().await;
    // Those of `publish` and `follow` are there from the start.
    let before = client_connections(&mut conn).await;
    let mut streams = Vec::new();
    for n in 0..100 {
        let topic = format!("topic{}", n % 10);
        streams.push(client.events(&topic).subscribe().await.unwrap());
    }
    for n in 0..10 {
        publish(&client, &format!("topic{n}"), n..n + 1).await;
    }
    for (n, stream) in streams.iter_mut().enumerate() {
        assert_eq!(next(stream).await, (n % 10).to_string());
    }
    assert_eq!(client_connections(&mut conn).await, before + 1);
    drop(streams);
    eventually("the connection to be closed", async || {
        (client_connections(&mut conn).await == before).then_some(())
    })
    .await;
}

#[tokio::test]
async fn hundred_subscribers_receive_all_events_in_order() {
    const EVENTS: u32 = 500;
    let bench = bench(10_000).await;
    let (client, publisher) = (bench.client().await, bench.client().await);
    let mut following = Vec::new();
    for _ in 0..100 {
        let mut stream = client.events("door").subscribe().await.unwrap();
        following.push(tokio::spawn(async move {
            for number in 0..EVENTS {
                assert_eq!(next(&mut stream).await, number.to_string());
            }
        }));
    }
    publish(&publisher, "door", 0..EVENTS).await;
    for one in following {
        one.await.unwrap();
    }
}
