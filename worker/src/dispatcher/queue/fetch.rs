//! The progress of a queue's fetch loop: its pop in flight, and its last reply.
//!
//! Written by the dispatcher at each reply of the queue; read by the readiness check.

use std::time::Duration;

use tokio::time::Instant;

/// How long one pop blocks. Bounds how long a half-open connection goes unnoticed.
const BLOCK: Duration = Duration::from_secs(5);
/// How long the first pop after a failed one blocks: a short time, to detect the recovery soon.
const FIRST_BLOCK: Duration = Duration::from_millis(100);
/// Allowed delay of a reply. Shorter than the grace after which the pop is abandoned.
const MARGIN: Duration = Duration::from_secs(1);

/// See the module.
pub(crate) struct Fetch {
    /// Time of the last reply.
    seen: Instant,
    /// The pop in flight: its start, and how long it blocks.
    out: Option<(Instant, Duration)>,
    /// `true` if the last pop failed.
    failed: bool,
    /// Time of the last renewal of the worker's lease on the queue.
    renewed: Instant,
}

impl Fetch {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self { seen: now, out: None, failed: false, renewed: now }
    }

    /// Records that a pop is sent; returns how long it blocks.
    pub(crate) fn pops(&mut self) -> Duration {
        let block = if self.failed { FIRST_BLOCK } else { BLOCK };
        self.out = Some((Instant::now(), block));
        block
    }

    /// Records the reply of a pop, or its reconnect.
    pub(crate) fn popped(&mut self, well: bool) {
        self.out = None;
        self.failed = !well;
        if well {
            self.returned();
        }
    }

    /// Records that the pop in flight has failed: it waits for a new connection.
    pub(crate) fn failed(&mut self) {
        self.failed = true;
    }

    /// Records the reply of a poll.
    pub(crate) fn returned(&mut self) {
        self.seen = Instant::now();
    }

    /// Records the renewal of the lease.
    pub(crate) fn lease_renewed(&mut self) {
        self.renewed = Instant::now();
    }

    /// Returns the time since the last reply.
    pub(crate) fn seen_ago(&self) -> Duration {
        self.seen.elapsed()
    }

    /// Returns why the queue delivers no requests, if so. `by_pops`: only a blocked pop could
    /// deliver any now.
    pub(crate) fn problem(&self, by_pops: bool, lease: Duration) -> Option<String> {
        if let Some((since, block)) = self.out.filter(|(since, of)| since.elapsed() > *of + MARGIN)
        {
            let (ago, block) = (since.elapsed().as_millis(), block.as_millis());
            return Some(format!(
                "its pop has been in flight for {ago} ms, but blocks for {block} ms only"
            ));
        }
        // Reported until a pop returns, also while the next one is in flight: otherwise a queue
        // whose pops never return would look healthy after each one is abandoned.
        if self.failed && by_pops {
            return Some("its last pop failed, and none has returned since".to_owned());
        }
        let seen = self.seen_ago();
        if seen > BLOCK + MARGIN {
            return Some(format!("no poll has returned for {} ms", seen.as_millis()));
        }
        let renewed = self.renewed.elapsed();
        (renewed > lease).then(|| {
            format!(
                "the worker's lease on the queue was last renewed {} ms ago",
                renewed.as_millis()
            )
        })
    }
}
