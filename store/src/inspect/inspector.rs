//! Inspection of queues and workers, for operators: plain commands over a shared
//! connection.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use redis::aio::MultiplexedConnection;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::connection::{Connector, Peer};
use crate::driver::OrStore;
use crate::error::StoreError;
use crate::ops::reply::millis;
use crate::ops::worker::upkeep::times::LONGEST_LEASE;
use redcall_common::keys::{Keys, QueueKeys};

/// Inspection commands over one shared connection. Cheap to clone; connects at the first command.
#[derive(Clone)]
pub struct Inspector {
    connector: Connector,
    pub(crate) keys: Keys,
    /// The connection to the current primary. Locked while it is checked, so that concurrent
    /// commands open no second one.
    conn: Arc<Mutex<Option<(MultiplexedConnection, Peer)>>>,
}

/// The current state of one queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QueueInfo {
    /// Its name.
    pub queue: String,
    /// Number of requests that wait.
    pub length: u64,
    /// Number of leased requests, and of those in lane inboxes.
    pub running: u64,
    /// Number of dead letters.
    pub dead: u64,
    /// Number of job names with parked requests.
    pub parked: u64,
    /// Number of live workers.
    pub workers: u64,
    /// The minimum age of the oldest request, ms: of the one at the head, or of the one at the tail
    /// if only that one has a time. `None` if the queue is empty, or neither has one.
    pub oldest_ms: Option<u64>,
    /// `true` if the queue is paused: leased jobs continue, no job starts.
    pub paused: bool,
    /// Number of deferred requests, which no worker holds.
    pub deferred: u64,
    /// Number of scheduled requests that are not due.
    pub scheduled: u64,
    /// Number of parked requests: no live worker handles their names yet.
    pub parked_requests: u64,
    /// Number of requests that wait for their job's limit.
    pub limited: u64,
}

impl QueueInfo {
    /// Returns how many requests count towards the queue's `max_length`: all that no worker holds.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.length + self.scheduled + self.parked_requests + self.limited + self.deferred
    }

    /// Returns `true` if requests wait at the head and none has its enqueue time.
    #[must_use]
    pub fn has_unknown_age(&self) -> bool {
        self.length > 0 && self.oldest_ms.is_none()
    }
}

/// One worker, as its last heartbeat reported it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerInfo {
    /// Its id, new at every start.
    pub id: String,
    /// Its name (`--name`, else the host's).
    pub name: String,
    /// The host it runs on.
    pub host: String,
    /// Its process id there.
    pub pid: u32,
    /// Its version of Redcall.
    pub version: String,
    /// Unix time of its start, ms.
    pub started_at: u64,
    /// `running` or `draining`.
    pub state: String,
    /// Its queues, in priority order.
    pub queues: Vec<String>,
    /// The job names that it handles.
    pub jobs: Vec<String>,
    /// The number of jobs that it runs at once.
    pub concurrency: usize,
    /// The number of jobs that run now.
    pub running: usize,
    /// Jobs that were answered `timeout` and still occupy capacity.
    pub overdue: Vec<Overdue>,
    /// Its lease, ms.
    pub lease_ms: u64,
}

/// A job that ignores its timeout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overdue {
    /// The request's id.
    pub id: String,
    /// The job's name.
    pub name: String,
    /// Its run time so far, ms.
    pub running_ms: u64,
}

impl Inspector {
    /// Creates an inspector for the address of `connector`.
    #[must_use]
    pub fn new(connector: &Connector, keys: Keys) -> Self {
        Self { connector: connector.clone(), keys, conn: Arc::default() }
    }

    /// Returns a connection that answers, within the time limit of a reply.
    pub(crate) async fn connection(&self) -> Result<MultiplexedConnection, StoreError> {
        let getting = async {
            let mut slot = self.conn.lock().await;
            // Taken out until it has answered: a silent one is dropped with this future.
            let (conn, peer) = match self.checked(slot.take()).await {
                Some(kept) => kept,
                None => self.connector.open().await?,
            };
            *slot = Some((conn.clone(), peer));
            Ok(conn)
        };
        let got = timeout(self.connector.response_timeout(), getting).await;
        got.unwrap_or_else(|_| Err(self.connector.unreachable(None)))
    }

