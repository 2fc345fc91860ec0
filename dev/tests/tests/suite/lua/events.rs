//! `events.lua`: its reply about a topic.

use std::time::Duration;

use redcall_common::event::{EventId, Kind, NewEvent};
use redcall_store::{EventOps as _, SharedOps as _, TopicRetention};

use super::{Store, TIMEOUT};

const KEY: &str = "redcall:{events:t}:events";

fn id(ms: u64) -> EventId {
    EventId { ms, seq: 0 }
}

#[tokio::test]
async fn event_read_returns_the_state_within_its_limit() {
    let mut store = Store::new().await;
    let reply = store.link.read_topic(KEY, Some(id(3)), 10, TIMEOUT).await.unwrap();
    assert_eq!((reply.top, reply.added, reply.gone, reply.first), (id(0), 0, 0, id(0)));
    assert!(reply.whole && reply.entries.is_empty());
    for ms in 1..=10 {
        let add = redis::cmd("XADD").arg(KEY).arg(format!("{ms}-0")).arg("kind").arg(ms).to_owned();
        let _: String = add.query_async(&mut store.conn).await.unwrap();
    }
    let trim = redis::cmd("XTRIM").arg(KEY).arg("MAXLEN").arg(8).to_owned();
    let _: u64 = trim.query_async(&mut store.conn).await.unwrap();
    for (from, limit, read, whole) in
        [(4, 10, 5..=10, true), (4, 6, 5..=10, true), (4, 5, 5..=9, false), (0, 2, 3..=4, false)]
    {
        let reply = store.link.read_topic(KEY, Some(id(from)), limit, TIMEOUT).await.unwrap();
        assert_eq!((reply.top, reply.added, reply.gone, reply.first), (id(10), 10, 2, id(3)));
        let ids: Vec<u64> = reply.entries.iter().map(|(id, _)| id.ms).collect();
        assert_eq!((ids, reply.whole), (read.collect(), whole), "{from} {limit}");
        let kinds = reply.entries.iter().map(|(id, event)| (id.ms, event.as_ref().unwrap().kind));
        assert!(kinds.into_iter().all(|(ms, kind)| u64::from(kind.0) == ms));
    }
    let end = store.link.read_topic(KEY, None, 10, TIMEOUT).await.unwrap();
    assert_eq!((end.top, end.added, end.entries.len()), (id(10), 10, 0));
}

#[tokio::test]
async fn event_read_is_bounded_by_8_mib_or_one_event() {
    let store = Store::new().await;
    let context = format!("\"{}\"", "x".repeat(3 << 20));
    let event = NewEvent { kind: Kind(1), when: 1, index: 1, context: &context, origin: None };
    let large = format!("\"{}\"", "x".repeat(9 << 20));
    let larger = NewEvent { context: &large, ..event.clone() };
    let kept = TopicRetention { max: 100, max_bytes: 0, age: Duration::from_secs(60) };
    for event in [&event, &event, &event, &larger, &event] {
        store.link.publish(&[(KEY, event.clone())], kept, TIMEOUT).await.unwrap();
    }
    let (mut from, mut read) = (id(0), Vec::new());
    loop {
        let reply = store.link.read_topic(KEY, Some(from), 10, TIMEOUT).await.unwrap();
        read.push(reply.entries.len());
        from = reply.entries.last().unwrap().0;
        if reply.whole {
            break;
        }
    }
    assert_eq!(read, [2, 1, 1, 1]);
}

#[tokio::test]
async fn event_that_one_topic_refuses_may_be_published() {
    let mut store = Store::new().await;
    let kept = TopicRetention { max: 10, max_bytes: 0, age: Duration::from_secs(60) };
    let (other, event) = ("redcall:{events:u}:events", NewEvent::now(Kind(1), "null"));
    let () = redis::cmd("SET").arg(other).arg("x").query_async(&mut store.conn).await.unwrap();
    let refused = store.link.publish(&[(other, event.clone())], kept, TIMEOUT).await.unwrap_err();
    assert!(refused.is_refused() && !refused.may_have_happened(), "{refused:?}");
    for both in [[KEY, other], [other, KEY]] {
        let both = both.map(|key| (key, event.clone()));
        let half = store.link.publish(&both, kept, TIMEOUT).await.unwrap_err();
        assert!(half.is_refused() && half.may_have_happened(), "{half:?}");
    }
    assert_eq!(store.link.read_topic(KEY, None, 9, TIMEOUT).await.unwrap().added, 2);
    // Without its TTL it is published, and its length bounds the topic.
    let no_ttl = ["SETUSER", "default", "-pexpire"];
    let () = redis::cmd("ACL").arg(&no_ttl).query_async(&mut store.conn).await.unwrap();
    store.link.publish(&[(KEY, event)], kept, TIMEOUT).await.unwrap();
}
