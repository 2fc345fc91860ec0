//! The Redis of a test: its counts, its connections, and stopping it.

use redis::aio::MultiplexedConnection;
use rustix::process::{Pid, Signal, kill_process};

/// A process that is stopped for as long as this lives, also when the test fails.
pub(crate) struct Stopped(Pid);

impl Stopped {
    pub(crate) fn new(pid: u32) -> Self {
        let pid = Pid::from_raw(pid.try_into().unwrap()).unwrap();
        kill_process(pid, Signal::STOP).unwrap();
        Self(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::CONT);
    }
}

/// How often a command was carried out, in scripts as well.
pub(crate) async fn carried_out(conn: &mut MultiplexedConnection, command: &str) -> u64 {
    let stats: String = redis::cmd("INFO").arg("commandstats").query_async(conn).await.unwrap();
    let start = format!("cmdstat_{command}:calls=");
    let line = stats.lines().find_map(|line| line.strip_prefix(&start));
    line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
}

async fn connections(conn: &mut MultiplexedConnection) -> String {
    redis::cmd("CLIENT").arg("LIST").query_async(conn).await.unwrap()
}

/// How many connections wait in a blocked pop.
pub(crate) async fn blocked(conn: &mut MultiplexedConnection) -> usize {
    let list = connections(conn).await;
    list.lines().filter(|line| line.contains("flags=b") && line.contains("cmd=blmove")).count()
}

/// How many connections clients have.
pub(crate) async fn client_connections(conn: &mut MultiplexedConnection) -> usize {
    let list = connections(conn).await;
    list.lines().filter(|line| line.contains("name=redcall-client-")).count()
}

/// Cuts every connection whose name begins with `prefix`; returns their number.
pub(crate) async fn cut(conn: &mut MultiplexedConnection, prefix: &str) -> usize {
    let list = connections(conn).await;
    let of = |line: &&str| line.contains(&format!(" name={prefix}"));
    let id = |line: &str| line.split(' ').find_map(|field| field.strip_prefix("id=")?.parse().ok());
    let ids: Vec<i64> = list.lines().filter(of).filter_map(id).collect();
    for id in &ids {
        let kill = redis::cmd("CLIENT").arg("KILL").arg("ID").arg(id).to_owned();
        let _: i64 = kill.query_async(conn).await.unwrap();
    }
    ids.len()
}
