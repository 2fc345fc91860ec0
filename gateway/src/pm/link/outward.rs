//! Jobs that the peer runs: a worker that leases them while the link lives.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, pending};
use redcall_client::Code;
use redcall_common::backoff::Backoff;
use serde_json::value::RawValue;
use tokio::time::{sleep, timeout};

use super::peer::Link;
use super::{Role, answers};
use crate::door::{Failure, ForeignJob, Peer};
use crate::pm::errors::from_peer;

/// How long a connection without a message must last before jobs are leased for it. A server that
/// has an application accepts the next one and closes it; so does a program that only checks
/// whether the port is open. Jobs that were sent to them would be lost.
const SETTLED: Duration = Duration::from_millis(300);
/// How long the jobs of an ended link may take to be settled; the others then return to Redis.
const LAST_SETTLING: Duration = Duration::from_millis(500);
/// Pauses between attempts to start the worker, which needs Redis.
const RESTARTS: Backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(5));

/// Leases jobs for the peer until the link ends or the door drains.
pub(super) async fn run_jobs(link: Arc<Link>) {
    let door = link.door.clone();
    if door.settings().outward.serves.is_empty() {
        return;
    }
    tokio::select! {
        biased;
        () = link.gone.cancelled() => return,
        () = link.first_message.cancelled() => {}
        () = sleep(SETTLED) => {}
    }
    let mut pause = RESTARTS.first();
    while !link.gone.is_cancelled() && !door.is_draining() {
        let peer = Arc::new(Jobs(link.clone()));
        // Dropping the worker returns its jobs.
        let late = async {
            link.gone.cancelled().await;
            sleep(LAST_SETTLING).await;
        };
        let ended = tokio::select! {
            ended = door.run_jobs(peer, link.gone.cancelled()) => ended,
            () = late => return,
        };
        match ended {
            Ok(()) => return,
            Err(error) => {
                tracing::warn!(gateway = door.name(), %error, "cannot lease jobs for the peer");
                // Completes early at the end of the link, which ends the loop.
                let _ = timeout(pause, link.gone.cancelled()).await;
                pause = RESTARTS.following(pause);
            }
        }
    }
}

/// The peer, as the worker's handler.
struct Jobs(Arc<Link>);

impl Peer for Jobs {
    fn run(&self, job: ForeignJob) -> BoxFuture<'static, Result<Box<RawValue>, Failure>> {
        let link = self.0.clone();
        Box::pin(async move { send_request(&link, &job).await })
    }
}

/// Sends a job to the peer, and waits for its answer.
async fn send_request(link: &Link, job: &ForeignJob) -> Result<Box<RawValue>, Failure> {
    let data = job.data();
    // The library of the peers does not answer other requests.
    if let Some(wanted) = unfit(link.role, data) {
        let message = format!("the data must be {wanted}: they are JSON-RPC params");
        return Err(Failure::new(Code::InvalidData, message));
    }
    let sid = job.headers().get("sid").cloned();
    let sid = sid.unwrap_or_else(|| link.session_for(job.id()));
    let Some(mut waiting) = link.open.send_request(job.name(), &sid) else {
        return returned().await;
    };
    let frame = link.writer.request(waiting.id, job.name(), &sid, data);
    if !link.outgoing.send(frame).await {
        return returned().await;
    }
    loop {
        tokio::select! {
            // Progress came before the answer.
            biased;
            Some(progress) = waiting.progress.recv() => {
                job.progress(&answers::from_peer(&progress)).await;
            }
            answer = &mut waiting.answer => return match answer {
                Ok(answer) => answer.map_err(from_peer),
                Err(_) if reruns(link, job.name()) => returned().await,
                Err(_) => Err(lost()),
            },
        }
    }
}

/// Returns what the data must be, if they are not params for a peer. An application takes members
/// by name.
fn unfit(role: Role, data: &RawValue) -> Option<&'static str> {
    let data = data.get();
    let is_list = data.starts_with('[');
    let is_empty = is_list && data[1..].trim_start().starts_with(']');
    let is_fit = data.starts_with('{') || data == "null" || is_empty;
    match role {
        Role::Server => (!is_fit).then_some("an object, an empty list or null"),
        Role::Application => (!is_fit && !is_list).then_some("an object, a list or null"),
    }
}

/// Returns `true` if the settings give the job of a lost application to the next one.
fn reruns(link: &Link, job: &str) -> bool {
    link.door.all_settings().jobs.get(job).is_some_and(|rules| rules.rerun_named)
}

/// A job that returns to its queue, with the end of the link's worker.
async fn returned() -> Result<Box<RawValue>, Failure> {
    pending().await
}

fn lost() -> Failure {
    Failure::new(
        Code::Unavailable,
        "the connection to the application ended; it may have run the job",
    )
}
