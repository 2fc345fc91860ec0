//! Facts about the server: its version and role, and its persistence.
//!
//! Read by `INFO` and `CONFIG GET`. Managed servers refuse the latter, some users the former: an
//! unknown fact is `None`, not an error. [`crate::safety`] and `redcall doctor` evaluate them.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::TryFutureExt;
use redis::aio::MultiplexedConnection;

use super::inspector::Inspector;
use crate::connection::Connection;
use crate::driver::OrStore;
use crate::error::StoreError;
use crate::ops::reply::millis;

/// The facts that a server reports.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerInfo {
    /// `Redis` or `Valkey`, and its version.
    pub program: Option<String>,
    /// Its Redis version, major and minor; Valkey reports the compatible version of Redis.
    pub version: Option<(u32, u32)>,
    /// `true` if it is part of a cluster.
    pub is_cluster: bool,
    /// `true` if it is a replica.
    pub is_replica: bool,
    /// Bytes in use.
    pub used_memory: Option<u64>,
    /// The limit of its memory, bytes; 0 for none.
    pub max_memory: Option<u64>,
    /// The memory of its machine, bytes.
    pub system_memory: Option<u64>,
    /// Its reaction at the memory limit, `maxmemory-policy`.
    pub policy: Option<String>,
    /// Its append-only file.
    pub append: Option<Append>,
    /// When it takes snapshots, `save`; empty for never.
    pub snapshots: Option<String>,
    /// `true` if its last attempt to write to its disk failed.
    pub cannot_write: bool,
}

/// The append-only file of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Append {
    /// There is none.
    Off,
    /// There is one; how often it is synchronised (`appendfsync`), if known.
    On(Option<String>),
}

/// Clock difference and latency of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// How far its clock is ahead of this machine's, ms; accurate to half a round trip.
    pub ahead_ms: i64,
    /// The median round trip.
    pub round_trip: Duration,
}

impl ServerInfo {
    async fn read(conn: &mut MultiplexedConnection) -> Result<Self, StoreError> {
        let info = redis::cmd("INFO");
        let info = info.query_async::<String>(conn).map_err(StoreError::of_driver).await;
        let config = redis::cmd("CONFIG").arg("GET").arg("appendfsync").arg("save").to_owned();
        let config = config.query_async(conn).map_err(StoreError::of_driver).await;
        let config = unless_refused::<HashMap<String, String>>(config)?.unwrap_or_default();
        Ok(Self::of(&unless_refused(info)?.unwrap_or_default(), config))
    }

    /// Parses the text of `INFO` and the reply of `CONFIG GET`.
    fn of(info: &str, mut config: HashMap<String, String>) -> Self {
        let info: HashMap<&str, &str> =
            info.lines().filter_map(|line| line.trim_end().split_once(':')).collect();
        let text = |field: &str| info.get(field).copied();
        let number = |field: &str| text(field)?.parse::<u64>().ok();
        let program = match (text("valkey_version"), text("redis_version")) {
            (Some(version), _) => Some(format!("Valkey {version}")),
            (None, version) => version.map(|version| format!("Redis {version}")),
        };
        let version = text("redis_version").and_then(|version| {
            let mut parts = version.split('.').map(str::parse);
            Some((parts.next()?.ok()?, parts.next()?.ok()?))
        });
        let append = match text("aof_enabled") {
            Some("0") => Some(Append::Off),
            Some(_) => Some(Append::On(config.remove("appendfsync"))),
            None => None,
        };
        let failed = ["aof_last_write_status", "rdb_last_bgsave_status"];
        Self {
            program,
            version,
            is_cluster: text("cluster_enabled") == Some("1"),
            is_replica: text("role") == Some("slave"),
            used_memory: number("used_memory"),
            max_memory: number("maxmemory"),
            system_memory: number("total_system_memory"),
            policy: text("maxmemory_policy").map(str::to_owned),
            append,
            snapshots: config.remove("save"),
            cannot_write: failed.iter().any(|field| text(field) == Some("err")),
        }
    }
}

/// Returns `None` if Redis refuses the command: it may be forbidden, or missing on a managed
/// server.
fn unless_refused<T>(result: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(StoreError::Unexpected(_)) => Ok(None),
        Err(error) if error.is_refused() => Ok(None),
        Err(error) => Err(error),
    }
}

impl Connection {
    pub(crate) async fn server_info(&self, timeout: Duration) -> Result<ServerInfo, StoreError> {
        let (mut conn, generation) = self.connection(timeout).await?;
        self.during(generation, ServerInfo::read(&mut conn)).await
    }
}

impl Inspector {
    /// Returns the facts that the server reports.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached, or wants another password. Cancel-safe.
    pub async fn server_info(&self) -> Result<ServerInfo, StoreError> {
        ServerInfo::read(&mut self.connection().await?).await
    }

    /// Reads the server's time `trips` times, at least once.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached or refuses. Cancel-safe.
    pub async fn clock(&self, trips: u32) -> Result<Clock, StoreError> {
        let mut conn = self.connection().await?;
        let mut trips_taken = Vec::new();
        for _ in 0..trips.max(1) {
            let (began, here) = (std::time::Instant::now(), std::time::SystemTime::now());
            let there = millis(redis::cmd("TIME").query_async(&mut conn).await.or_store()?);
            let took = began.elapsed();
            let here = (here + took / 2).duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            let here = i64::try_from(here.as_millis()).unwrap_or(i64::MAX);
            let there = i64::try_from(there).unwrap_or(i64::MAX);
            trips_taken.push((took, there - here));
        }
        trips_taken.sort_unstable();
        // The fastest round trip has the most accurate time.
        let ahead_ms = trips_taken.first().map_or(0, |(_, ahead)| *ahead);
        let round_trip =
            trips_taken.get(trips_taken.len() / 2).map_or(Duration::ZERO, |(took, _)| *took);
        Ok(Clock { ahead_ms, round_trip })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_facts_are_parsed() {
        let text = "# Server\r\nredis_version:7.2.4\r\nvalkey_version:8.0.1\r\n\r\n# Memory\r\n\
                    used_memory:10\r\nmaxmemory:20\r\nmaxmemory_policy:noeviction\r\n\
                    aof_enabled:1\r\nrdb_last_bgsave_status:err\r\nrole:slave\r\n\
                    cluster_enabled:1\r\n";
        let config = [("appendfsync", "always"), ("save", "")];
        let config = config.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let expected = ServerInfo {
            program: Some("Valkey 8.0.1".to_owned()),
            version: Some((7, 2)),
            is_cluster: true,
            is_replica: true,
            used_memory: Some(10),
            max_memory: Some(20),
            system_memory: None,
            policy: Some("noeviction".to_owned()),
            append: Some(Append::On(Some("always".to_owned()))),
            snapshots: Some(String::new()),
            cannot_write: true,
        };
        assert_eq!(ServerInfo::of(text, config), expected);
    }

    #[test]
    fn missing_server_facts_are_unknown() {
        assert_eq!(ServerInfo::of("", HashMap::new()), ServerInfo::default());
        let old = ServerInfo::of("redis_version:6.2.1\r\naof_enabled:1\r\n", HashMap::new());
        assert_eq!((old.version, old.append), (Some((6, 2)), Some(Append::On(None))));
        assert_eq!(ServerInfo::of("redis_version:unstable\r\n", HashMap::new()).version, None);
    }
}
