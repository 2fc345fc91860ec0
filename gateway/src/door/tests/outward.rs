//! Jobs that the foreign side runs.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use redcall_client::{CallError, Code, Update};
use redcall_testkit::eventually;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{Opened, open_as};
use crate::door::{Failure, ForeignJob, Peer};

const TIMEOUT: Duration = Duration::from_secs(10);

/// Acts on the data of each job.
struct Actor {
    /// Receives the word `dropped` when a job is abandoned.
    dropped: mpsc::UnboundedSender<&'static str>,
}

/// Sends a word when it is dropped.
struct Watched(mpsc::UnboundedSender<&'static str>);

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = self.0.send("dropped");
    }
}

impl Peer for Actor {
    fn run(&self, job: ForeignJob) -> BoxFuture<'static, Result<Box<RawValue>, Failure>> {
        let watched = Watched(self.dropped.clone());
        Box::pin(async move {
            let data: String = serde_json::from_str(job.data().get()).unwrap();
            match data.as_str() {
                "fail" => {
                    let failure = Failure::new(Code::UnknownJob, "the peer does not know it");
                    Err(failure.with_data(r#"{"code":-32601}"#.to_owned()))
                }
                "progress" => {
                    job.progress(&to_raw_value(&json!({"percent": 50})).unwrap()).await;
                    Ok(RawValue::NULL.to_owned())
                }
                "hang" => {
                    let _watched = watched;
                    std::future::pending().await
                }
                _ => {
                    let left = job.left() <= Duration::from_secs(3);
                    let state = json!({"name": job.name(), "id": job.id(), "short": left,
                        "header": job.headers().get("sid")});
                    Ok(to_raw_value(&state).unwrap())
                }
            }
        })
    }
}

/// A door that runs its jobs.
struct Running {
    opened: Opened,
    /// Ends [`Running::worker`].
    end: oneshot::Sender<()>,
    /// Completes when the worker has left its queues.
    worker: JoinHandle<()>,
    drops: mpsc::UnboundedReceiver<&'static str>,
}

/// Opens a door that serves `out` for 3 s, and runs its jobs.
async fn running() -> Running {
    let keys = "protocol = 'pm'\nlisten = '127.0.0.1:0'\nserves = ['out']\nqueues = ['foreign']";
    let client = "[client]\nno_workers_grace = '0s'";
    let opened = open_as(&format!("{client}\n[gateways.g]\n{keys}\ntimeout = '3s'")).await;
    let (dropped, drops) = mpsc::unbounded_channel();
    let (end, ended) = oneshot::channel::<()>();
    let door = opened.door.clone();
    let worker = tokio::spawn(async move {
        let until = async {
            let _ = ended.await;
        };
        door.run_jobs(Arc::new(Actor { dropped }), until).await.unwrap();
    });
    let client = opened.door.client().clone();
    let ready = async || {
        let request = client.request("out").queue("foreign").data("warm up");
        request.wait().await.ok()
    };
    eventually("the door's worker", ready).await;
    Running { opened, end, worker, drops }
}

async fn call(opened: &Opened, data: &str) -> Result<Value, CallError> {
    let request = opened.door.client().request("out").queue("foreign").data(data);
    request.header("sid", "s").timeout(TIMEOUT).wait().await?.json()
}

#[tokio::test]
async fn foreign_side_gets_the_job_and_answers_it() {
    let Running { opened, end: _end, .. } = running().await;
    let answer = call(&opened, "tell").await.unwrap();
    assert_eq!((&answer["name"], &answer["header"]), (&json!("out"), &json!("s")));
    assert_eq!(answer["short"], true, "the door's timeout bounds the caller's");
    assert!(answer["id"].is_string());

    let CallError::Failed(error) = call(&opened, "fail").await.unwrap_err() else { panic!() };
    assert_eq!((error.code, &*error.message), (Code::UnknownJob, "the peer does not know it"));
    assert_eq!(error.data.as_deref().map(RawValue::get), Some(r#"{"code":-32601}"#));

    let request = opened.door.client().request("out").queue("foreign").data("progress");
    let mut stream = request.stream().await.unwrap();
    let Some(Ok(Update::Progress(data))) = stream.next().await else { panic!() };
    assert_eq!(data.get(), r#"{"percent":50}"#);
}

#[tokio::test]
async fn foreign_side_that_does_not_answer_ends_with_deadline_exceeded() {
    let Running { opened, end: _end, mut drops, .. } = running().await;
    let CallError::Failed(error) = call(&opened, "hang").await.unwrap_err() else { panic!() };
    assert_eq!(error.code, Code::DeadlineExceeded);
    assert_eq!(timeout(TIMEOUT, drops.recv()).await.unwrap(), Some("dropped"));
}

#[tokio::test]
async fn cancelled_job_is_abandoned_at_once() {
    let Running { opened, end: _end, mut drops, .. } = running().await;
    let request = opened.door.client().request("out").queue("foreign").data("hang");
    let ticket = request.submit().await.unwrap();
    let started = async || {
        let workers = opened.door.client().inspect().queue("foreign").await.ok()?;
        (workers.length == 0).then_some(())
    };
    eventually("the job to be leased", started).await;
    ticket.cancel().await.unwrap();
    // Before the door's 3 s.
    let dropped = timeout(Duration::from_millis(2500), drops.recv()).await;
    assert_eq!(dropped.unwrap(), Some("dropped"));
}

#[tokio::test]
async fn without_a_link_no_worker_listens_on_the_queues() {
    let Running { opened, end, worker, .. } = running().await;
    end.send(()).unwrap();
    worker.await.unwrap();
    assert_eq!(call(&opened, "tell").await.unwrap_err().code(), Code::NoWorkers);
}
