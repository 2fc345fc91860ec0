//! The body of `/metrics`: the worker's counters, and the state of its queues at Redis.
//!
//! Redis is queried once a second at most, however many clients scrape: scrapes during a round trip
//! share its result, and so do scrapes within a second after it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use redcall_store::inspect::{Inspector, QueueInfo};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::metrics::Metrics;

/// Timeout of all round trips of a scrape. A scraper usually waits ten seconds.
const TIMEOUT: Duration = Duration::from_secs(1);
/// How long a result is reused.
const SCRAPE_REUSED_FOR: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfQueue {
    queue: String,
}

/// See the module.
pub(super) struct Scrape {
    metrics: Arc<Metrics>,
    queues: Arc<Queues>,
}

/// The worker's queues, read from Redis.
struct Queues {
    /// Has connections of its own: a scrape delays no poll.
    inspector: Inspector,
    names: Vec<String>,
    /// Locked while Redis is queried.
    last: Mutex<Option<(Instant, Vec<QueueInfo>)>>,
}

impl Scrape {
    pub(super) fn new(metrics: Arc<Metrics>, inspector: Inspector, queues: &[String]) -> Self {
        let (names, last) = (queues.to_vec(), Mutex::default());
        Self { metrics, queues: Arc::new(Queues { inspector, names, last }) }
    }

    pub(super) async fn text(&self) -> Result<String, fmt::Error> {
        let mut out = String::new();
        let queues = self.queues.clone();
        // In a task of its own: a scraper that disconnects does not cancel the read that others
        // wait for, and repeated disconnects cause no further reads.
        let infos = tokio::spawn(async move { queues.read().await }).await.unwrap_or_default();
        text::encode_registry(&mut out, &of_queues(&infos))?;
        self.metrics.encode(&mut out)?;
        text::encode_eof(&mut out)?;
        Ok(out)
    }
}

impl Queues {
    async fn read(&self) -> Vec<QueueInfo> {
        let mut last = self.last.lock().await;
        if let Some((at, infos)) = &*last
            && at.elapsed() < SCRAPE_REUSED_FOR
        {
            return infos.clone();
        }
        let mut infos = Vec::with_capacity(self.names.len());
        // Queues that Redis does not report in time are skipped.
        let reading = async {
            for queue in &self.names {
                match self.inspector.queue(queue).await {
                    Ok(info) => infos.push(info),
                    Err(error) => tracing::debug!(%error, queue, "skipping a queue in a scrape"),
                }
            }
        };
        let _ = timeout(TIMEOUT, reading).await;
        *last = Some((Instant::now(), infos.clone()));
        infos
    }
}

/// Rebuilt at each scrape, so that no value is stale.
fn of_queues(infos: &[QueueInfo]) -> Registry {
    let length = Family::<OfQueue, Gauge>::default();
    let oldest = Family::<OfQueue, Gauge<f64, std::sync::atomic::AtomicU64>>::default();
    for info in infos {
        let label = OfQueue { queue: info.queue.clone() };
        let waits = info.length + info.limited + info.parked_requests;
        length.get_or_create(&label).set(i64::try_from(waits).unwrap_or(i64::MAX));
        let none = (info.length == 0).then_some(0);
        if let Some(ms) = info.oldest_ms.or(none) {
            oldest.get_or_create(&label).set(ms as f64 / 1e3);
        }
    }
    let mut registry = Registry::with_prefix("redcall");
    let help = "Requests that wait for a worker, including limited and parked ones";
    registry.register("queue_length", help, length);
    let help = "Waiting time of the request at the head of the queue";
    registry.register("queue_oldest_seconds", help, oldest);
    registry
}
