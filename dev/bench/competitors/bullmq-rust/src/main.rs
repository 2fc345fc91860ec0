//! BullMQ in Rust: `about`, `worker`, or `call CALLERS WARM_UP_MS LASTS_MS`.
//!
//! Setting: as that of the adapter of BullMQ for Node, `../bullmq/adapter.cjs`: a concurrency of
//! 100, and the last 5,000 jobs kept.
//!
//! Waiting: the crate has no `wait_until_finished`. Its `QueueEvents` delivers all events of the
//! queue: <https://docs.rs/bullmq-official/1.4.4/bullmq/struct.QueueEvents.html>. One reader for
//! all callers passes each `completed` event to the caller of its job. A caller chooses the id of
//! its job, so that it can register before it adds the job.
//!
//! The stream of events keeps 100,000 instead of 10,000: thousands of callers would otherwise lose
//! events that are trimmed before they are read.

use std::collections::HashMap;
use std::error::Error;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bullmq::options::RedisConnectionOptions;
use bullmq::types::RemoveOnFinish;
use bullmq::worker::CancellationToken;
use bullmq::{
    Job, Queue, QueueEvent, QueueEvents, QueueEventsOptions, QueueOptions, Worker, WorkerOptions,
};
use redcall_bench_closed_loop::{Failure, Role};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::timeout;

const NAME: &str = "competitor-rust";
const CONCURRENCY: usize = 100;
const KEPT: usize = 5000;
const KEPT_EVENTS: usize = 100_000;
const LONGEST: Duration = Duration::from_secs(60);

#[derive(Serialize, Deserialize)]
struct Terms {
    a: i64,
    b: i64,
}

#[derive(Serialize, Deserialize)]
struct Sum {
    answer: i64,
}

/// The end of a job: the JSON that it returned, or why it failed.
type End = Result<String, String>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    match Role::from_args()? {
        Role::About => {
            println!("bullmq-official 1.4.4");
            println!("concurrency {CONCURRENCY}, the last {KEPT} jobs kept; QueueEvents");
            Ok(())
        }
        Role::Worker => work().await,
        Role::Caller(load) => load.run(Caller::connect().await?, call).await,
    }
}

fn connection() -> Result<RedisConnectionOptions, Failure> {
    Ok(RedisConnectionOptions::new().url(std::env::var("REDIS_URL")?))
}

async fn add(job: Job, _: CancellationToken) -> Result<Value, bullmq::Error> {
    let Terms { a, b } = serde_json::from_value(job.data().clone())?;
    Ok(serde_json::to_value(Sum { answer: a + b })?)
}

/// Sets the length of the stream of events, which the crate has no option for.
fn keep_events() -> Result<(), Failure> {
    let url = std::env::var("REDIS_URL")?;
    let mut stream = TcpStream::connect(url.trim_start_matches("redis://"))?;
    write!(stream, "HSET bull:{NAME}:meta opts.maxLenEvents {KEPT_EVENTS}\r\n")?;
    let mut reply = String::new();
    BufReader::new(stream).read_line(&mut reply)?;
    match reply.starts_with(':') {
        true => Ok(()),
        false => Err(reply.into()),
    }
}

async fn work() -> Result<(), Failure> {
    keep_events()?;
    let options = WorkerOptions::new()
        .connection(connection()?)
        .concurrency(CONCURRENCY)
        .remove_on_complete(RemoveOnFinish::Count(KEPT))
        .remove_on_fail(RemoveOnFinish::Count(KEPT));
    let worker = Worker::with_options(NAME, add, options).await?;
    // Its own events are kept until they are read.
    while worker.next_event().await.is_some() {}
    Ok(())
}

/// The queue, and the callers that wait for their jobs.
struct Caller {
    queue: Queue,
    waiting: Mutex<HashMap<String, oneshot::Sender<End>>>,
}

impl Caller {
    async fn connect() -> Result<Arc<Self>, Failure> {
        let queue = QueueOptions::new().connection(connection()?);
        let events = QueueEventsOptions {
            connection: connection()?,
            // From the first that is kept: those after the start of the reader would be too few,
            // because it starts in the background.
            last_event_id: Some("0".to_owned()),
            ..QueueEventsOptions::default()
        };
        let events = QueueEvents::with_options(NAME, events).await?;
        let queue = Queue::with_options(NAME, queue).await?;
        let caller = Arc::new(Self { queue, waiting: Mutex::default() });
        tokio::spawn(deliver(events, caller.clone()));
        Ok(caller)
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<String, oneshot::Sender<End>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Passes the end of each job to its caller.
async fn deliver(events: QueueEvents, caller: Arc<Caller>) {
    while let Some(entry) = events.next_event().await {
        let (id, end) = match entry.event {
            QueueEvent::Completed { job_id, return_value, .. } => (job_id, Ok(return_value)),
            QueueEvent::Failed { job_id, failed_reason, .. } => (job_id, Err(failed_reason)),
            QueueEvent::Error { message } => {
                eprintln!("reading events: {message}");
                continue;
            }
            _ => continue,
        };
        if let Some(waiting) = caller.waiting().remove(&id) {
            // A caller that has given up does not listen.
            let _ = waiting.send(end);
        }
    }
}

async fn call(caller: Arc<Caller>) -> Result<i64, Failure> {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let number = CALLS.fetch_add(1, Ordering::Relaxed);
    // A number alone is not a valid custom id.
    let id = format!("{}-{number}", std::process::id());
    let (sender, end) = oneshot::channel();
    caller.waiting().insert(id.clone(), sender);
    let added = caller.queue.add("add", Terms { a: 1, b: 2 }).job_id(&id);
    added
        .remove_on_complete(RemoveOnFinish::Count(KEPT))
        .remove_on_fail(RemoveOnFinish::Count(KEPT))
        .await?;
    let returned = timeout(LONGEST, end).await??.map_err(Box::<dyn Error + Send + Sync>::from)?;
    Ok(serde_json::from_str::<Sum>(&returned)?.answer)
}
