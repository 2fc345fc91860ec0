//! The effective settings. They were validated when they were read.

use redcall_client::Settings;
use redcall_common::finding::{Finding, Level};

/// Checks the settings without Redis.
pub(super) fn check(settings: &Settings) -> Vec<Finding> {
    const CHECK: &str = "settings";
    let file = match &settings.file {
        Some(file) => Finding::ok(CHECK, file.display().to_string()),
        None => {
            let what = "no settings file found; environment and defaults apply";
            let means = "Without a settings file, a worker runs compiled-in jobs only. Pass one \
                         with --settings, REDCALL_SETTINGS or as redcall.toml.";
            Finding::note(CHECK, what, means)
        }
    };
    let redis = &settings.redis;
    let address = format!("redis.url {}, prefix {}", redis.redacted_url(), redis.prefix);
    let worker = &settings.worker;
    let queues = worker.queues.join(", ");
    let worker = format!(
        "worker.queues {queues}; concurrency {}, lease {:?}, drain_timeout {:?}",
        worker.concurrency, worker.lease, worker.drain_timeout
    );
    let timeout = format!("client.timeout {:?}", settings.client.timeout);
    let mut findings = vec![file];
    findings.extend([address, worker, timeout].map(|what| Finding::ok(CHECK, what)));
    findings.push(tls(settings));
    findings
}

/// Checks whether the connection to Redis is encrypted.
fn tls(settings: &Settings) -> Finding {
    const CHECK: &str = "tls";
    if settings.redis.is_in_the_clear() {
        let what = "Redis is reached over the network without TLS";
        let means =
            "Every machine on the network path can read and change jobs, and read the password.";
        let cure = "Use rediss:// in `redis.url`, or a private network.";
        return Finding::new(CHECK, Level::Warning, what, means, cure);
    }
    let is_tls = settings.redis.url.starts_with("rediss");
    Finding::ok(CHECK, if is_tls { "in use" } else { "not needed: Redis is on this machine" })
}
