//! Keys without a TTL.

use std::time::Duration;

use redcall_common::finding::{Finding, Level};
use redcall_store::KeyCensus;

use crate::output::line;

/// Time limit of the scan.
pub(crate) const SCAN_TIMEOUT: Duration = Duration::from_secs(1);
pub(crate) const SCAN_MAX: u64 = 200_000;

/// Evaluates the scan of keys with our prefix.
pub(crate) fn check(census: &KeyCensus) -> Finding {
    const CHECK: &str = "keys";
    let seen = if census.cut { "of the first" } else { "of" };
    let seen = format!("{seen} {} keys", census.seen);
    if census.without_ttl > 0 {
        let examples: Vec<String> = census.examples.iter().map(|key| line(key, 120)).collect();
        let (count, examples) = (census.without_ttl, examples.join(", "));
        let what = format!("{count} {seen} lack their TTL: {examples}");
        let means = "They never expire, so Redis fills up.";
        let cure = "Another program writes there, or removed the TTL (PERSIST): stop it, then \
                    EXPIRE or DEL those keys.";
        return Finding::new(CHECK, Level::Warning, what, means, cure);
    }
    if let Some(example) = &census.foreign_example {
        let what = format!("{} {seen} are not Redcall's: {}", census.foreign, line(example, 120));
        let means = "Another program uses the same prefix and could overwrite keys. Set another \
                             `redis.prefix` to separate both.";
        return Finding::note(CHECK, what, means);
    }
    Finding::ok(CHECK, format!("0 {seen} lack a TTL"))
}
