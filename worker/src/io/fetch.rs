//! Whether a queue's fetch loop goes round: what it waits for, and when it last came back.
//!
//! Written by the dispatcher wherever something of the queue comes back; read for readiness.

use std::time::Duration;

use tokio::time::Instant;

/// How long one pop blocks. Bounds how long a half-open connection can go unnoticed.
const BLOCK: Duration = Duration::from_secs(5);
/// How long the first pop after a failed one blocks, so that it is soon known to work again.
const FIRST_BLOCK: Duration = Duration::from_millis(100);
/// How much later than that it may come back. Below the grace after which it is given up.
const MARGIN: Duration = Duration::from_secs(1);

/// See the module.
pub(crate) struct Fetch {
    /// When something of the queue last came back from Redis.
    seen: Instant,
    /// The pop that is out: since when, and for how long it blocks.
    out: Option<(Instant, Duration)>,
    /// Whether the last pop failed.
    failed: bool,
    /// When the lease on the queue was last renewed.
    beaten: Instant,
}

impl Fetch {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self { seen: now, out: None, failed: false, beaten: now }
    }

    /// A pop goes out; how long it is to block.
    pub(crate) fn pops(&mut self) -> Duration {
        let block = if self.failed { FIRST_BLOCK } else { BLOCK };
        self.out = Some((Instant::now(), block));
        block
    }

    /// A pop came back, or its connection had to be made anew.
    pub(crate) fn popped(&mut self, well: bool) {
        self.out = None;
        self.failed = !well;
        if well {
            self.came_back();
        }
    }

    /// The pop that is out has failed: what it waits for is another connection.
    pub(crate) fn failed(&mut self) {
        self.failed = true;
    }

    /// A poll on the queue came back.
    pub(crate) fn came_back(&mut self) {
        self.seen = Instant::now();
    }

    /// The lease was renewed.
    pub(crate) fn beat(&mut self) {
        self.beaten = Instant::now();
    }

    /// How long ago anything came back.
    pub(crate) fn seen_ago(&self) -> Duration {
        self.seen.elapsed()
    }

    /// Why nothing comes from this queue, if so. `by_pops`: whether only a blocked pop could
    /// bring something now.
    pub(crate) fn problem(&self, by_pops: bool, lease: Duration) -> Option<String> {
        if let Some((since, block)) = self.out.filter(|(since, of)| since.elapsed() > *of + MARGIN)
        {
            let (ago, block) = (since.elapsed().as_millis(), block.as_millis());
            return Some(format!("its pop has been out for {ago} ms, but blocks for {block} ms"));
        }
        // Until one comes back, also while the next one is out: else a queue whose pops never
        // come back would look well again after each of them is given up.
        if self.failed && by_pops {
            return Some("its last pop failed, and none has come back since".to_owned());
        }
        let seen = self.seen_ago();
        if seen > BLOCK + MARGIN {
            return Some(format!("no poll has come back for {} ms", seen.as_millis()));
        }
        let beaten = self.beaten.elapsed();
        (beaten > lease).then(|| {
            format!("the worker's lease on it was last renewed {} ms ago", beaten.as_millis())
        })
    }
}
