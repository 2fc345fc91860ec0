//! Limited names: whether each key that has sorted requests gets its poll.

use redcall_client::{Inspector, Settings, StoreError};
use redcall_common::finding::{Finding, Level};
use redcall_common::settings::Limit;
use redcall_store::{Fault, LimitFault, Rule};

use super::workers::listed;
use crate::output::line;

const CHECK: &str = "limits";

/// Looks at these queues; `sorted` are lists that were found there: queue, name and key.
pub(super) async fn look(
    inspector: &Inspector,
    queues: &[String],
    settings: &Settings,
    sorted: &[(String, String, String)],
) -> Result<Finding, StoreError> {
    let rules = rules(settings);
    let (mut said, mut stuck) = (Vec::new(), false);
    for queue in queues {
        let lists = sorted.iter().filter(|(of, ..)| of == queue);
        let lists: Vec<_> = lists.map(|(_, name, key)| (name.clone(), key.clone())).collect();
        for fault in inspector.limit_faults(queue, &rules, &lists).await? {
            stuck |= matches!(fault.fault, Fault::Lost | Fault::Held | Fault::Type);
            said.push(format!("{} on {}", text(&fault), line(queue, 40)));
        }
    }
    said.sort_unstable();
    said.dedup();
    if said.is_empty() {
        return Ok(Finding::ok(CHECK, "each key of a limited name gets its poll"));
    }
    let what = format!("limits that are not in order: {}", listed(&said));
    let (level, means) = match stuck {
        true => (Level::Problem, "Requests that they count for may never run."),
        false => (Level::Warning, "More or fewer requests may run at once than the limit says."),
    };
    let cure = "A worker that maps the job repairs it at its next heartbeat, unless something else \
                than Redcall's lies at such a key: DEL that. Its log says what it has repaired.";
    Ok(Finding::new(CHECK, level, what, means, cure))
}

fn text(LimitFault { name, key, fault }: &LimitFault) -> String {
    match fault {
        Fault::Type => format!("{} {fault}", line(key, 120)),
        Fault::Count => format!("{} {fault}", line(name, 40)),
        _ => format!("{} of {} {fault}", line(key, 64), line(name, 40)),
    }
}

/// The rules of the jobs that are limited over all workers.
fn rules(settings: &Settings) -> Vec<Rule> {
    let jobs = settings.jobs.iter();
    let limited = jobs.filter_map(|(name, job)| {
        let none = Limit { key: None, concurrency: None, rate: None };
        let is_limited = job.limit.is_some() || job.concurrency.is_some();
        let limit = job.limit.clone().unwrap_or(none);
        is_limited.then(|| Rule { name: name.clone(), limit, room: None })
    });
    limited.collect()
}
