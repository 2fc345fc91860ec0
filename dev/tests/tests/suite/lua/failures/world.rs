//! A private server with two users, with methods to fill, break and restore it.

use std::collections::HashMap;
use std::sync::Arc;

use redcall_common::keys::{Keys, QueueKeys};
use redcall_common::settings::RedisSettings;
use redcall_store::rights::Role;
use redcall_store::{Connection, Connector, Session as _};
use redcall_testkit::TestRedis;
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;

use super::Fault;
use super::fill::{State, fill};
use super::places::Places;
use super::watch::Watch;

/// The user that loses its rights.
const USER: &str = "caller";

/// One key as `DUMP` returns it, and its TTL in ms (0: none).
type Dumped = (String, u64, Vec<u8>);

/// The lists, hashes and streams of the server, as `read.lua` returns them.
pub(super) type Contents = Vec<(String, Vec<String>)>;

/// One end that calls scripts.
pub(super) struct Party {
    pub(super) link: Connection,
    pub(super) connector: Connector,
}

impl Party {
    async fn new(settings: &RedisSettings, name: &str) -> Self {
        let connector = Connector::new(settings, name).unwrap();
        let link = Connection::connect(connector.clone(), Arc::new(|_: &[u8], _: &[u8]| ())).await;
        Self { link: link.unwrap(), connector }
    }
}

/// The server, and all that talk to it.
pub(super) struct World {
    /// Calls the scripts under test, as a user of its own.
    pub(super) caller: Party,
    /// Makes the calls that follow.
    pub(super) healthy: Party,
    pub(super) conn: MultiplexedConnection,
    pub(super) keys: QueueKeys,
    /// The ids that healthy workers have leased since the last reset.
    pub(super) runs: Vec<String>,
    /// The keys after a reset.
    filled: Vec<Dumped>,
    of: Option<State>,
    // Last, since connections to a server that has gone are noisy.
    redis: TestRedis,
}

impl World {
    pub(super) async fn new() -> Self {
        let redis = TestRedis::start().await;
        let mut conn = redis.connection().await;
        set_user(&mut conn, &["on", ">secret", "~*", "&*", "+@all"]).await;
        let url = format!("{}?user={USER}&pass=secret", redis.url());
        let caller = Party::new(&RedisSettings { url, ..redis.settings() }, "caller").await;
        let healthy = Party::new(&redis.settings(), "healthy").await;
        let keys = Keys::new("redcall").of("q");
        let (runs, filled) = (Vec::new(), Vec::new());
        Self { caller, healthy, conn, keys, runs, filled, of: None, redis }
    }

    /// Resets the server to `state`; returns the place of each request.
    pub(super) async fn reset(&mut self, state: State) -> Places {
        self.runs.clear();
        let () = redis::cmd("FLUSHDB").query_async(&mut self.conn).await.unwrap();
        if self.of == Some(state) {
            let mut pipe = redis::pipe();
            for (key, ttl, value) in &self.filled {
                pipe.cmd("RESTORE").arg(key).arg(ttl).arg(&value[..]).ignore();
            }
            let () = pipe.query_async(&mut self.conn).await.unwrap();
        } else {
            fill(&mut self.conn, &self.keys, state).await;
            self.filled = self.dump().await;
            self.of = Some(state);
        }
        self.places().await
    }

    async fn dump(&mut self) -> Vec<Dumped> {
        let mut all = Vec::new();
        for key in crate::support::keys(&mut self.conn).await {
            let ttl: i64 = self.conn.pttl(&key).await.unwrap();
            let value: Vec<u8> =
                redis::cmd("DUMP").arg(&key).query_async(&mut self.conn).await.unwrap();
            all.push((key, u64::try_from(ttl).unwrap_or_default(), value));
        }
        all
    }

    /// Where each request is.
    pub(super) async fn places(&mut self) -> Places {
        Places::read(&self.contents().await, self.keys.base())
    }

    /// Returns all keys.
    pub(super) async fn contents(&mut self) -> Contents {
        let script = redis::cmd("EVAL").arg(include_str!("read.lua")).arg(0).to_owned();
        script.query_async(&mut self.conn).await.unwrap()
    }

    /// Records the caller's commands from now on.
    pub(super) async fn watch(&self) -> Watch {
        Watch::start(&self.redis.url()).await
    }

    /// Leaves the caller with the documented rights of `role`.
    pub(super) async fn allow_only(&mut self, role: Role) {
        let line = role.acl_line(USER, "redcall");
        let (_, rules) = line.split_once(">SECRET ").unwrap();
        let rules: Vec<&str> = rules.split(' ').collect();
        let reset = ["resetkeys", "resetchannels", "-@all"];
        set_user(&mut self.conn, &[&reset[..], &rules].concat()).await;
        let log = redis::cmd("ACL").arg("LOG").arg("RESET").to_owned();
        let () = log.query_async(&mut self.conn).await.unwrap();
    }

    /// Returns the commands that were refused since then.
    pub(super) async fn refusals(&mut self) -> Vec<String> {
        let log = redis::cmd("ACL").arg("LOG").to_owned();
        let log: Vec<HashMap<String, redis::Value>> =
            log.query_async(&mut self.conn).await.unwrap();
        let object = |entry: &HashMap<String, redis::Value>| {
            redis::from_redis_value(entry["object"].clone()).unwrap()
        };
        log.iter().map(object).collect()
    }

    /// Makes `fault` true.
    pub(super) async fn break_it(&mut self, fault: &Fault) {
        match fault {
            Fault::Without(command) => {
                set_user(&mut self.conn, &[&format!("-{command}")]).await;
            }
            Fault::WrongType(key) => {
                let is: String =
                    redis::cmd("TYPE").arg(key).query_async(&mut self.conn).await.unwrap();
                let () = self.conn.del(key).await.unwrap();
                let () = match is == "string" || (is == "none" && is_string(key)) {
                    true => self.conn.rpush(key, "wrong").await.unwrap(),
                    false => self.conn.set(key, "wrong").await.unwrap(),
                };
            }
        }
    }

    /// Removes `fault`, and restores the earlier value of the key.
    pub(super) async fn make_whole(&mut self, fault: &Fault) {
        match fault {
            Fault::Without(_) => set_user(&mut self.conn, &["+@all"]).await,
            Fault::WrongType(key) => {
                let () = self.conn.del(key).await.unwrap();
                if let Some((key, ttl, value)) = self.filled.iter().find(|(of, ..)| of == key) {
                    let mut restore = redis::cmd("RESTORE");
                    restore.arg(key).arg(ttl).arg(&value[..]);
                    let () = restore.query_async(&mut self.conn).await.unwrap();
                }
            }
        }
    }
}

/// Returns `true` if a string belongs at a key that is not there.
fn is_string(key: &str) -> bool {
    let strings = [":poll:", ":worker:", ":paused", ":rate:", ":unique:", ":seen:"];
    strings.iter().any(|part| key.contains(part))
}

async fn set_user(conn: &mut MultiplexedConnection, rules: &[&str]) {
    let () = redis::cmd("ACL").arg("SETUSER").arg(USER).arg(rules).query_async(conn).await.unwrap();
}
