//! The format at Redis, for clients in other languages.

use std::collections::HashMap;

use redcall_client::{EventItem, Kind};
use redcall_common::event::EventId;
use serde_json::json;

use super::{KEY, bench, next};

#[tokio::test]
async fn an_event_is_an_entry_with_four_fields() {
    let bench = bench(10_000).await;
    let client = bench.client().await;
    let id = client.publish("door", Kind(101), &json!({"open": true})).await.unwrap();
    let mut conn = bench.redis.connection().await;
    for (key, origin) in [(KEY, None), ("redcall:{events:emergency}:events", Some("door"))] {
        let range = redis::cmd("XRANGE").arg(key).arg("-").arg("+").to_owned();
        let entries: Vec<(String, HashMap<String, String>)> =
            range.query_async(&mut conn).await.unwrap();
        let [(entry, fields)] = &entries[..] else { panic!("{entries:?}") };
        if key == KEY {
            assert_eq!(entry.parse(), Ok(id));
        }
        assert_eq!((&*fields["kind"], &*fields["context"]), ("101", r#"{"open":true}"#));
        assert!(fields["when"].parse::<u64>().is_ok() && fields["index"].parse::<u64>().is_ok());
        assert_eq!(fields.get("origin").map(String::as_str), origin);
        assert_eq!(fields.len(), 4 + usize::from(origin.is_some()));
    }
}

#[tokio::test]
async fn foreign_events_are_received_and_invalid_ones_skipped() {
    let bench = bench(10_000).await;
    let client = bench.client().await;
    let mut stream = client.events("door").subscribe().await.unwrap();
    let mut conn = bench.redis.connection().await;
    let entries: [(&str, &[(&str, &str)]); 5] = [
        ("5-1", &[("kind", "7"), ("context", r#"{"by": "hand"}"#), ("extra", "x")]),
        ("5-2", &[("context", "{}")]),
        ("5-3", &[("kind", "7"), ("context", "{")]),
        ("5-4", &[("kind", "seven")]),
        ("6-0", &[("kind", "8")]),
    ];
    for (id, fields) in entries {
        let add = redis::cmd("XADD").arg(KEY).arg(id).arg(fields).to_owned();
        let _: String = add.query_async(&mut conn).await.unwrap();
    }
    let EventItem::Event(event) = stream.next().await.unwrap().unwrap() else { panic!() };
    assert_eq!((event.id, event.kind), (EventId { ms: 5, seq: 1 }, Kind(7)));
    assert_eq!((event.when, event.index), (5, None));
    assert_eq!(event.context.get(), r#"{"by": "hand"}"#);
    assert_eq!(next(&mut stream).await, "null");
}
