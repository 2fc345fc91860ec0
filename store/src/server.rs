//! What Redis says of itself: its version and role, and how it keeps what it is given.
//!
//! Read by `INFO` and `CONFIG GET`. Managed servers refuse the latter, some users the former: what
//! is not known is `None`, and no reason to fail. What follows from it is said elsewhere:
//! [`crate::safety`] and `redcall doctor`.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::TryFutureExt;
use redis::aio::MultiplexedConnection;

use super::error::StoreError;
use super::inspect::Inspector;
use super::link::Link;
use crate::ops::reply::millis;

/// A server's account of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerInfo {
    /// `Redis` or `Valkey`, and its version.
    pub program: Option<String>,
    /// Its version as Redis counts, major and minor; Valkey says which Redis it is like.
    pub version: Option<(u32, u32)>,
    /// Whether it is one of a cluster.
    pub is_cluster: bool,
    /// Whether it is a replica.
    pub is_replica: bool,
    /// Bytes in use.
    pub used_memory: Option<u64>,
    /// Most bytes that it may use; 0 for no limit.
    pub max_memory: Option<u64>,
    /// Bytes that its machine has.
    pub system_memory: Option<u64>,
    /// What it does when it may use no more, `maxmemory-policy`.
    pub policy: Option<String>,
    /// Its append-only file.
    pub append: Option<Append>,
    /// When it takes snapshots, `save`; empty for never.
    pub snapshots: Option<String>,
    /// Whether its last attempt to write to its disk failed.
    pub cannot_write: bool,
}

/// The append-only file of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Append {
    /// There is none.
    Off,
    /// There is one; how often it is synchronised (`appendfsync`), if that is known.
    On(Option<String>),
}

/// Clock and distance of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// How far its clock is ahead of this machine's, ms; as exact as half a round trip.
    pub ahead_ms: i64,
    /// The median of some round trips.
    pub round_trip: Duration,
}

impl ServerInfo {
    async fn read(conn: &mut MultiplexedConnection) -> Result<Self, StoreError> {
        let info = redis::cmd("INFO");
        let info = info.query_async::<String>(conn).map_err(StoreError::from).await;
        let config = redis::cmd("CONFIG").arg("GET").arg("appendfsync").arg("save").to_owned();
        let config = config.query_async(conn).map_err(StoreError::from).await;
        let config = unless_refused::<HashMap<String, String>>(config)?.unwrap_or_default();
        Ok(Self::of(&unless_refused(info)?.unwrap_or_default(), config))
    }

    /// From the text of `INFO` and what `CONFIG GET` said.
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

/// What may be forbidden, or be missing at a server that somebody else runs.
fn unless_refused<T>(result: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(StoreError::Unexpected(_)) => Ok(None),
        Err(error) if error.is_refused() => Ok(None),
        Err(error) => Err(error),
    }
}

impl Link {
    /// What the server says of itself.
    ///
    /// # Errors
    ///
    /// When Redis is not reachable within `within`. Dropping the future is harmless.
    pub async fn server_info(&self, within: Duration) -> Result<ServerInfo, StoreError> {
        let (mut conn, generation) = self.connection(within).await?;
        self.during(generation, ServerInfo::read(&mut conn)).await
    }
}

impl Inspector {
    /// What the server says of itself.
    ///
    /// # Errors
    ///
    /// When Redis cannot be reached, or wants another password. Dropping the future is harmless.
    pub async fn server_info(&self) -> Result<ServerInfo, StoreError> {
        ServerInfo::read(&mut *self.connection().await?).await
    }

    /// Asks `trips` times for the time, at least once.
    ///
    /// # Errors
    ///
    /// When Redis cannot be reached or refuses. Dropping the future is harmless.
    pub async fn clock(&self, trips: u32) -> Result<Clock, StoreError> {
        let mut conn = self.connection().await?;
        let mut asked = Vec::new();
        for _ in 0..trips.max(1) {
            let (began, here) = (std::time::Instant::now(), std::time::SystemTime::now());
            let there = millis(redis::cmd("TIME").query_async(&mut *conn).await?);
            let took = began.elapsed();
            let here = (here + took / 2).duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            let here = i64::try_from(here.as_millis()).unwrap_or(i64::MAX);
            let there = i64::try_from(there).unwrap_or(i64::MAX);
            asked.push((took, there - here));
        }
        asked.sort_unstable();
        // The fastest knows the time best.
        let ahead_ms = asked.first().map_or(0, |(_, ahead)| *ahead);
        let round_trip = asked.get(asked.len() / 2).map_or(Duration::ZERO, |(took, _)| *took);
        Ok(Clock { ahead_ms, round_trip })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_known_by_what_it_says() {
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
    fn what_a_server_does_not_say_is_not_known() {
        assert_eq!(ServerInfo::of("", HashMap::new()), ServerInfo::default());
        let old = ServerInfo::of("redis_version:6.2.1\r\naof_enabled:1\r\n", HashMap::new());
        assert_eq!((old.version, old.append), (Some((6, 2)), Some(Append::On(None))));
        assert_eq!(ServerInfo::of("redis_version:unstable\r\n", HashMap::new()).version, None);
    }
}
