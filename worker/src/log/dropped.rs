//! The counter of dropped log lines: one per process, in the metrics of each of its workers.

use std::sync::LazyLock;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

/// The reason for a dropped line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The queue of the writer is full: the log is not read, or its disk is too slow.
    Full,
    /// The sink refuses them: its disk is full, or its reader has disconnected.
    Failed,
    /// A command or a process writes more to stderr than its job may log.
    Budget,
}

impl Reason {
    const ALL: [Self; 3] = [Self::Full, Self::Failed, Self::Budget];

    fn name(self) -> &'static str {
        match self {
            Self::Full => "queue_full",
            Self::Failed => "write_failed",
            Self::Budget => "stderr_budget",
        }
    }
}

/// The labels of the counter.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Labels {
    reason: &'static str,
}

static DROPPED: LazyLock<Family<Labels, Counter>> = LazyLock::new(|| {
    let dropped = Family::<Labels, Counter>::default();
    for reason in Reason::ALL {
        // All reasons are shown from the start, with 0.
        drop(dropped.get_or_create(&Labels { reason: reason.name() }));
    }
    dropped
});

/// Counts `lines` that were dropped.
pub(crate) fn count(reason: Reason, lines: u64) {
    DROPPED.get_or_create(&Labels { reason: reason.name() }).inc_by(lines);
}

/// Returns the counter, for the metrics.
pub(crate) fn counter() -> Family<Labels, Counter> {
    DROPPED.clone()
}
