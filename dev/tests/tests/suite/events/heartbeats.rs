//! Heartbeat events of workers.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use redcall_client::{EventItem, Kind};
use redis::AsyncCommands;
use serde_json::Value;
use tokio::time::timeout;

use super::{PATIENCE, bench};

const KEY: &str = "redcall:{events:heartbeat}:events";

#[tokio::test]
async fn workers_publish_heartbeats_if_enabled() {
    let mut bench = bench(10_000).await;
    let quiet = bench.worker().await;
    let mut conn = bench.redis.connection().await;
    assert!(!conn.exists::<_, bool>(KEY).await.unwrap(), "heartbeat events are off");
    quiet.drain().await;
    assert!(!conn.exists::<_, bool>(KEY).await.unwrap());

    bench.settings.events.heartbeat = Some(Duration::from_secs(1));
    bench.settings.worker.name = Some("device".to_owned());
    let _workers = [bench.worker().await, bench.worker().await];
    let client = bench.client().await;
    let ids: Vec<String> = bench.workers().await.into_iter().map(|worker| worker.id).collect();
    let mut events = client.events("1001").since(SystemTime::UNIX_EPOCH).subscribe().await.unwrap();
    let mut seen = BTreeMap::<String, Vec<u64>>::new();
    while seen.len() < 2 || seen.values().any(|times| times.len() < 3) {
        let item = timeout(PATIENCE, events.next()).await.unwrap().unwrap().unwrap();
        let EventItem::Event(event) = item else { panic!("{item:?}") };
        let context: Value = serde_json::from_str(event.context.get()).unwrap();
        assert_eq!((event.kind, &context["identifier"]), (Kind::HEARTBEAT, &"device".into()));
        assert_eq!(context["version"], env!("CARGO_PKG_VERSION"));
        assert!(event.when.abs_diff(context["timestamp"].as_u64().unwrap()) < 1000);
        let id = context["id"].as_str().unwrap().to_owned();
        assert!(ids.contains(&id), "{id}");
        seen.entry(id).or_default().push(event.when);
    }
    for times in seen.values() {
        // Never more often; later where the machine is slow.
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 500), "{times:?}");
    }
}
