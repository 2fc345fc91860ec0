//! Calls of the peer: requests, each in a task of its own, and notifications, one after the other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redcall_client::{Code, RequestBuilder, Response, Update};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::answers;
use super::peer::Link;
use crate::door::Failure;
use crate::pm::errors::to_peer;
use crate::pm::wire::{Call, Id};

/// The notification by which both sides report progress.
const PROGRESS: &str = "progress_change";

/// How much longer than the door's `timeout` the gateway waits for the client's own error.
const SLACK: Duration = Duration::from_millis(500);

/// The running calls of the peer, to be cancelled by others.
#[derive(Debug, Default)]
pub(super) struct Calls(Mutex<Running>);

#[derive(Debug, Default)]
struct Running {
    calls: HashMap<u64, (String, Option<String>, CancellationToken)>,
    last: u64,
}

impl Calls {
    /// Enters a call until the result is dropped.
    fn begin(link: &Arc<Link>, call: &Call) -> Begun {
        let cancelled = CancellationToken::new();
        let mut running = link.calls.lock();
        running.last += 1;
        let number = running.last;
        let entry = (call.method.clone(), call.sid.clone(), cancelled.clone());
        running.calls.insert(number, entry);
        drop(running);
        Begun { link: link.clone(), number, cancelled }
    }

    /// Cancels the running calls of `method` in session `sid`.
    fn cancel(&self, method: &str, sid: Option<&str>) {
        for (name, session, cancelled) in self.lock().calls.values() {
            if name == method && session.as_deref() == sid {
                cancelled.cancel();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Running> {
        // No code that holds the lock panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running call.
struct Begun {
    link: Arc<Link>,
    number: u64,
    cancelled: CancellationToken,
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.link.calls.lock().calls.remove(&self.number);
    }
}

/// Begins a request, or answers that there are too many.
pub(super) async fn request(link: &Arc<Link>, (id, call): (Id, Call), tasks: &mut JoinSet<()>) {
    cancel_others(link, &call);
    let Ok(permit) = link.permits.clone().try_acquire_owned() else {
        link.door.metrics().refused("concurrency");
        let message = "too many requests run on this link, try later";
        let failure = Failure::new(Code::Overloaded, message);
        return fail(link, &id, call.sid.as_deref(), &failure).await;
    };
    // Before the next message is read: it may cancel this one.
    let begun = Calls::begin(link, &call);
    let link = link.clone();
    let running = link.door.tasks().token();
    tasks.spawn(async move {
        let _running = running;
        let _permit = permit;
        let ended = tokio::select! {
            biased;
            () = begun.cancelled.cancelled() => {
                Err(Failure::new(Code::Cancelled, "the call was cancelled"))
            }
            ended = follow(&link, &call) => ended,
        };
        drop(begun);
        let sid = call.sid.as_deref();
        match ended {
            Ok(response) => {
                let data = answers::result(link.settings.answers, &call.method, &response.data);
                let sid = link.answer_session(sid);
                link.outgoing.send(link.writer.result(&id, sid, &data)).await;
            }
            Err(failure) => fail(&link, &id, sid, &failure).await,
        }
    });
}

/// Answers a request that comes while the door drains.
pub(super) async fn refuse_draining(link: &Link, id: &Id, sid: Option<&str>) {
    let failure = Failure::new(Code::Unavailable, "the gateway stops");
    fail(link, id, sid, &failure).await;
}

async fn fail(link: &Link, id: &Id, sid: Option<&str>, failure: &Failure) {
    let (code, message) = to_peer(failure);
    link.error(Some(id), sid, code, message).await;
}

/// Runs a call to its end, and passes on its progress. Dropping the future withdraws the request.
async fn follow(link: &Link, call: &Call) -> Result<Response, Failure> {
    let (door, peer) = (&link.door, &link.peer);
    let (mut job, mut id) = (call.method.clone(), String::new());
    let ended = async {
        job = door.job_of(&call.method)?;
        let request = with_session(door.waited_request(&job, &call.data, peer)?, call);
        let updates = updates(link, call, request, &mut id);
        timeout(door.settings().timeout + SLACK, updates).await.unwrap_or_else(|_| {
            Err(Failure::new(Code::DeadlineExceeded, "no answer in time; the job may have run"))
        })
    }
    .await;
    door.ended(&job, peer, &id, ended.as_ref().err());
    ended
}

async fn updates(
    link: &Link,
    call: &Call,
    request: RequestBuilder,
    id: &mut String,
) -> Result<Response, Failure> {
    let mut stream = request.stream().await?;
    stream.id().clone_into(id);
    while let Some(update) = stream.next().await {
        match update? {
            Update::Progress(data) => {
                let sid = link.answer_session(call.sid.as_deref());
                let progress = answers::to_peer(&data);
                link.outgoing.send(link.writer.progress(&call.method, sid, progress)).await;
            }
            Update::Done(response) => return Ok(response),
            Update::Restarted { .. }
            | Update::Pending
            | Update::Deferred { .. }
            | Update::Chunk(_) => {}
        }
    }
    Err(Failure::new(Code::Internal, "the stream of the call has no end"))
}

fn with_session(request: RequestBuilder, call: &Call) -> RequestBuilder {
    match &call.sid {
        Some(sid) => request.header("sid", sid),
        None => request,
    }
}

/// Cancels the calls that this one stops, by the door's `cancels`.
fn cancel_others(link: &Link, call: &Call) {
    if let Some(method) = link.settings.cancels.get(&call.method) {
        link.calls.cancel(method, call.sid.as_deref());
    }
}

/// Hands progress to its job, and other notifications to their task. While that has too many, the
/// peer's further messages wait in its connection, for the door's `timeout` at most.
pub(super) async fn notification(link: &Link, call: Call) {
    let was_taken = if call.method == PROGRESS {
        link.open.progressed(call.sid.as_deref(), &call.data)
    } else {
        cancel_others(link, &call);
        let taking = timeout(link.door.settings().timeout, link.notifications.send(call));
        taking.await.is_ok_and(|taken| taken.is_ok())
    };
    if !was_taken {
        link.door.metrics().dropped(1);
    }
}

/// Sends the link's notifications as jobs, in their order. After the end of the link it sends those
/// that came before.
pub(super) async fn send_notifications(link: Arc<Link>) {
    let received = link.received.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(mut received) = received else { return };
    loop {
        let call = tokio::select! {
            biased;
            () = link.gone.cancelled(), if !received.is_closed() => {
                received.close();
                continue;
            }
            call = received.recv() => call,
        };
        let Some(call) = call else { return };
        if let Err(failure) = notify(&link, &call).await {
            link.door.metrics().dropped(1);
            let gateway = link.door.name();
            tracing::info!(gateway, peer = link.peer, code = %failure.code, "lost a notification");
        }
    }
}

async fn notify(link: &Link, call: &Call) -> Result<(), Failure> {
    let (door, peer) = (&link.door, &link.peer);
    let job = door.job_of(&call.method)?;
    let request = with_session(door.request(&job, &call.data, peer)?, call);
    door.send(&job, peer, request).await.map(drop)
}
