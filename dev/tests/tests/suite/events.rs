//! Events: publications on topics, and their subscribers.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

mod bounds;
mod groups;
mod heartbeats;
mod live;
mod wire;

use crate::support::PATIENCE;
use futures_util::future::try_join_all;
use redcall_client::{Client, EventItem, EventStream, Kind};
use redcall_tests::Bench;
use tokio::time::timeout;

/// The events of the topic `door`.
const KEY: &str = "redcall:{events:door}:events";

/// A server whose topics keep `max` events.
async fn bench(max: u64) -> Bench {
    let mut bench = Bench::new().await;
    bench.settings.events.max = max;
    bench
}

/// Returns the next item: the context of an event, or `missed …`.
async fn next(stream: &mut EventStream) -> String {
    match timeout(PATIENCE, stream.next()).await.unwrap().unwrap().unwrap() {
        EventItem::Event(event) => event.context.get().to_owned(),
        EventItem::Missed(Some(count)) => format!("missed {count}"),
        EventItem::Missed(None) => "missed some".to_owned(),
    }
}

/// Publishes these numbers.
async fn publish(client: &Client, topic: &str, numbers: std::ops::Range<u32>) {
    // Some at once: so few are polled, and written, in this order.
    for first in numbers.clone().step_by(20) {
        let some = first..numbers.end.min(first + 20);
        let some =
            some.map(|number| async move { client.publish(topic, Kind::EVENT, &number).await });
        try_join_all(some).await.unwrap();
    }
}

/// Follows these numbers.
async fn expect(stream: &mut EventStream, numbers: std::ops::Range<u32>) {
    for number in numbers {
        assert_eq!(next(stream).await, number.to_string());
    }
}
