//! Keys that nothing bounds.

use std::time::Duration;

use redcall_common::finding::{Finding, Level};
use redcall_store::KeyCensus;

use crate::output::line;

/// How long it looks, and over how many keys of the server.
pub(super) const WITHIN: Duration = Duration::from_secs(1);
pub(super) const MOST: u64 = 200_000;

/// Looks at what the walk over the keys with our prefix has found.
pub(super) fn look(census: &KeyCensus) -> Finding {
    const CHECK: &str = "keys";
    let seen = if census.cut { "of the first" } else { "of" };
    let seen = format!("{seen} {} keys", census.seen);
    if census.without_ttl > 0 {
        let examples: Vec<String> = census.examples.iter().map(|key| line(key, 120)).collect();
        let (count, examples) = (census.without_ttl, examples.join(", "));
        let what = format!("{count} {seen} lack the TTL that they ought to have: {examples}");
        let means = "They never go, so Redis fills up.";
        let cure = "Something else than Redcall writes there, or took the TTL away (PERSIST): stop \
                    that, then EXPIRE or DEL those keys.";
        return Finding::new(CHECK, Level::Warning, what, means, cure);
    }
    if let Some(example) = &census.foreign_example {
        let what = format!("{} {seen} are not Redcall's: {}", census.foreign, line(example, 120));
        let means = "Another program uses the same prefix; it could come into our way. Another \
                     `redis.prefix` keeps both apart.";
        return Finding::note(CHECK, what, means);
    }
    Finding::ok(CHECK, format!("0 {seen} lack a TTL"))
}
