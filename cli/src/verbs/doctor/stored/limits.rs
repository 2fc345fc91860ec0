//! Rate and concurrency limits: whether each limit key with waiting requests gets its turn.

use redcall_client::{Inspector, Settings, StoreError};
use redcall_common::finding::{Finding, Level};
use redcall_common::settings::Limit;
use redcall_store::{Fault, LimitFault, LimitRule};

use crate::output::line;
use crate::verbs::doctor::workers::listed;

const CHECK: &str = "limits";

/// Checks these queues. `partitioned` are the lists found there: queue, name and key.
pub(crate) async fn check(
    inspector: &Inspector,
    queues: &[String],
    settings: &Settings,
    partitioned: &[(String, String, String)],
) -> Result<Finding, StoreError> {
    let rules = rules(settings);
    let (mut found, mut stuck) = (Vec::new(), false);
    for queue in queues {
        let lists = partitioned.iter().filter(|(of, ..)| of == queue);
        let lists: Vec<_> = lists.map(|(_, name, key)| (name.clone(), key.clone())).collect();
        for fault in inspector.limit_faults(queue, &rules, &lists).await? {
            stuck |= matches!(fault.fault, Fault::Lost | Fault::Held | Fault::Type);
            found.push(format!("{} on {}", text(&fault), line(queue, 40)));
        }
    }
    found.sort_unstable();
    found.dedup();
    if found.is_empty() {
        return Ok(Finding::ok(CHECK, "each limit key with waiting requests gets its turn"));
    }
    let what = format!("inconsistent limits: {}", listed(&found));
    let (level, means) = match stuck {
        true => (Level::Problem, "Requests under these limits may never run."),
        false => (Level::Warning, "More or fewer requests may run at once than the limit permits."),
    };
    let cure = "A worker that handles the job repairs it at its next heartbeat and logs the \
                repair, unless the key belongs to another program: DEL it then.";
    Ok(Finding::new(CHECK, level, what, means, cure))
}

fn text(LimitFault { name, key, fault }: &LimitFault) -> String {
    match fault {
        Fault::Type => format!("{} {fault}", line(key, 120)),
        Fault::Count => format!("{} {fault}", line(name, 40)),
        _ => format!("{} of {} {fault}", line(key, 64), line(name, 40)),
    }
}

/// Returns the rules of the jobs with limits across all workers.
fn rules(settings: &Settings) -> Vec<LimitRule> {
    let jobs = settings.jobs.iter();
    let limited = jobs.filter_map(|(name, job)| {
        let none = Limit { key: None, concurrency: None, rate: None };
        let is_limited = job.limit.is_some() || job.concurrency.is_some();
        let limit = job.limit.clone().unwrap_or(none);
        is_limited.then(|| LimitRule { name: name.clone(), limit, room: None })
    });
    limited.collect()
}
