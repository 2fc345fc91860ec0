//! Polls that Redis executed in part only.

use redcall_common::error::Code;
use redcall_store::PollReply;

use super::Queue;
use crate::metrics::Metrics;

/// Counts the occurrences of each code.
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

/// Logs the problems of a queue, and pauses it if leasing stopped: other queues continue. Each
/// outcome that could not be stored waits on its own. Counts the elements that the script refused.
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
        tracing::warn!(queue = name, problem, "pausing a queue: Redis stopped a poll");
        queue.note_refused();
    }
}
