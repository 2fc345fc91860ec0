//! The greatest size of each key, for the table in docs/reference/keys.md: a bound, or a product of
//! settings. docs/internals/guarantees.md describes how each bound is enforced.

/// The keys of the table, without the queue, with their maximum bytes. Abbreviated settings: `L`
/// `limits.max_length` (or the queue's own), `R` `limits.request`, `A` `limits.answer`, `F`
/// `limits.frame`, `C` `worker.concurrency`.
const BYTES: &[(&str, &str)] = &[
    ("queue", "L × R, including scheduled, partitioned, parked and deferred requests"),
    (
        "response:<id>",
        "`answers_max_bytes` for all of them; while it runs 64 MiB and 2 F of frames",
    ),
    ("notify:<client>", "none"),
    ("dead", "`dead.max_bytes`, or its newest entry"),
    ("leases:<worker>", "(C + one per queue) × R"),
    ("inbox:<worker>", "R"),
    ("inbox:<worker>:<n>", "4 MiB, or R"),
    ("lanes", "120 × workers"),
    ("live", "120 × its requests"),
    ("workers", "120 × workers"),
    ("worker:<worker>", "its settings: 130 × names it handles"),
    ("names", "220 × names that live workers handle"),
    ("parked", "220 × names"),
    ("parked:<name>", "counts as `queue`"),
    ("schedule", "150 × its requests"),
    ("scheduled", "counts as `queue`"),
    ("attempts", "130 KiB × requests that failed or crashed and are not settled"),
    ("cancelled", "150 × 1,000,000"),
    ("control", "none"),
    ("paused", "100"),
    ("durable", "100"),
    ("ticks", "120 × names of schedules in 400 days"),
    ("poll:<worker>", "500"),
    ("poll:<worker>:<n>", "500"),
    ("idem:<digest>", "25 KiB while it runs; its end counts under `answers_max_bytes`"),
    ("unique:<digest>", "200 × calls within their window"),
    ("seen:<id>", "300 × signed calls that run, or whose signatures hold"),
    ("deferred", "150 × its requests"),
    ("deferred:<id>", "R and 4 KiB; counts as `queue`"),
    ("status:<id>", "400 KiB × tracked jobs within their TTL"),
    ("permits", "300 × leases of limited names"),
    ("limited", "220 × limited names"),
    ("limited:<name>:<key>", "counts as `queue`"),
    ("limit_keys:<name>", "130 × keys with partitioned requests"),
    ("rotation:<name>", "130 × keys with partitioned requests"),
    ("held:<name>", "130 × keys with partitioned requests"),
    ("running:<name>:<key>", "120 × leases of that key"),
    ("rate:<name>:<key>", "300"),
    ("throttled", "350 × keys with partitioned requests"),
    ("answers", "150 per 64 KiB of answers"),
    ("answers_full", "100"),
    ("state", "1 MiB"),
    ("state:<instance>", "1 MiB × instances within `services.X.idle`"),
    ("probe:<worker>:…", "4 KiB"),
];

/// Returns the maximum bytes of a key of the table; empty if it is not in the list.
pub(super) fn of(what: &str) -> &'static str {
    BYTES.iter().find(|(key, _)| *key == what).map_or("", |(_, bytes)| bytes)
}
