//! A job's whole life, from its enqueue to its end.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

mod cancels;
mod deferred;
mod delays;
mod drains;
mod idempotency;
mod limits;
mod messages;
mod pauses;
mod restarts;
mod retries;
mod takeover;
mod tokens;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use redcall_common::keys::{Keys, QueueKeys};
use redcall_common::settings::JobSettings;
use redcall_store::{
    Connection, Connector, LimitRule, PollOps as _, QueuePoll, Session as _, WorkerKeys,
};
use redcall_testkit::eventually;
use redcall_tests::Bench;
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use serde_json::Value;

use crate::support::{DEAD, TIMEOUT};

/// The settings of a job that the tests run.
fn job<'a>(bench: &'a mut Bench, name: &str) -> &'a mut JobSettings {
    use redcall_common::settings::HandlerSettings;
    let settings = JobSettings::new(HandlerSettings::Compiled(name.to_owned()));
    bench.settings.jobs.entry(name.to_owned()).or_insert(settings)
}

/// The keys of the default queue.
pub(crate) fn keys() -> QueueKeys {
    Keys::new("redcall").of("default")
}

/// A plain connection of the test's own.
pub(crate) async fn connection(bench: &Bench) -> MultiplexedConnection {
    bench.redis.connection().await
}

/// A worker that leases the head of the default queue and dies: only its lease remains, which has
/// ended. Returns the number of its requests.
async fn dies(bench: &Bench, name: &str, count: usize) -> usize {
    dies_with(bench, name, count, &[]).await
}

/// The same for a worker that knows limits.
async fn dies_with(bench: &Bench, name: &str, count: usize, rules: &[LimitRule]) -> usize {
    let connector = Connector::new(&bench.redis.settings(), "dying").unwrap();
    let link = Connection::connect(connector, Arc::new(|_, _| {})).await.unwrap();
    let own = WorkerKeys::new(keys(), name, 100, Duration::from_secs(3600));
    let mut conn = connection(bench).await;
    let () = conn.zadd(keys().workers(), name, crate::support::in_an_hour()).await.unwrap();
    let poll = QueuePoll { rules, ..QueuePoll::take(&own, count) };
    let replies = link.poll(&[poll], TIMEOUT).await.unwrap();
    let () = conn.zadd(keys().workers(), name, link.now_ms() as f64 - 1.0).await.unwrap();
    replies[0].as_ref().unwrap().leased.len()
}

/// A long-running handler. No test waits for its end.
pub(crate) async fn works(time: Duration) {
    let _ = tokio::time::timeout(time, std::future::pending::<()>()).await;
}

/// The only dead letter, as soon as there is one: its fields.
pub(crate) async fn dead_letter(conn: &mut MultiplexedConnection) -> HashMap<String, String> {
    type Entry = (String, HashMap<String, String>);
    let mut entries: Vec<Entry> = eventually("a dead letter", async || {
        let range = redis::cmd("XRANGE").arg(DEAD).arg("-").arg("+").to_owned();
        let entries: Vec<Entry> = range.query_async(conn).await.unwrap();
        (!entries.is_empty()).then_some(entries)
    })
    .await;
    assert_eq!(entries.len(), 1, "{entries:?}");
    entries.remove(0).1
}

/// The history of a dead letter: attempt and code of each run.
fn runs(letter: &HashMap<String, String>) -> Vec<(u64, String)> {
    let history: Vec<Value> = serde_json::from_str(&letter["history"]).unwrap();
    let run = |run: Value| (run["attempt"].as_u64().unwrap(), run["code"].as_str().unwrap().into());
    history.into_iter().map(run).collect()
}

/// Waits until all keys of requests are gone.
pub(crate) async fn nothing_is_left(conn: &mut MultiplexedConnection) {
    let keys = keys();
    let gone = [keys.attempts(), keys.schedule(), keys.scheduled(), keys.live(), keys.permits()];
    eventually("nothing to lie next to requests", async || {
        let left: usize = conn.exists(&gone).await.unwrap();
        (left == 0).then_some(())
    })
    .await;
}
