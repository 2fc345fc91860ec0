//! Events to subscribers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests are tests, which clippy cannot tell"
)]

use std::time::Duration;

use redcall_client::Kind;
use redcall_gateway::zmtp::wire::{SocketType, encode};
use serde_json::{Value, json};

use crate::lab::Lab;
use crate::peers::{self, Python, Raw, Version};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_and_emergencies_arrive_at_a_subscriber_of_each_version() {
    for version in Version::BOTH {
        let Some(mut python) = Python::start(version) else { continue };
        let lab = Lab::new(&format!("dialect = \"{}\"\ntopics = [7]", version.dialect())).await;
        python.connect("events", "SUB", &[lab.events()]);
        let beat = python.event("events", "HEARTBEAT");
        assert_eq!(beat["identifier"], "lab-device");
        assert!(beat["timestamp"].as_f64().unwrap() > 1.7e9 && beat["version"].is_string());

        let client = &lab.client;
        let publish = async |topic: &str, kind, context: Value| {
            let event = client.publish_event(topic, Kind(kind)).context(&context);
            event.when_ms(1_682_467_200_050).index(4_840).send().await.unwrap();
        };
        publish("event", 101, json!({"stop": true})).await;
        let body = |kind: u32, context: Value| {
            let when = 1_682_467_200.05;
            json!({"kind": kind, "when": when, "index": 4_840, "context": context})
        };
        let nested = version == Version::V0_9;
        let of = |topic: &str, body: Value| json!([topic, nested, body]);
        let mut next = || loop {
            let event = python.recv("events");
            if event[0] != "HEARTBEAT" {
                return event;
            }
        };
        let stop = || body(101, json!({"stop": true}));
        assert_eq!(next(), of("EMERGENCY", stop()), "{version:?}");
        assert_eq!(next(), of("EVENT", stop()));
        // Topics have no order among each other.
        publish("property_change", 501, json!(1.5)).await;
        assert_eq!(next(), of("PROPERTY_CHANGE", body(501, json!(1.5))));
        publish("emergency", 9, Value::Null).await;
        assert_eq!(next(), of("EMERGENCY", body(9, Value::Null)));
        publish("event", 1101, json!({})).await;
        assert_eq!(next(), of("EVENT", body(1101, json!({}))));
    }
}

#[tokio::test]
async fn filters_are_prefixes_and_other_topics_have_numbers() {
    let lab = Lab::new("topics = [7]").await;
    let mut some = Raw::connect(lab.events(), SocketType::Sub).await;
    some.write(&encode::subscribe(&7_u32.to_le_bytes(), 1)).await;
    some.write(&encode::subscribe(&4001_u32.to_le_bytes()[..2], 0)).await;
    let mut all = Raw::subscriber(lab.events()).await;
    // Both are known as soon as the last has its heartbeat, or its first event.
    let mut last = Raw::subscriber(lab.events()).await;
    for subscriber in [&mut all, &mut last] {
        while subscriber.event().await.0 != 1001 {}
    }
    lab.client.publish("property_change", Kind(5), "not wanted").await.unwrap();
    let (topic, body) = all.event().await;
    assert_eq!(topic, 5001, "{body}");
    lab.client.publish("7", Kind(5), "own").await.unwrap();
    let (topic, body) = some.event().await;
    assert_eq!((topic, body.contains("\"own\"")), (7, true), "{body}");
    lab.client.publish("event", Kind(6), "other").await.unwrap();
    assert_eq!(some.event().await.0, 4001);
    // A cancelled subscription receives nothing more.
    some.write(b"\x04\x0b\x06CANCEL\x07\0\0\0").await;
    some.write(b"\x04\x0b\x06CANCEL\x07\0\0\0").await;
    let mut later = Raw::subscriber(lab.events()).await;
    while later.event().await.0 != 1001 {}
    lab.client.publish("7", Kind(5), "ignored").await.unwrap();
    assert_eq!(all.event_of(7).await.0, 7);
    lab.client.publish("event", Kind(6), "after").await.unwrap();
    assert!(some.event().await.1.contains("\"after\""));
}

#[tokio::test]
async fn device_without_workers_is_silent() {
    let lab = Lab::new("").await;
    let mut subscriber = Raw::subscriber(lab.events()).await;
    assert_eq!(subscriber.event().await.0, 1001);
    lab.worker.end().await;
    // One may be on its way.
    let silence = Duration::from_millis(7_500);
    let mut beats = 0;
    while tokio::time::timeout(silence, subscriber.event()).await.is_ok() {
        beats += 1;
    }
    assert!(beats <= 1, "{beats} heartbeats of a dead device");
}

#[tokio::test]
async fn heartbeats_of_other_devices_are_passed_on_and_those_of_workers_are_not() {
    let lab = Lab::new("").await;
    let mut subscriber = Raw::subscriber(lab.events()).await;
    while subscriber.event().await.0 != 1001 {}
    let of_worker = json!({"identifier": "w", "id": "x1", "version": "1", "timestamp": 1});
    lab.client.publish("heartbeat", Kind::HEARTBEAT, &of_worker).await.unwrap();
    let of_device = json!({"identifier": "far", "version": "1", "timestamp": 1.5});
    lab.client.publish("heartbeat", Kind::HEARTBEAT, &of_device).await.unwrap();
    loop {
        let (_, body) = subscriber.event().await;
        assert!(!body.contains("\"w\""), "{body}");
        if body.contains("\"far\"") {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriber_that_does_not_read_loses_messages_and_no_other_does() {
    let lab = Lab::new("").await;
    let mut slow = Raw::subscriber(lab.events()).await;
    let mut prompt = Raw::subscriber(lab.events()).await;
    for subscriber in [&mut slow, &mut prompt] {
        while subscriber.event().await.0 != 1001 {}
    }
    // More than the buffers of both sockets and the queue hold.
    let (count, text) = (400_u64, "x".repeat(100_000));
    for number in 0..count {
        lab.client.publish("event", Kind(5), &json!([number, text])).await.unwrap();
        let (_, body) = prompt.event_of(4001).await;
        assert!(body.contains(&format!("[{number},")), "{}", &body[..80]);
    }
    let mut received = 0;
    // The end may be lost as well, until the queue has room again.
    loop {
        match tokio::time::timeout(Duration::from_millis(500), slow.event()).await {
            Ok((4001, _)) => received += 1,
            Ok((5001, _)) => break,
            Ok(_) => {} // a heartbeat
            Err(_) => {
                lab.client.publish("property_change", Kind(5), "end").await.unwrap();
            }
        }
    }
    assert!(received < count, "nothing was dropped");
    let metrics = peers::get(lab.gateway.probes(), "/metrics").await;
    let dropped = metrics
        .lines()
        .find_map(|line| line.strip_prefix("redcall_gateway_dropped_total{gateway=\"lab\"} "));
    let dropped: u64 = dropped.unwrap_or_else(|| panic!("{metrics}")).parse().unwrap();
    assert!(dropped >= count - received, "{dropped} of {count} were dropped, {received} came");
    lab.client.publish("event", Kind(6), "again").await.unwrap();
    while !slow.event().await.1.contains("\"again\"") {}
}
