//! How many Redis commands a call costs, those inside of scripts too: without any feature, and with
//! each one on. A feature that is off must not cost any.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use redcall_client::{Client, Durability, RequestBuilder};
use redcall_common::settings::{
    AuthKey, AuthSettings, HandlerSettings, JobSettings, Limit, Secret,
};
use redcall_testkit::{TestRedis, eventually};
use redcall_tests::{Bench, RunningWorker};
use redcall_worker::State;
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;

use crate::support::LIVE;

/// How many commands a call costs, made alone, and as one of 64 made at once. Lower a figure when a
/// change saves commands (the test prints what it counts: `cargo test -p redcall-tests costs --
/// --nocapture`). Raise one only with the reason in the commit, and in dev/bench/RESULTS.md.
const COSTS: &[(Feature, f64, f64)] = &[
    (Feature::Forget, 7.0, 0.4),
    (Feature::Wait, 11.0, 2.4),
    (Feature::Trace, 11.0, 2.4),
    (Feature::Retries, 11.0, 2.4),
    (Feature::Idempotency, 38.0, 22.7),
    (Feature::Signed, 24.0, 6.7),
    (Feature::StatusTracking, 38.0, 21.7),
    (Feature::Limits, 38.0, 11.3),
    (Feature::Unique, 19.0, 4.5),
    // 32 where the poll that promotes it takes it, too.
    (Feature::Delay, 39.0, 17.8),
    (Feature::Fsynced, 9.0, 0.4),
];

/// By how much a figure may be missed, since it depends a little on timing. Less than the one
/// command per call that must not go unnoticed.
const SLACK: f64 = 0.9;

/// Number of measurements of each.
const ROUNDS: usize = 9;

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// The features of a call, besides the plainest one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Feature {
    /// None: fire and forget.
    Forget,
    /// Waited for. So are all that follow, except those marked as fire and forget.
    Wait,
    /// An idempotency key of its own.
    Idempotency,
    /// A header with the trace that it belongs to.
    Trace,
    /// A mapping with retries; nothing fails.
    Retries,
    /// A signature.
    Signed,
    /// Its states are kept, and not read.
    StatusTracking,
    /// A mapping with a limit that is never reached.
    Limits,
    /// A mapping with a window in which the same data is not run twice; fire and forget.
    Unique,
    /// Delayed by 20 ms; fire and forget.
    Delay,
    /// Fire and forget, confirmed when it is on the disk.
    Fsynced,
}

impl Feature {
    fn is_waited(self) -> bool {
        matches!(
            self,
            Self::Wait
                | Self::Idempotency
                | Self::Trace
                | Self::Retries
                | Self::Limits
                | Self::Signed
                | Self::StatusTracking
        )
    }

    fn map(self, job: &mut JobSettings) {
        match self {
            Self::Retries => job.retries.max = 3,
            Self::Limits => {
                job.limit = Some(Limit { key: None, concurrency: Some(1000), rate: None });
            }
            Self::Unique => job.unique = Some(Duration::from_secs(60)),
            _ => {}
        }
    }

    fn request(self, client: &Client, number: usize) -> RequestBuilder {
        let request = client.request("work").data(&number);
        match self {
            Self::Idempotency => request.idempotency_key(&format!("order {number}")),
            Self::Delay => request.delay(Duration::from_millis(20)),
            Self::Fsynced => request.durability(Durability::Fsynced),
            Self::StatusTracking => request.track_status(Duration::from_secs(3600)),
            Self::Trace => request.header("traceparent", TRACE),
            _ => request,
        }
    }
}

#[derive(Clone, Default)]
struct Runs(Arc<AtomicUsize>);

async fn work(runs: State<Runs>) {
    runs.0.fetch_add(1, Ordering::SeqCst);
}

/// A worker that needs no heartbeat while it is measured, and a client.
struct Measured {
    // First, since it takes its leave of a server that still runs.
    _worker: RunningWorker,
    client: Client,
    conn: MultiplexedConnection,
    runs: Runs,
    called: usize,
    _bench: Bench,
}

