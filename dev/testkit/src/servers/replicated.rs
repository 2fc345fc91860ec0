//! A primary, its replica, and Sentinels that make the replica the primary when that one is gone.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;

use redcall_common::leash::{Held, Leash};
use redcall_common::settings::RedisSettings;
use redcall_store::embedded::find_server;
use redis::Value;
use redis::aio::MultiplexedConnection;
use tempfile::TempDir;

use crate::eventually::eventually;
use crate::free_port::{TRIES, free_port};

/// The Sentinels' name of the primary and its replica.
const SERVICE: &str = "main";
/// The fewest that can outvote one that is wrong.
const SENTINELS: usize = 3;

/// Two servers and three Sentinels on loopback ports. Dropping kills them.
#[derive(Debug)]
pub struct ReplicatedRedis {
    servers: Vec<Process>,
    sentinels: Vec<Process>,
    // After the processes, which write there.
    dir: TempDir,
}

/// Ends them with the test, also if that is killed.
static LEASH: LazyLock<Leash> = LazyLock::new(Leash::default);

#[derive(Debug)]
struct Process {
    child: Child,
    _held: Held,
    port: u16,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl ReplicatedRedis {
    /// Starts all of them. Returns when the replica is in sync and every Sentinel knows of it and
    /// of the other Sentinels.
    ///
    /// # Panics
    /// When there is no server on the machine, or one does not start.
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().expect("a folder for the servers");
        let mut servers = vec![server(dir.path(), &[]).await];
        let primary = servers[0].port.to_string();
        servers.push(server(dir.path(), &["--replicaof", "127.0.0.1", &primary]).await);
        let mut sentinels = Vec::new();
        for _ in 0..SENTINELS {
            sentinels.push(sentinel(dir.path(), &primary).await);
        }
        let redis = Self { servers, sentinels, dir };
        for sentinel in &redis.sentinels {
            eventually("the Sentinels to know each other", async || {
                let known = redis.field_of(sentinel, "num-other-sentinels").await?;
                let replicas = redis.field_of(sentinel, "num-slaves").await?;
                (known == (SENTINELS - 1).to_string() && replicas == "1").then_some(())
            })
            .await;
        }
        eventually("the replica to be in step", async || {
            let mut conn = redis.connection(1).await;
            let info: String =
                redis::cmd("INFO").arg("replication").query_async(&mut conn).await.ok()?;
            info.contains("master_link_status:up").then_some(())
        })
        .await;
        redis
    }

    /// Default settings with the addresses of the Sentinels.
    #[must_use]
    pub fn settings(&self) -> RedisSettings {
        let nodes: Vec<String> =
            self.sentinels.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        let url = format!("redis+sentinel://{}/{SERVICE}", nodes.join(","));
        RedisSettings { url, url_named: true, ..RedisSettings::default() }
    }

    /// The address of server `which` alone: 0 is the first primary, 1 its replica.
    #[must_use]
    pub fn url(&self, which: usize) -> String {
        format!("redis://127.0.0.1:{}", self.servers[which].port)
    }

    /// A connection to server `which` for the test's own commands.
    ///
    /// # Panics
    /// When it does not accept one.
    pub async fn connection(&self, which: usize) -> MultiplexedConnection {
        connection(self.servers[which].port).await.expect("a connection to the server")
    }

    /// The process id of server `which`, for tests that stop it.
    #[must_use]
    pub fn pid(&self, which: usize) -> u32 {
        self.servers[which].child.id()
    }

    /// Ends server `which` as a power failure would.
    pub fn kill(&mut self, which: usize) {
        let _ = self.servers[which].child.kill();
        let _ = self.servers[which].child.wait();
    }

    /// Puts a new and empty server in the place of `which`, as the replica of `primary`.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub async fn replace(&mut self, which: usize, primary: usize) {
        let port = self.servers[primary].port.to_string();
        let args = ["--replicaof", "127.0.0.1", &port];
        self.servers[which] = server(self.dir.path(), &args).await;
    }

    /// Waits until every Sentinel reports server `which` as the primary.
    pub async fn is_primary(&self, which: usize) {
        let port = self.servers[which].port.to_string();
        for sentinel in &self.sentinels {
            eventually("the Sentinels to name another primary", async || {
                (self.field_of(sentinel, "port").await? == port).then_some(())
            })
            .await;
        }
    }

    /// Returns a field of the primary, as a Sentinel reports it.
    async fn field_of(&self, sentinel: &Process, field: &str) -> Option<String> {
        let mut conn = connection(sentinel.port).await?;
        let query = redis::cmd("SENTINEL").arg("MASTER").arg(SERVICE).to_owned();
        let fields: Vec<(String, String)> = query.query_async(&mut conn).await.ok()?;
        fields.into_iter().find(|(name, _)| name == field).map(|(_, value)| value)
    }
}

async fn server(dir: &Path, args: &[&str]) -> Process {
    // A short pause before a new replica is served: by default five seconds.
    let fast = ["--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"];
    start(|port| {
        let mut all = vec!["--port".to_owned(), port.to_string()];
        all.extend(["--bind", "127.0.0.1", "--save", "", "--dbfilename"].map(str::to_owned));
        all.push(format!("{port}.rdb"));
        all.extend(["--dir".to_owned(), dir.display().to_string()]);
        all.extend(fast.iter().chain(args).map(ToString::to_string));
        all
    })
    .await
}

async fn sentinel(dir: &Path, primary: &str) -> Process {
    start(|port| {
        // A file and not arguments: a Sentinel stores its state there.
        let file = dir.join(format!("sentinel-{port}.conf"));
        let text = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\n\
             sentinel monitor {SERVICE} 127.0.0.1 {primary} 2\n\
             sentinel down-after-milliseconds {SERVICE} 500\n\
             sentinel failover-timeout {SERVICE} 2000\n",
            dir.display()
        );
        std::fs::write(&file, text).expect("write a Sentinel's configuration");
        vec![file.display().to_string(), "--sentinel".to_owned()]
    })
    .await
}

/// Starts a server with the arguments for the port that it gets, once it answers there.
async fn start(args: impl Fn(u16) -> Vec<String>) -> Process {
    let program = find_server().expect("a Redis or Valkey server").path;
    for _ in 0..TRIES {
        let port = free_port();
        let mut command = Command::new(&program);
        command.args(args(port)).stdin(Stdio::null()).stdout(Stdio::null());
        LEASH.prepare();
        let child = command.spawn().expect("start the server");
        let mut process = Process { _held: LEASH.hold_process(child.id()), child, port };
        let answers = eventually("the server to answer or to end", async || {
            let has_ended = process.child.try_wait().unwrap().is_some();
            let mut conn = connection(port).await;
            match conn.as_mut() {
                _ if has_ended => Some(false),
                Some(conn) => {
                    redis::cmd("PING").query_async::<Value>(conn).await.ok().map(|_| true)
                }
                None => None,
            }
        });
        if answers.await {
            return process;
        }
    }
    panic!("no server after {TRIES} tries")
}

async fn connection(port: u16) -> Option<MultiplexedConnection> {
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).ok()?;
    client.get_multiplexed_async_connection().await.ok()
}
