//! What a worker does when Redis could carry out a poll in part only.

use redcall_common::error::Code;
use redcall_store::PollReply;

use super::queue::Queue;
use crate::metrics::Metrics;

/// Each of these codes once, with how often it is there.
fn counted(codes: impl Iterator<Item = Code>) -> Vec<(Code, u64)> {
    let mut counts: Vec<(Code, u64)> = Vec::new();
    for code in codes {
        match counts.iter_mut().find(|(known, _)| *known == code) {
            Some((_, count)) => *count += 1,
            None => counts.push((code, 1)),
        }
    }
    counts
}

/// Says what went wrong at a queue, and gives the queue a pause if leasing stopped: other queues go
/// on meanwhile. Each outcome that could not be stored waits on its own. Counts the elements that
/// the script refused.
pub(super) fn note_trouble(queue: &mut Queue, reply: &PollReply, metrics: &Metrics) {
    let name = queue.name();
    let codes = reply.refused.iter().filter_map(|code| Code::parse(code));
    for (code, count) in counted(codes) {
        metrics.refused_as(code, count);
        tracing::warn!(queue = name, %code, count, "not run: dead letters that cannot be leased");
    }
    if let Some(problem) = &reply.unsettled {
        tracing::warn!(queue = name, problem, "settling again: Redis could not store an outcome");
    }
    if let Some(problem) = &reply.trouble {
        tracing::warn!(queue = name, problem, "leasing again in a while: Redis stopped a poll");
        queue.note_refused();
    }
}
