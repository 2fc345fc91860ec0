//! Findings about the persistence and eviction of Redis: logged by workers at their start, and
//! shown by `redcall doctor`.

use super::server::{Append, ServerInfo};
use redcall_common::finding::{Finding, Level};

/// Returns all findings of this module, important ones first.
#[must_use]
pub fn of(server: &ServerInfo) -> Vec<Finding> {
    vec![eviction(server), persistence(server)]
}

/// Logs the bad findings. Called once, at the start of a program with workers.
pub fn log(server: &ServerInfo) {
    for finding in of(server).into_iter().filter(|finding| finding.level.is_bad()) {
        let Finding { check, what, means, cure, .. } = finding;
        let (means, cure) = (means.unwrap_or_default(), cure.unwrap_or_default());
        tracing::warn!(check, "{what}. {means} {cure}");
    }
}

/// Checks whether Redis may evict keys when its memory is full.
#[must_use]
pub fn eviction(server: &ServerInfo) -> Finding {
    const CHECK: &str = "eviction";
    const CURE: &str = "Set `maxmemory-policy noeviction` in its configuration (or CONFIG SET): \
                        a full Redis then refuses new jobs instead of losing old ones.";
    let limit = server.max_memory.filter(|limit| *limit > 0);
    match (server.max_memory, limit, server.policy.as_deref()) {
        (None, ..) | (_, Some(_), None) => {
            let what = "unknown: Redis does not report its `maxmemory-policy`";
            let means = "If its `maxmemory-policy` is not `noeviction`, jobs may be lost.";
            Finding::note(CHECK, what, means)
        }
        (_, Some(_), Some("noeviction")) => Finding::ok(CHECK, "noeviction: keys are never lost"),
        (_, Some(_), Some(policy)) if policy.starts_with("volatile") => {
            let what = format!("Redis may evict keys that have a TTL (maxmemory-policy {policy})");
            let means = "When its memory is full, answers, dead letters and the registry of \
                         workers are lost.";
            Finding::new(CHECK, Level::Warning, what, means, CURE)
        }
        (_, Some(_), Some(policy)) => {
            let what = format!("Redis may evict any key (maxmemory-policy {policy})");
            let means = "When its memory is full, whole queues are lost.";
            Finding::new(CHECK, Level::Problem, what, means, CURE)
        }
        (Some(_), None, _) => Finding::ok(CHECK, "no memory limit, so nothing is evicted"),
    }
}

/// Checks whether data survives a restart of Redis.
#[must_use]
pub fn persistence(server: &ServerInfo) -> Finding {
    const CHECK: &str = "persistence";
    const CURE: &str = "Set `appendonly yes` in its configuration (or CONFIG SET).";
    if server.cannot_write {
        let what = "Redis could not write to its disk";
        let means = "Its next restart may lose queued jobs; by default it also refuses new \
                     jobs.";
        let cure = "Check its log; usually the disk is full.";
        return Finding::new(CHECK, Level::Problem, what, means, cure);
    }
    match (&server.append, server.snapshots.as_deref()) {
        (None, _) => {
            let what = "unknown: Redis does not report whether it keeps an append-only file";
            let means = "Without one (`appendonly yes`), a restart of Redis loses jobs.";
            Finding::note(CHECK, what, means)
        }
        (Some(Append::On(how)), _) => appended(CHECK, how.as_deref()),
        (Some(Append::Off), Some("")) => {
            let what = "Redis keeps nothing on disk (appendonly no, save \"\")";
            let means = "A restart of Redis loses every job.";
            Finding::new(CHECK, Level::Problem, what, means, CURE)
        }
        (Some(Append::Off), Some(when)) => {
            let what = format!("Redis takes only snapshots (appendonly no, save \"{when}\")");
            let means = "A crash of Redis loses every job since the last one, and those that \
                         ended since then run again.";
            Finding::new(CHECK, Level::Warning, what, means, CURE)
        }
        (Some(Append::Off), None) => {
            let what = "Redis keeps no append-only file (appendonly no); whether it takes \
                        snapshots is unknown";
            let means = "A crash of Redis loses at least every job since the last snapshot.";
            Finding::new(CHECK, Level::Warning, what, means, CURE)
        }
    }
}

fn appended(check: &'static str, how: Option<&str>) -> Finding {
    match how {
        Some("always") => Finding::ok(check, "append-only file, appendfsync always"),
        Some("no") => {
            let what = "append-only file, appendfsync no: the system decides when to write it";
            let means = "A crash of its machine loses about the last 30 s of jobs.";
            let cure = "Set `appendfsync everysec`, or `always`, in its configuration.";
            Finding::new(check, Level::Warning, what, means, cure)
        }
        Some(how) => {
            let what = format!("append-only file, appendfsync {how}");
            let means = "A crash of Redis may lose up to a second of jobs; `appendfsync always` \
                         loses none.";
            Finding::note(check, what, means)
        }
        None => {
            let what = "append-only file; how often it is written (appendfsync) is unknown";
            Finding::note(check, what, "Unless that is `always`, a crash may lose some jobs.")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eviction_policy_is_bad_only_with_a_memory_limit() {
        let level = |max_memory, policy: Option<&str>| {
            let policy = policy.map(str::to_owned);
            eviction(&ServerInfo { max_memory, policy, ..ServerInfo::default() }).level
        };
        assert_eq!(level(Some(0), Some("allkeys-lru")), Level::Ok);
        assert_eq!(level(Some(1), Some("noeviction")), Level::Ok);
        assert_eq!(level(Some(1), Some("allkeys-lru")), Level::Problem);
        assert_eq!(level(Some(1), Some("volatile-ttl")), Level::Warning);
        assert_eq!((level(None, None), level(Some(1), None)), (Level::Note, Level::Note));
    }

    #[test]
    fn persistence_settings_decide() {
        let level = |append: Option<Append>, save: Option<&str>, cannot_write| {
            let snapshots = save.map(str::to_owned);
            persistence(&ServerInfo { append, snapshots, cannot_write, ..ServerInfo::default() })
                .level
        };
        let on = |how: &str| Some(Append::On(Some(how.to_owned())));
        assert_eq!(level(on("always"), None, false), Level::Ok);
        assert_eq!(level(on("always"), None, true), Level::Problem);
        assert_eq!(level(on("everysec"), None, false), Level::Note);
        assert_eq!(level(on("no"), None, false), Level::Warning);
        assert_eq!(level(Some(Append::On(None)), None, false), Level::Note);
        assert_eq!(level(Some(Append::Off), Some(""), false), Level::Problem);
        assert_eq!(level(Some(Append::Off), Some("60 1"), false), Level::Warning);
        assert_eq!(level(Some(Append::Off), None, false), Level::Warning);
        assert_eq!(level(None, None, false), Level::Note);
    }
}
