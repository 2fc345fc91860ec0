//! The names with limits.

use std::sync::Arc;

use redcall_store::LimitRule;

use super::Jobs;
use crate::dispatcher::queue::Queue;
use crate::mapping::Mapping;

/// Returns `true` if any name has a limit: if [`rules`] are not empty.
pub(crate) fn has_rules(mapping: &Mapping, queues: &[Queue]) -> bool {
    mapping.is_limited() || queues.iter().any(|queue| !queue.limited().is_empty())
}

/// Returns the names with limits, and the free capacity of each.
pub(crate) fn rules(mapping: &Mapping, queues: &[Queue], jobs: &Jobs) -> Arc<[LimitRule]> {
    let others: Vec<String> = queues.iter().flat_map(Queue::limited).cloned().collect();
    mapping.limits(&others, |name| jobs.of_name(name)).into()
}
