//! What a worker does when Redis could carry out a poll in part only.

use redcall_common::error::Code;
use redcall_common::store::CycleReply;

use super::queue::Queue;
use crate::metrics::Metrics;

/// Says what went wrong at a queue, and gives the queue a pause if leasing stopped: other queues go
/// on meanwhile. Each outcome that could not be stored waits on its own. Counts the elements that
/// the script refused.
pub(super) fn note_trouble(queue: &mut Queue, reply: &CycleReply, metrics: &Metrics) {
    for code in reply.refused.iter().filter_map(|code| Code::parse(code)) {
        metrics.refused_as(code, 1);
    }
    let name = queue.name();
    if let Some(problem) = &reply.unsettled {
        tracing::warn!(queue = name, problem, "settling again: Redis could not store an outcome");
    }
    if let Some(problem) = &reply.trouble {
        tracing::warn!(queue = name, problem, "leasing again in a while: Redis stopped a poll");
        queue.note_refused();
    }
}
