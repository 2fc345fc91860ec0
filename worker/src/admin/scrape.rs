//! What `/metrics` says: the worker's own counts, and what Redis says of its queues.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use redcall_common::store::inspect::{Inspector, QueueInfo};
use tokio::time::timeout;

use crate::metrics::Metrics;

/// How long Redis may take in all. Who scrapes waits ten seconds, as a rule.
const REDIS: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfQueue {
    queue: String,
}

/// See the module.
pub(super) struct Scrape {
    metrics: Arc<Metrics>,
    /// With connections of its own: a scrape holds up no turn.
    inspector: Inspector,
    queues: Vec<String>,
}

impl Scrape {
    pub(super) fn new(metrics: Arc<Metrics>, inspector: Inspector, queues: &[String]) -> Self {
        Self { metrics, inspector, queues: queues.to_vec() }
    }

    pub(super) async fn text(&self) -> Result<String, fmt::Error> {
        let mut out = String::new();
        let mut infos = Vec::with_capacity(self.queues.len());
        // What Redis does not say in time is left out.
        let asking = async {
            for queue in &self.queues {
                match self.inspector.queue(queue).await {
                    Ok(info) => infos.push(info),
                    Err(error) => tracing::debug!(%error, queue, "a scrape goes without it"),
                }
            }
        };
        let _ = timeout(REDIS, asking).await;
        text::encode_registry(&mut out, &of_queues(&infos))?;
        self.metrics.encode(&mut out)?;
        text::encode_eof(&mut out)?;
        Ok(out)
    }
}

/// Made anew at each scrape: there is nothing to go stale.
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
    let help = "Requests that wait for a worker, also sorted and parked ones";
    registry.register("queue_length", help, length);
    let help = "How long the request at the head of the queue waits";
    registry.register("queue_oldest_seconds", help, oldest);
    registry
}
