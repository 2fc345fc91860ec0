//! apalis with Redis: `about`, `worker`, or `call CALLERS WARM_UP_MS LASTS_MS`.
//!
//! Setting: batches of 100 instead of 10 (larger ones are said to raise throughput), no leases and
//! no events, which tasks shorter than a heartbeat do not need:
//! <https://docs.rs/apalis-redis/1.0.0/apalis_redis/struct.Config.html>; each task in a tokio task,
//! up to 1,000 at once: <https://docs.rs/apalis/1.0.0/apalis/>. Each push is scheduled for now and
//! not announced, so the worker has to poll: every ms, in place of a second in the crate's own
//! example.
//!
//! Waiting: it has `wait_for`, which polls every 100 ms. Callers here use its building block,
//! `check_status`, every ms.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use apalis::prelude::*;
use apalis_redis::{Config, RedisStorage};
use futures_util::Stream;
use futures_util::task::AtomicWaker;
use redcall_bench_closed_loop::{Failure, Role};
use serde::{Deserialize, Serialize};
use tokio::time::{interval, sleep};

const BATCH: usize = 100;
const CONCURRENCY: usize = 1000;
const PERIOD: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(60);

#[derive(Clone, Serialize, Deserialize)]
struct Terms {
    a: i64,
    b: i64,
}

#[derive(Serialize, Deserialize)]
struct Sum {
    answer: i64,
}

type Storage = RedisStorage<Terms>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    match Role::from_args()? {
        Role::About => {
            println!("apalis 1.0.0, apalis-redis 1.0.0");
            println!("batches of {BATCH}, concurrency {CONCURRENCY}; both ends poll every ms");
            Ok(())
        }
        Role::Worker => work(connect().await?).await,
        Role::Caller(load) => load.run(connect().await?, call).await,
    }
}

async fn connect() -> Result<Storage, Failure> {
    let connection = apalis_redis::connect(std::env::var("REDIS_URL")?).await?;
    let config = Config::default().queue("competitor").batch_size(BATCH);
    Ok(RedisStorage::new(connection).with_config(config.lock_tasks(false).emit_events(false)))
}

async fn add(Terms { a, b }: Terms) -> Result<Sum, BoxDynError> {
    Ok(Sum { answer: a + b })
}

/// Wakes the worker again and again. A stream that is ready, as of an interval, is not enough: the
/// driver polls it once, and after it was ready nothing wakes the worker.
struct Ticks(Arc<AtomicWaker>);

impl Ticks {
    fn start() -> Self {
        let waker = Arc::new(AtomicWaker::new());
        let woken = waker.clone();
        tokio::spawn(async move {
            let mut polls = interval(PERIOD);
            loop {
                polls.tick().await;
                woken.wake();
            }
        });
        Self(waker)
    }
}

impl Stream for Ticks {
    type Item = ();

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<()>> {
        self.0.register(context.waker());
        Poll::Pending
    }
}

async fn work(storage: Storage) -> Result<(), Failure> {
    // A unique name: an earlier holder may be dead before Redis knows it.
    WorkerBuilder::new(format!("competitor-{}", std::process::id()))
        .backend(storage.poll_with_stream(Ticks::start()))
        .concurrency(CONCURRENCY)
        .parallelize(tokio::spawn)
        .build(add)
        .run()
        .await?;
    Ok(())
}

async fn call(mut storage: Storage) -> Result<i64, Failure> {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let number = CALLS.fetch_add(1, Ordering::Relaxed);
    let id = TaskId::from_string(format!("{}-{number}", std::process::id()));
    let task = TaskBuilder::new(Terms { a: 1, b: 2 }).task_id(id.clone()).build();
    storage.push_task(task).await?;
    let pushed = Instant::now();
    while pushed.elapsed() < LONGEST {
        let ended: Vec<TaskResult<Sum>> = storage.check_status([id.clone()]).await?;
        if let Some(ended) = ended.into_iter().next() {
            return Ok(ended.take()?.answer);
        }
        sleep(PERIOD).await;
    }
    Err("no answer within a minute".into())
}
