//! Redis itself: version, role, memory, clock, latency and persistence.

use std::time::Duration;

use redcall_client::{Inspector, Settings, StoreError};
use redcall_common::finding::{Finding, Level};
use redcall_common::time::millis;
use redcall_store::embedded::find_server;
use redcall_store::safety;
use redcall_store::{Clock, ServerInfo};

/// The oldest version with all features used, above all sharded pub/sub.
const OLDEST: (u32, u32) = (7, 0);
/// Number of round trips measured.
const TRIPS: u32 = 11;
/// Round trips from these durations on are a note, or a warning.
const FAR: Duration = Duration::from_millis(5);
const TOO_FAR: Duration = Duration::from_millis(50);
/// Maximum clock difference, ms.
const APART_MS: u64 = 1000;
/// Percent of the memory in use.
const MEMORY_FILLING: u64 = 80;
const FULL: u64 = 95;

/// Runs all checks of the server.
///
/// # Errors
///
/// If Redis does not answer at all.
pub(super) async fn check(
    inspector: &Inspector,
    settings: &Settings,
    findings: &mut Vec<Finding>,
) -> Result<(), StoreError> {
    let measured = inspector.clock(TRIPS).await?;
    let server = inspector.server_info().await?;
    let address = settings.redis.redacted_url();
    findings.push(version(&server, &address));
    findings.extend([role(&server), cluster(&server)]);
    findings.extend(safety::of(&server));
    findings.extend([memory(&server), clock(measured), latency(measured)]);
    Ok(())
}

/// The check that names the server.
const REDIS_CHECK: &str = "redis";

/// Reports the private server that workers start.
pub(super) fn embedded() -> Finding {
    match find_server() {
        Ok(server) => {
            let path = server.path.display();
            let what = format!("embedded: {path}, version {}", server.version);
            let means =
                "Each program starts a private server without persistence, for trials only.";
            Finding::note(REDIS_CHECK, what, means)
        }
        Err(error) => {
            let means = "A program with these settings does not start on this machine.";
            let cure = "Install Redis or Valkey, or set a server with `redis.url` or REDIS_URL.";
            Finding::new(REDIS_CHECK, Level::Problem, error.to_string(), means, cure)
        }
    }
}

fn version(server: &ServerInfo, address: &str) -> Finding {
    let program = server.program.as_deref().unwrap_or("a Redis of unknown version");
    let what = format!("{program} answers at {address}");
    match server.version {
        Some(version) if version < OLDEST => {
            let means = "It lacks commands that Redcall needs.";
            let cure = "Use Redis or Valkey 7.0 or newer.";
            Finding::new(REDIS_CHECK, Level::Problem, what, means, cure)
        }
        Some(_) => Finding::ok(REDIS_CHECK, what),
        None => Finding::note(REDIS_CHECK, what, "Redcall needs Redis or Valkey 7.0 or newer."),
    }
}

fn role(server: &ServerInfo) -> Finding {
    const CHECK: &str = "role";
    if !server.is_replica {
        return Finding::ok(CHECK, "primary");
    }
    let means = "It is read-only: no job can be queued or run there.";
    let cure = "Set the primary in `redis.url`, or its Sentinels: \
                redis+sentinel://HOST:PORT,HOST:PORT/SERVICE.";
    Finding::new(CHECK, Level::Problem, "a read-only replica", means, cure)
}

fn cluster(server: &ServerInfo) -> Finding {
    const CHECK: &str = "cluster";
    if !server.is_cluster {
        return Finding::ok(CHECK, "no: a single server");
    }
    let means =
        "Redcall uses one server; queues whose hash slots belong to other nodes are refused.";
    let cure = "Set a server with `cluster-enabled no` in `redis.url`.";
    Finding::new(CHECK, Level::Problem, "a node of a cluster", means, cure)
}

fn memory(server: &ServerInfo) -> Finding {
    const CHECK: &str = "memory";
    let limit = server.max_memory.filter(|limit| *limit > 0);
    let name = if limit.is_some() { "maxmemory" } else { "its machine's memory" };
    let limit = limit.or(server.system_memory).filter(|limit| *limit > 0);
    let (Some(used), Some(limit)) = (server.used_memory, limit) else {
        let means = "When its memory is full, new jobs are rejected (`overloaded`).";
        return Finding::note(CHECK, "unknown: Redis does not report its memory use", means);
    };
    let percent = used.saturating_mul(100) / limit;
    let what = format!("{percent} % of {name} in use ({} of {} MiB)", used >> 20, limit >> 20);
    if percent < MEMORY_FILLING {
        return Finding::ok(CHECK, what);
    }
    let level = if percent < FULL { Level::Warning } else { Level::Problem };
    let means = "When it is full, new jobs are rejected (`overloaded`), or the system kills Redis.";
    let cure =
        "Raise `maxmemory`, add memory to the machine, or start workers that empty the queues.";
    Finding::new(CHECK, level, what, means, cure)
}