    /// Returns the connection if it is to the current primary and answers.
    async fn checked(
        &self,
        kept: Option<(MultiplexedConnection, Peer)>,
    ) -> Option<(MultiplexedConnection, Peer)> {
        let (mut conn, peer) = kept?;
        if self.connector.moved(&peer).now_or_never().is_some() {
            return None;
        }
        redis::cmd("PING").exec_async(&mut conn).await.ok()?;
        Some((conn, peer))
    }

    /// Returns the names of all queues that Redcall's programs have noted, sorted.
    /// [`Inspector::listing`] and [`Inspector::other_queue_names`] also find queues to which only
    /// other programs push.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached or refuses.
    pub async fn queue_names(&self) -> Result<Vec<String>, StoreError> {
        let mut conn = self.connection().await?;
        let names = redis::cmd("ZRANGE").arg(self.keys.queues()).arg(0).arg(-1).to_owned();
        let mut names: Vec<String> = names.query_async(&mut conn).await.or_store()?;
        names.sort_unstable();
        Ok(names)
    }

    /// Returns all queues that Redcall's programs have noted, sorted by name.
    /// [`Inspector::listing`] also finds queues to which only other programs push, and skips
    /// unreadable ones.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached or refuses.
    pub async fn queues(&self) -> Result<Vec<QueueInfo>, StoreError> {
        let names = self.queue_names().await?;
        let mut conn = self.connection().await?;
        let mut queues = Vec::with_capacity(names.len());
        for queue in names {
            let keys = self.keys.of(&queue);
            queues.push(read_queue(&mut conn, &keys).await?);
        }
        Ok(queues)
    }

    /// Returns one queue, in use or not.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached or refuses.
    pub async fn queue(&self, name: &str) -> Result<QueueInfo, StoreError> {
        let mut conn = self.connection().await?;
        read_queue(&mut conn, &self.keys.of(name)).await
    }

    /// Returns all live workers, by name and id.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached or refuses.
    pub async fn workers(&self) -> Result<Vec<WorkerInfo>, StoreError> {
        let names = self.queue_names().await?;
        let mut conn = self.connection().await?;
        let mut found = BTreeMap::new();
        for queue in names {
            for worker in alive(&mut conn, &self.keys.of(&queue)).await? {
                let info = worker.info.and_then(|raw| serde_json::from_slice(&raw).ok());
                if let Some(info) = info {
                    let info: WorkerInfo = info;
                    found.insert((info.name.clone(), worker.id), info);
                }
            }
        }
        Ok(found.into_values().collect())
    }
}

/// A worker whose lease has not ended.
struct Alive {
    id: String,
    info: Option<Vec<u8>>,
}

/// Returns the live workers of a queue. A lease that ends later than the worker's settings allow
/// was written while Redis's clock was ahead, so it is skipped: a live worker renews it.
async fn alive(
    conn: &mut MultiplexedConnection,
    keys: &QueueKeys,
) -> Result<Vec<Alive>, StoreError> {
    let mut pipe = redis::pipe();
    pipe.cmd("TIME");
    pipe.cmd("ZRANGE").arg(keys.workers()).arg(0).arg(-1).arg("WITHSCORES");
    let (time, ends): ((u64, u64), Vec<(String, f64)>) = pipe.query_async(conn).await.or_store()?;
    let now = millis(time) as f64;
    let ends: Vec<_> = ends.into_iter().filter(|(_, ends)| *ends > now).collect();
    if ends.is_empty() {
        return Ok(Vec::new());
    }
    let mut pipe = redis::pipe();
    for (id, _) in &ends {
        pipe.cmd("GET").arg(keys.worker(id));
    }
    let infos: Vec<Option<Vec<u8>>> = pipe.query_async(conn).await.or_store()?;
    let alive = ends.into_iter().zip(infos).filter_map(|((id, ends), info)| {
        (ends <= now + max_ahead_ms(info.as_deref())).then_some(Alive { id, info })
    });
    Ok(alive.collect())
}

