//! rq's side of the tests: its keys, with plain commands, and jobs as python-rpc makes them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use redcall_gateway::pickle::Writer;
use redcall_testkit::eventually;
use redcall_testkit::redis::aio::MultiplexedConnection;
use redcall_testkit::redis::{AsyncCommands as _, cmd};
use redcall_worker::{Json, Worker};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use crate::support::Stage;

/// A door that takes from three queues.
pub(crate) const DOOR: &str = "
[gateways.python-rpc]
protocol = \"rq\"
take = [\"high\", \"default\", \"low\"]
timeout = \"20s\"
";

/// rq's Redis, as its callers and workers use it.
pub(crate) struct RqRedis(pub(crate) MultiplexedConnection);

impl RqRedis {
    pub(crate) async fn of(stage: &Stage) -> Self {
        Self(stage.redis.connection().await)
    }

    /// Enqueues a job with these data, as rq does.
    pub(crate) async fn enqueue(&mut self, queue: &str, id: &str, data: &[u8]) {
        let (key, list) = (format!("rq:job:{id}"), format!("rq:queue:{queue}"));
        let fields: [(&str, &[u8]); 3] =
            [("data", data), ("status", b"queued"), ("origin", queue.as_bytes())];
        let mut pipe = redcall_testkit::redis::pipe();
        pipe.atomic().hset_multiple(key, &fields).rpush(list, id);
        pipe.exec_async(&mut self.0).await.unwrap();
    }

    /// Enqueues a call of `name` that waits; returns its response key.
    pub(crate) async fn call(&mut self, queue: &str, name: &str, data: &str) -> String {
        let key = uuid();
        self.enqueue(queue, &uuid(), &call(name, data, Some(&key))).await;
        key
    }

    /// Waits for an answer, as the caller does; returns its text.
    pub(crate) async fn answer_text(&mut self, response_key: &str) -> String {
        let popped: Option<(String, String)> =
            cmd("BLPOP").arg(response_key).arg(25).query_async(&mut self.0).await.unwrap();
        popped.unwrap_or_else(|| panic!("no answer to {response_key}")).1
    }

    /// Waits for an answer; returns its data.
    pub(crate) async fn answer(&mut self, response_key: &str) -> Value {
        let text = self.answer_text(response_key).await;
        serde_json::from_str::<Value>(&text).unwrap()["data"].take()
    }

    /// Waits until a job has this status.
    pub(crate) async fn ends(&mut self, id: &str, status: &str) {
        eventually(&format!("the job {id} to be {status}"), async || {
            (self.status(id).await.as_deref() == Some(status)).then_some(())
        })
        .await;
    }

    pub(crate) async fn status(&mut self, id: &str) -> Option<String> {
        self.0.hget(format!("rq:job:{id}"), "status").await.unwrap()
    }

    /// Returns the TTL of a key in seconds; -1 without one, -2 without the key.
    pub(crate) async fn ttl(&mut self, key: &str) -> i64 {
        self.0.ttl(key).await.unwrap()
    }

    /// Returns all keys that begin so.
    pub(crate) async fn keys(&mut self, beginning: &str) -> Vec<String> {
        self.0.keys(format!("{beginning}*")).await.unwrap()
    }

    /// Waits until no inbox holds a job.
    pub(crate) async fn inboxes_are_empty(&mut self) {
        eventually("the inboxes to be empty", async || {
            self.keys("redcall-gateway:rq:python-rpc:inbox:").await.is_empty().then_some(())
        })
        .await;
    }
}

/// Returns a new UUID, as python-rpc makes its ids.
pub(crate) fn uuid() -> String {
    let (a, b) = (fastrand::u64(..), fastrand::u64(..));
    let part = |number: u64, from: u32, digits: usize| {
        format!("{:0digits$x}", number >> from & ((1 << (4 * digits)) - 1))
    };
    [part(a, 32, 8), part(a, 16, 4), part(a, 0, 4), part(b, 48, 4), part(b, 0, 12)].join("-")
}

/// Returns the data of a job that calls `name`.
pub(crate) fn call(name: &str, data: &str, response_key: Option<&str>) -> Vec<u8> {
    let data = RawValue::from_string(data.to_owned()).unwrap();
    let mut writer = Writer::new();
    writer.mark().text("rpc.python_rq_backend.dispatch").unwrap().none().mark();
    writer.text(name).unwrap().dict().text("data").unwrap().json(&data).unwrap();
    writer.text("id").unwrap().text(&uuid()).unwrap().text("response_key").unwrap();
    match response_key {
        Some(key) => writer.text(key).unwrap(),
        None => writer.none(),
    };
    writer.end_dict().tuple().dict().end_dict().tuple();
    writer.finish()
}

/// A job that runs until the test lets it end.
pub(crate) struct Gate {
    /// Its runs so far.
    pub(crate) runs: Arc<AtomicUsize>,
    /// Receives the data of each run.
    pub(crate) started: mpsc::UnboundedReceiver<String>,
    /// Each permit ends a run.
    pub(crate) ends: Arc<tokio::sync::Semaphore>,
}

impl Gate {
    /// Adds the job `gate`, which answers its data once there is a permit.
    pub(crate) fn add(worker: Worker) -> (Worker, Self) {
        let (started, starts) = mpsc::unbounded_channel();
        let (runs, ends) =
            (Arc::new(AtomicUsize::new(0)), Arc::new(tokio::sync::Semaphore::new(0)));
        let gate = Self { runs: runs.clone(), started: starts, ends: ends.clone() };
        let handler = move |Json(data): Json<Box<RawValue>>| {
            let (runs, ends, started) = (runs.clone(), ends.clone(), started.clone());
            async move {
                runs.fetch_add(1, Ordering::SeqCst);
                let _ = started.send(data.get().to_owned());
                ends.acquire().await.unwrap().forget();
                Json(data)
            }
        };
        (worker.handler("gate", handler), gate)
    }

    /// Lets one run end.
    pub(crate) fn end_one(&self) {
        self.ends.add_permits(1);
    }

    pub(crate) fn runs(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }
}

/// Starts the worker of a stage with the job `gate`.
pub(crate) async fn gated(stage: &Stage) -> (crate::support::RunningWorker, Gate) {
    stage.worker_with(stage.settings(""), Gate::add).await
}