fn clock(Clock { ahead_ms, round_trip }: Clock) -> Finding {
    const CHECK: &str = "clock";
    let which = if ahead_ms < 0 { "behind" } else { "ahead of" };
    let apart = ahead_ms.unsigned_abs();
    let what = format!("Redis is {apart} ms {which} this machine");
    // The precision of the measurement is one round trip.
    let uncertainty = millis(round_trip);
    if apart <= APART_MS.saturating_add(uncertainty) {
        return Finding::ok(CHECK, what);
    }
    let means = "Redis's clock applies: jobs scheduled by this machine's clock (`--at`) and \
                 `enqueued_at` of clients that write it themselves are off by that much.";
    let cure = "Synchronise both clocks (NTP).";
    Finding::new(CHECK, Level::Warning, what, means, cure)
}

fn latency(Clock { round_trip, .. }: Clock) -> Finding {
    const CHECK: &str = "latency";
    let ms = round_trip.as_secs_f64() * 1000.0;
    let what = format!("{ms:.2} ms for a round trip (median of {TRIPS})");
    let means = "A waited call takes at least two of them on each side.";
    if round_trip < FAR {
        Finding::ok(CHECK, what)
    } else if round_trip < TOO_FAR {
        Finding::note(CHECK, what, means)
    } else {
        let cure = "Run workers and callers near Redis, and check its load (SLOWLOG GET).";
        Finding::new(CHECK, Level::Warning, what, means, cure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_version_replica_and_cluster_are_problems() {
        let of = |version| ServerInfo { version: Some(version), ..ServerInfo::default() };
        assert_eq!(version(&of((6, 2)), "x").level, Level::Problem);
        assert_eq!(version(&of((7, 0)), "x").level, Level::Ok);
        assert_eq!(version(&ServerInfo::default(), "x").level, Level::Note);
        let fine = ServerInfo::default();
        assert_eq!((role(&fine).level, cluster(&fine).level), (Level::Ok, Level::Ok));
        let bad = ServerInfo { is_replica: true, is_cluster: true, ..fine };
        assert_eq!((role(&bad).level, cluster(&bad).level), (Level::Problem, Level::Problem));
    }

    #[test]
    fn memory_is_measured_against_its_limit_or_the_machine() {
        let level = |used, max_memory, system| {
            let (used_memory, system_memory) = (Some(used), Some(system));
            let max_memory = Some(max_memory);
            memory(&ServerInfo { used_memory, max_memory, system_memory, ..ServerInfo::default() })
                .level
        };
        assert_eq!(level(79, 100, 10), Level::Ok);
        assert_eq!(level(80, 100, 10), Level::Warning);
        assert_eq!(level(95, 100, 10), Level::Problem);
        assert_eq!((level(79, 0, 100), level(95, 0, 100)), (Level::Ok, Level::Problem));
        assert_eq!(memory(&ServerInfo::default()).level, Level::Note);
    }

    #[test]
    fn clock_difference_up_to_a_second_plus_round_trip_is_ok() {
        let level = |ahead_ms, trip_ms| {
            clock(Clock { ahead_ms, round_trip: Duration::from_millis(trip_ms) }).level
        };
        assert_eq!((level(1000, 0), level(-1500, 600)), (Level::Ok, Level::Ok));
        assert_eq!((level(1001, 0), level(-5000, 600)), (Level::Warning, Level::Warning));
        let text = clock(Clock { ahead_ms: -5000, round_trip: Duration::ZERO }).what;
        assert_eq!(text, "Redis is 5000 ms behind this machine");
    }

    #[test]
    fn latency_level_depends_on_round_trip() {
        let level =
            |ms| latency(Clock { ahead_ms: 0, round_trip: Duration::from_millis(ms) }).level;
        assert_eq!((level(4), level(5), level(50)), (Level::Ok, Level::Note, Level::Warning));
    }
}