/// Returns how far ahead a worker's lease may end, ms: twice its reported lease, as in `times.lua`,
/// or the longest lease if it reports none.
fn max_ahead_ms(info: Option<&[u8]>) -> f64 {
    #[derive(Deserialize)]
    struct LeaseField {
        lease_ms: u64,
    }
    let known = info.and_then(|raw| serde_json::from_slice::<LeaseField>(raw).ok());
    let max = known.map_or(LONGEST_LEASE, |known| 2 * Duration::from_millis(known.lease_ms));
    max.as_secs_f64() * 1000.0
}

pub(crate) async fn read_queue(
    conn: &mut MultiplexedConnection,
    keys: &QueueKeys,
) -> Result<QueueInfo, StoreError> {
    let mut pipe = redis::pipe();
    pipe.cmd("TIME").cmd("LLEN").arg(keys.queue()).cmd("HLEN").arg(keys.live());
    pipe.cmd("XLEN").arg(keys.dead()).cmd("SMEMBERS").arg(keys.parked_names());
    pipe.cmd("LINDEX").arg(keys.queue()).arg(0).cmd("LINDEX").arg(keys.queue()).arg(-1);
    pipe.cmd("EXISTS").arg(keys.paused()).cmd("ZCARD").arg(keys.schedule());
    pipe.cmd("HVALS").arg(keys.limited_names()).cmd("ZCARD").arg(keys.deferred_ids());
    type Head = Option<Vec<u8>>;
    type Raw = ((u64, u64), u64, u64, u64, Vec<String>, Head, Head, bool, u64, Vec<u64>, u64);
    let raw: Raw = pipe.query_async(conn).await.or_store()?;
    let (time, length, live, dead, parked, head, tail, paused, scheduled, limited, deferred) = raw;
    let now = millis(time);
    let since = [head, tail].into_iter().flatten().find_map(|raw| enqueued_at(&raw));
    Ok(QueueInfo {
        queue: keys.name().to_owned(),
        length,
        running: live.saturating_sub(deferred) + young_requests(conn, keys).await?,
        dead,
        parked: parked.len() as u64,
        workers: alive(conn, keys).await?.len() as u64,
        oldest_ms: since.map(|since| now.saturating_sub(since)),
        paused,
        deferred,
        scheduled,
        parked_requests: parked_requests(conn, keys, &parked).await?,
        limited: limited.iter().sum(),
    })
}

/// Counts the requests in lane inboxes.
async fn young_requests(
    conn: &mut MultiplexedConnection,
    keys: &QueueKeys,
) -> Result<u64, StoreError> {
    let call = redis::cmd("ZRANGE").arg(keys.lanes()).arg(0).arg(-1).to_owned();
    let workers: Vec<String> = call.query_async(conn).await.or_store()?;
    if workers.is_empty() {
        return Ok(0);
    }
    let mut pipe = redis::pipe();
    for worker in &workers {
        for number in 0..2 {
            pipe.cmd("LLEN").arg(keys.lane_inbox(worker, number));
        }
    }
    let lengths: Vec<u64> = pipe.query_async(conn).await.or_store()?;
    Ok(lengths.iter().sum())
}

/// Counts the parked requests of these `names`.
async fn parked_requests(
    conn: &mut MultiplexedConnection,
    keys: &QueueKeys,
    names: &[String],
) -> Result<u64, StoreError> {
    if names.is_empty() {
        return Ok(0);
    }
    let mut pipe = redis::pipe();
    for name in names {
        pipe.cmd("LLEN").arg(keys.parked(name));
    }
    let lengths: Vec<u64> = pipe.query_async(conn).await.or_store()?;
    Ok(lengths.iter().sum())
}

fn enqueued_at(raw: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Stamped {
        enqueued_at: u64,
    }
    serde_json::from_slice::<Stamped>(raw).ok().map(|stamped| stamped.enqueued_at)
}
