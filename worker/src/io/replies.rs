//! The replies of polls and of blocked pops: the state of their queues, and leased requests.

use std::collections::HashSet;

use redcall_store::{Leased, PollReply};

use super::dispatcher::Dispatcher;
use super::poll::{FinishedPoll, Part};
use super::pops::Popped;
use super::trouble::note_trouble;

impl Dispatcher {
    pub(super) fn poll_ended(&mut self, mut finished: FinishedPoll) {
        self.poll = None;
        self.probe.take_reply(&mut finished);
        match finished.replies {
            Ok(replies) => {
                for (mut part, reply) in finished.parts.into_iter().zip(replies) {
                    let queue = part.queue;
                    let Ok(reply) = reply else {
                        // Whatever the error is, it must not stop the other queues.
                        self.queues[queue].note_refused();
                        part.undo(&mut self.queues[queue]);
                        continue;
                    };
                    self.queues[queue].fetch.returned();
                    self.note(queue, &reply.poll, part.leases());
                    let PollReply { settled, leased, parked, .. } = reply.poll;
                    if parked > 0 && !leased.is_empty() {
                        // There may be more parked requests of the same names.
                        self.queues[queue].parked = part.take_parked();
                    }
                    if let Some(held) = reply.held {
                        self.queues[queue].resynchronised();
                        let ids = held.iter().map(|leased| leased.id.clone()).collect();
                        self.jobs.end_lost(queue, &ids);
                        self.start(queue, self.unknown_leases(&part, held));
                    }
                    let failed = part.settled(settled, &self.metrics);
                    self.queues[queue].keep_failed(failed);
                    self.unstarted.push((queue, leased));
                }
            }
            Err(error) => {
                for part in finished.parts {
                    let queue = part.queue;
                    if !error.is_transient() {
                        self.queues[queue].note_refused();
                    }
                    part.undo(&mut self.queues[queue]);
                }
            }
        }
    }

    /// Records the state of a queue from the reply of a poll or a pop. `leases`: the poll did more
    /// than settle.
    fn note(&mut self, queue: usize, reply: &PollReply, leases: bool) {
        let due = reply.due_ms.map(|due| self.instant_of(due));
        let queue = &mut self.queues[queue];
        if let Some(length) = reply.length {
            queue.length = Some(length);
        }
        note_trouble(queue, reply, &self.metrics);
        queue.more = reply.more;
        queue.note_ready(reply.ready);
        if let Some(due) = due {
            queue.note_due(due);
        }
        let is_news = queue.note_stopped(reply, leases);
        if is_news {
            self.start_heartbeats();
        }
    }

    pub(super) fn popped(&mut self, popped: Popped) {
        let Some(reply) = popped.reply else { return self.queues[popped.queue].fetch.failed() };
        self.queues[popped.queue].popping = false;
        self.queues[popped.queue].fetch.popped(reply.is_ok());
        match reply {
            Ok(reply) => {
                self.note(popped.queue, &reply, true);
                self.start_leased(popped.queue, reply.leased);
            }
            Err(error) => {
                let queue = &mut self.queues[popped.queue];
                tracing::debug!(%error, queue = queue.name(), "failed to pop");
                queue.mark_unsynced();
                // The pop reported its failure after reconnecting.
                self.metrics.reconnected();
            }
        }
    }

    /// Returns leases that this worker does not know: the reply with them was lost.
    fn unknown_leases(&self, part: &Part, held: Vec<Leased>) -> Vec<Leased> {
        let to_settle: HashSet<&str> =
            self.queues[part.queue].outcomes().map(|outcome| outcome.id.as_str()).collect();
        let is_known =
            |id: &str| self.jobs.runs(part.queue, id) || to_settle.contains(id) || part.settles(id);
        held.into_iter().filter(|leased| !is_known(&leased.id)).collect()
    }
}
