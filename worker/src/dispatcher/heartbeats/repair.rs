//! Repairs after a heartbeat, and their log lines: times at Redis too far in the future after its
//! clock was set back, keys of limited names that are in no list of the rotation, or in several.
//!
//! Changes nothing while the keys are as Redcall wrote them.

use std::collections::BTreeMap;
use std::time::Duration;

use redcall_common::keys::QueueKeys;
use redcall_common::time::millis;
use redcall_store::{Connection, Fault, LimitFault, LimitRule, TimeAhead, UpkeepOps as _};

use crate::time::REDIS_TIMEOUT;

/// Repairs one queue, up to the limit of one heartbeat; the next one continues.
pub(super) async fn repair(
    link: &Connection,
    keys: &QueueKeys,
    rules: &[LimitRule],
    lease: Duration,
) {
    let queue = keys.name();
    match link.bound_times(keys, lease, REDIS_TIMEOUT).await {
        Ok(ahead) => log_times(queue, &ahead),
        Err(error) => tracing::debug!(%error, queue, "cannot check times"),
    }
    if rules.is_empty() {
        return;
    }
    match link.repair_limits(keys, rules, REDIS_TIMEOUT).await {
        Ok(faults) => log_limits(queue, &faults),
        Err(error) => tracing::debug!(%error, queue, "cannot check names with limits"),
    }
}

/// Logs one line per heartbeat, with the time furthest in the future.
fn log_times(queue: &str, ahead: &[TimeAhead]) {
    let Some(furthest) = ahead.iter().max_by_key(|time| time.ahead) else { return };
    let TimeAhead { key, member, ahead: by } = furthest;
    let (count, ahead_ms) = (ahead.len(), millis(*by));
    tracing::warn!(
        queue,
        count,
        key,
        member,
        ahead_ms,
        "reset times in the future: Redis's clock was set back"
    );
}

/// Logs one line per heartbeat, name and kind of fault.
fn log_limits(queue: &str, faults: &[LimitFault]) {
    let mut all: BTreeMap<(&str, Fault), (usize, &str)> = BTreeMap::new();
    for LimitFault { name, key, fault } in faults {
        all.entry((name, *fault)).or_insert((0, key)).0 += 1;
    }
    for ((name, fault), (count, key)) in all {
        let of_type = fault == Fault::Type;
        if of_type {
            tracing::warn!(queue, name, key, "cannot repair a limit: {fault}");
        } else {
            tracing::warn!(queue, name, key, count, "repaired a limit: its key {fault}");
        }
    }
}