impl Measured {
    async fn new(feature: Feature) -> Self {
        let aof = ["--appendonly", "yes", "--appendfsync", "always"];
        let mut bench = match feature {
            Feature::Fsynced => Bench::on(TestRedis::start_newer(aof).await),
            _ => Bench::new().await,
        };
        bench.settings.worker.lease = Duration::from_secs(3600);
        bench.settings.worker.queues = vec!["default".to_owned()];
        if feature == Feature::Signed {
            let secret = Secret::new("known only to callers and workers");
            let key = AuthKey { secret, jobs: vec!["*".to_owned()] };
            let (keys, sign_with) = ([("web".to_owned(), key)].into(), Some("web".to_owned()));
            bench.settings.auth = Some(AuthSettings { keys, sign_with, required: true });
        }
        let mut job = JobSettings::new(HandlerSettings::Compiled("work".to_owned()));
        feature.map(&mut job);
        bench.settings.jobs = [("work".to_owned(), job)].into();
        let runs = Runs::default();
        let state = runs.clone();
        let worker = bench.worker_with(|worker| worker.state(state).handler("work", work)).await;
        let (client, conn) = (bench.client().await, bench.redis.connection().await);
        Self { _worker: worker, client, conn, runs, called: 0, _bench: bench }
    }

    /// Makes `batch` calls at once, and returns when all of them are settled.
    async fn call(&mut self, feature: Feature, batch: usize) {
        let numbers = self.called..self.called + batch;
        self.called += batch;
        let requests = numbers.map(|number| feature.request(&self.client, number));
        let requests: Vec<RequestBuilder> = requests.collect();
        if feature.is_waited() {
            for answer in self.client.wait_many(requests).await {
                answer.unwrap();
            }
        } else {
            for receipt in self.client.call_many(requests).await {
                receipt.unwrap();
            }
        }
        eventually("every call to be settled", async || {
            let live: usize = self.conn.hlen(LIVE).await.unwrap();
            let runs = self.runs.0.load(Ordering::SeqCst);
            (live == 0 && runs == self.called).then_some(())
        })
        .await;
    }

    /// How often each command was carried out, without those of this test.
    async fn commands(&mut self) -> BTreeMap<String, u32> {
        let stats = redis::cmd("INFO").arg("commandstats").to_owned();
        let stats: String = stats.query_async(&mut self.conn).await.unwrap();
        let lines = stats.lines().filter_map(|line| {
            let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
            Some((name.to_owned(), rest.split(',').next()?.parse().ok()?))
        });
        lines.filter(|(name, _)| !["hlen", "info"].contains(&name.as_str())).collect()
    }

    /// How many commands a call costs, and which: the median of some rounds. How many polls a
    /// worker takes, and in which round its last one falls, is a matter of timing.
    async fn cost(&mut self, feature: Feature, batch: usize) -> (f64, String) {
        // The work that is done once: connections, scripts, the registry of queues.
        self.call(feature, batch).await;
        let mut rounds = Vec::new();
        let mut before = self.commands().await;
        for _ in 0..ROUNDS {
            self.call(feature, batch).await;
            let after = self.commands().await;
            let new = after.iter().map(|(name, count)| {
                let count = count - before.get(name).unwrap_or(&0);
                (name.clone(), f64::from(count) / f64::from(u32::try_from(batch).unwrap()))
            });
            let new: Vec<(String, f64)> = new.filter(|(_, count)| *count > 0.0).collect();
            rounds.push((new.iter().map(|(_, count)| count).sum::<f64>(), new));
            before = after;
        }
        rounds.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        let (cost, commands) = rounds.swap_remove(ROUNDS / 2);
        let shown = commands.iter().map(|(name, count)| format!("{name} {count:.2}"));
        (cost, shown.collect::<Vec<_>>().join(", "))
    }
}

#[tokio::test]
async fn call_costs_only_the_commands_of_enabled_features() {
    let mut over = Vec::new();
    for (feature, one, many) in COSTS {
        let mut measured = Measured::new(*feature).await;
        for (batch, max) in [(1, *one), (64, *many)] {
            let (cost, commands) = measured.cost(*feature, batch).await;
            println!("{feature:?} by {batch}: {cost:.2} of {max} ({commands})");
            if cost > max + SLACK {
                over.push(format!("{feature:?} by {batch}: {cost:.2}, not {max}: {commands}"));
            }
        }
    }
    assert!(over.is_empty(), "more commands per call than before:\n{}", over.join("\n"));
}
