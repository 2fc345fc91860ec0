//! False control messages: forged, or meant for another database of the same server. A worker reads
//! its own keys, and continues.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use redcall_client::{Cancellation, Client, Code, Ticket};
use redcall_testkit::eventually;
use redcall_tests::{Bench, RunningWorker};
use redcall_worker::{Json, Request, State};
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;

use super::{connection, keys};
use crate::support::{HOUR, carried_out};

/// How many runs have started, and how many may end.
#[derive(Default)]
struct Hold {
    started: AtomicUsize,
    open: tokio::sync::Notify,
}

/// Holds its job until it may end; how much of its time is left then, s.
async fn hold(request: Request, hold: State<Arc<Hold>>) -> Json<Option<u64>> {
    hold.started.fetch_add(1, Ordering::SeqCst);
    hold.open.notified().await;
    Json(request.remaining().map(|left| left.as_secs()))
}

/// A worker, a client, and a connection that forges messages.
struct Forged {
    _worker: RunningWorker,
    hold: Arc<Hold>,
    client: Client,
    conn: MultiplexedConnection,
    bench: Bench,
}

impl Forged {
    async fn start() -> Self {
        let mut bench = Bench::new().await;
        bench.settings.worker.queues = vec!["default".to_owned()];
        // No heartbeat finds the truth meanwhile.
        bench.settings.worker.lease = HOUR;
        let hold = Arc::<Hold>::default();
        let state = hold.clone();
        let build =
            |worker: redcall_worker::Worker| worker.state(state).handler("hold", self::hold);
        let worker = bench.worker_with(build).await;
        let (client, conn) = (bench.client().await, connection(&bench).await);
        Self { _worker: worker, hold, client, conn, bench }
    }

    /// A job that is held, and may take an hour.
    async fn job(&self, key: Option<&str>) -> Ticket {
        let before = self.hold.started.load(Ordering::SeqCst);
        let request = self.client.request("hold").timeout(HOUR);
        let request = match key {
            Some(key) => request.idempotency_key(key),
            None => request,
        };
        let ticket = request.submit().await.unwrap();
        eventually("the job to start", async || {
            (self.hold.started.load(Ordering::SeqCst) > before).then_some(())
        })
        .await;
        ticket
    }

    async fn send(&mut self, message: &str) {
        let publish = redis::cmd("SPUBLISH").arg(keys().control()).arg(message).to_owned();
        let receivers: usize = publish.query_async(&mut self.conn).await.unwrap();
        assert_eq!(receivers, 1, "{message}");
    }

    /// Returns when the worker has read all messages so far: a true one after them, of another
    /// job, has taken effect.
    async fn all_are_dealt_with(&self) {
        let job = self.job(None).await;
        // One that has just started may not be seen yet, but is cancelled all the same.
        let seen = self.client.cancel_in("default", &job.id).await.unwrap();
        assert!(matches!(seen, Cancellation::Running | Cancellation::Unseen), "{seen:?}");
        assert_eq!(job.wait().await.unwrap_err().code(), Code::Cancelled);
    }

    /// Lets the only job end that is held: it has most of its hour left.
    async fn ends_well(&self, job: Ticket) {
        self.hold.open.notify_one();
        let left: Option<u64> = job.wait().await.unwrap().json().unwrap();
        assert!((3000..=3600).contains(&left.unwrap()), "{left:?} s are left of an hour");
    }
}

#[tokio::test]
async fn forged_cancel_ends_no_job() {
    let mut forged = Forged::start().await;
    let job = forged.job(None).await;
    forged.send(&format!("cancel {}", job.id)).await;
    forged.all_are_dealt_with().await;
    forged.ends_well(job).await;
}

#[tokio::test]
async fn forged_deadline_moves_none() {
    let mut forged = Forged::start().await;
    for (key, at_ms) in [(None, 0), (None, 1), (Some("a"), 0), (Some("b"), 1)] {
        let job = forged.job(key).await;
        forged.send(&format!("extend {} {at_ms}", job.id)).await;
        forged.all_are_dealt_with().await;
        forged.ends_well(job).await;
    }
}

#[tokio::test]
async fn forged_pause_stops_no_queue_and_forged_resume_starts_none() {
    let mut forged = Forged::start().await;
    for _ in 0..20 {
        forged.send("pause").await;
        let answer = forged.client.request("echo").data(&1).wait().await.unwrap();
        assert_eq!(answer.data.get(), "1");
    }
    assert!(forged.client.pause("default").await.unwrap());
    forged.send("resume").await;
    let waits = forged.client.request("echo").data(&2).submit().await.unwrap();
    eventually("a blocked pop to have given it back", async || {
        let queued: usize = forged.conn.llen(keys().queue()).await.unwrap();
        (queued == 1).then_some(())
    })
    .await;
    forged.send("resume").await;
    assert!(forged.client.resume("default").await.unwrap());
    assert_eq!(waits.wait().await.unwrap().data.get(), "2");
}

#[tokio::test]
async fn messages_of_another_database_concern_no_job() {
    let forged = Forged::start().await;
    let job = forged.job(None).await;
    let mut settings = forged.bench.settings.clone();
    settings.redis.url.push_str("?db=1");
    let other = Client::from_settings(&settings).await.unwrap();
    let mut conn = forged.conn.clone();
    // There, a job of the same id runs.
    let mut put = redis::pipe();
    put.cmd("SELECT").arg(1).cmd("HSET").arg(keys().live()).arg(&job.id).arg("own");
    let () =
        put.cmd("SELECT").arg(0).query_async::<redis::Value>(&mut conn).await.map(drop).unwrap();
    assert_eq!(other.cancel_in("default", &job.id).await.unwrap(), Cancellation::Running);
    assert!(other.pause("default").await.unwrap());
    forged.all_are_dealt_with().await;
    forged.ends_well(job).await;
    assert_eq!(forged.client.request("echo").data(&1).wait().await.unwrap().data.get(), "1");
}

#[tokio::test]
async fn flood_of_forged_messages_becomes_no_flood_of_commands() {
    let mut forged = Forged::start().await;
    let job = forged.job(Some("a")).await;
    // Each message, and the command of the read that it causes.
    let kinds = [
        ("work".to_owned(), "evalsha"),
        ("due 1".to_owned(), "evalsha"),
        ("resume".to_owned(), "exists"),
        (format!("cancel {}", job.id), "zmscore"),
        (format!("extend {} 0", job.id), "hmget"),
    ];
    for (message, command) in kinds {
        let (before, since) = (carried_out(&mut forged.conn, command).await, Instant::now());
        // One by one, so that each could be acted on before the next one comes.
        for _ in 0..2000 {
            forged.send(&message).await;
        }
        forged.all_are_dealt_with().await;
        let commands = carried_out(&mut forged.conn, command).await - before;
        // A burst of a hundred, then one every 5 ms; and those of the job that comes after.
        let polls = 100 + u64::try_from(since.elapsed().as_millis()).unwrap() / 5;
        assert!(commands < polls + 100, "{message}: {commands} times {command}, {polls} polls");
    }
    forged.ends_well(job).await;
}
