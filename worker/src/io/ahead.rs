//! What a turn has leased is started behind the next turn: Redis carries that one out meanwhile.

use redcall_common::store::Leased;
use tokio::task::yield_now;

use super::dispatcher::Dispatcher;

impl Dispatcher {
    /// How many more requests may be taken: what is leased and not started yet has its slot.
    pub(super) fn free_slots(&self) -> usize {
        let fresh: usize = self.fresh.iter().map(|(_, leased)| leased.len()).sum();
        self.concurrency.saturating_sub(self.jobs.len() + fresh)
    }

    /// Has the turn that has just been planned written, then starts what the last one has leased.
    /// Nothing else is dealt with in between.
    pub(super) async fn start_behind_turn(&mut self) {
        if self.fresh.is_empty() {
            return;
        }
        if let Some(turn) = &mut self.turn
            && let std::task::Poll::Ready(ended) = futures_util::poll!(turn)
        {
            // What it has read back must find those before it started.
            self.start_all_fresh();
            self.turn_ended(ended);
        }
        // The connection's own task writes.
        yield_now().await;
        self.start_all_fresh();
    }

    pub(super) fn start_all_fresh(&mut self) {
        for (queue, leased) in std::mem::take(&mut self.fresh) {
            self.start_fresh(queue, leased);
        }
    }

    /// Starts what a reply brings, unless this worker stood still with it in its hands: others may
    /// do it by now. What is still its own is found by reading back.
    pub(super) fn start_fresh(&mut self, queue: usize, leased: Vec<Leased>) {
        self.note_standstill();
        if !self.queues[queue].stood_still {
            self.start(queue, leased);
        }
    }
}
