//! The ways to send a request: let go, wait, follow, submit; one or many.
//!
//! Each is prepared (checked, its waiter registered) before it is handed to the sender, and
//! finished (awaited) afterwards, so that many can be handed over at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use redcall_common::error::Code;
use redcall_common::frame::{Frame, FrameHead, FrameType};
use redcall_common::request::{TTL_RANGE_MS, default_response_ttl_ms};
use redcall_common::store::Submission;
use redcall_common::store::keys::QueueKeys;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};

use crate::client::{Client, Inner};
use crate::error::CallError;
use crate::pending::{Guard, Stage};
use crate::request::{Answering, Ready, Request, millis};
use crate::response::{Durability, Receipt, Response};
use crate::sender::{Caller, Command, Outgoing};
use crate::stream::FrameStream;
use crate::ticket::Ticket;

/// A request that is let go, on its way to being queued.
struct Leaving {
    ready: Ready,
    /// Set by the sender just before it writes.
    sent: Arc<AtomicBool>,
    confirmed: oneshot::Receiver<Result<(), CallError>>,
}

/// A request that is waited for.
struct Waiting {
    client: Client,
    ready: Ready,
    guard: Guard,
    answer: oneshot::Receiver<Result<Frame, CallError>>,
}

impl Request {
    /// Queues the request and lets go.
    ///
    /// # Errors
    ///
    /// As [`Client::call`].
    pub async fn send(self) -> Result<Receipt, CallError> {
        let inner = self.client.inner.clone();
        let (outgoing, leaving) = self.prepare_send().await?;
        inner.hand_in(vec![outgoing], leaving.ready.deadline).await?;
        leaving.finish().await
    }

    /// Queues the request and waits for its answer.
    ///
    /// # Errors
    ///
    /// As [`Client::call_and_wait`].
    pub async fn wait(self) -> Result<Response, CallError> {
        let inner = self.client.inner.clone();
        let (outgoing, waiting) = self.prepare_wait().await?;
        inner.hand_in(vec![outgoing], waiting.ready.deadline).await?;
        waiting.finish().await
    }

    /// Queues the request and follows its frames to the end.
    ///
    /// # Errors
    ///
    /// Only what shows before the request is handed over; the rest comes as the stream's last
    /// item.
    pub async fn stream(self) -> Result<FrameStream, CallError> {
        let ready = self.check()?;
        let outgoing = self.waited(&ready)?;
        let inner = &self.client.inner;
        inner.subscribe(&ready.route, self.within()).await?;
        let (guard, frames) = inner.pending.follow(&ready.id, &ready.response_key);
        inner.hand_in(vec![outgoing], ready.deadline).await?;
        Ok(FrameStream::new(self.client, ready, guard, frames))
    }

    /// Queues the request; its answer is fetched later, here or in another process.
    ///
    /// # Errors
    ///
    /// As [`Client::call`].
    pub async fn submit(self) -> Result<Ticket, CallError> {
        let ready = self.check()?;
        let keys = &ready.route.keys;
        // Whoever fetches hears on a channel of the request's own, wherever it runs.
        let notify = keys.notify(&ready.id);
        let response_key = Some(ready.response_key.as_str());
        let answering = Answering { response_key, notify: Some(&notify), budget: self.timeout };
        let envelope = self.envelope(&ready, &answering)?;
        let inner = &self.client.inner;
        inner.announce_queue(&ready.route, self.within()).await?;
        let head = FrameHead { id: &ready.id, response_key: &ready.response_key, attempt: 0 };
        let budget = self.timeout.map(|budget| default_response_ttl_ms(Some(millis(budget))));
        let submission = Submission {
            response_key: ready.response_key.clone(),
            envelope,
            pending: head.data(FrameType::Pending, 0, None),
            ttl_ms: budget.unwrap_or(*TTL_RANGE_MS.end()),
        };
        let (max_length, within) = (inner.limits.max_length, self.within());
        if !inner.link.submit(keys, max_length, &submission, within).await? {
            let message = "the queue is full (limits.max_length); try again later";
            return Err(CallError::rejected(Code::Overloaded, message));
        }
        Ok(Ticket { client: self.client, id: ready.id, response_key: ready.response_key })
    }

    async fn prepare_send(self) -> Result<(Outgoing, Leaving), CallError> {
        let ready = self.check()?;
        let answering = Answering { response_key: None, notify: None, budget: self.timeout };
        let envelope = self.envelope(&ready, &answering)?;
        self.client.inner.announce_queue(&ready.route, self.within()).await?;
        let (done, confirmed) = oneshot::channel();
        let sent = Arc::new(AtomicBool::new(false));
        let caller = Caller::Forgets { done, sent: sent.clone() };
        let outgoing = Outgoing { keys: ready.route.keys.clone(), envelope, caller };
        Ok((outgoing, Leaving { ready, sent, confirmed }))
    }

    async fn prepare_wait(self) -> Result<(Outgoing, Waiting), CallError> {
        let ready = self.check()?;
        let outgoing = self.waited(&ready)?;
        let inner = &self.client.inner;
        inner.subscribe(&ready.route, self.within()).await?;
        let (guard, answer) =
            inner.pending.wait_for(&ready.id, &ready.response_key, Stage::HandedIn);
        Ok((outgoing, Waiting { client: self.client, ready, guard, answer }))
    }

    fn waited(&self, ready: &Ready) -> Result<Outgoing, CallError> {
        let answering = Answering {
            response_key: Some(&ready.response_key),
            notify: Some(&ready.route.notify),
            budget: Some(self.within()),
        };
        let envelope = self.envelope(ready, &answering)?;
        let until = Instant::now() + self.client.inner.no_workers_grace;
        let caller = Caller::Waits { id: ready.id.clone(), until };
        Ok(Outgoing { keys: ready.route.keys.clone(), envelope, caller })
    }
}

impl Leaving {
    async fn finish(self) -> Result<Receipt, CallError> {
        match timeout_at(self.ready.deadline, self.confirmed).await {
            Ok(done) => done.map_err(|_| closed())??,
            Err(_) if self.sent.load(Ordering::Acquire) => {
                return Err(CallError::Unknown { source: None });
            }
            Err(_) => return Err(CallError::not_sent()),
        }
        let queue = self.ready.route.keys.name().to_owned();
        Ok(Receipt { id: self.ready.id, queue, durability: Durability::Memory })
    }
}

impl Waiting {
    async fn finish(self) -> Result<Response, CallError> {
        let Self { client, ready, guard, answer } = self;
        let frame = match timeout_at(ready.deadline, answer).await {
            Ok(answer) => answer.map_err(|_| closed())??,
            Err(_) => client.too_late(&guard, &ready).await?,
        };
        client.inner.forget(&ready.route.keys, &ready.response_key);
        Response::from_frame(frame, ready.response_key)
    }
}

impl Client {
    /// Queues all `requests`, made by this client, and lets go; one outcome each, in order.
    ///
    /// They are written together, in commands of up to 1,024 per queue.
    pub async fn call_many(
        &self,
        requests: impl IntoIterator<Item = Request>,
    ) -> Vec<Result<Receipt, CallError>> {
        let (mut together, mut leaving) = (Vec::new(), Vec::new());
        for request in requests {
            leaving.push(request.prepare_send().await.map(|(outgoing, leaving)| {
                together.push(outgoing);
                leaving
            }));
        }
        // A sender that has gone shows below, as confirmations that do not come.
        let _ = self.inner.commands.send(Command::Enqueue(together)).await;
        join_all(leaving.into_iter().map(async |leaving| leaving?.finish().await)).await
    }

    /// Queues all `requests`, made by this client, and waits for all answers; one outcome each,
    /// in order.
    ///
    /// They are written together, in commands of up to 1,024 per queue; answers cost no command.
    pub async fn wait_many(
        &self,
        requests: impl IntoIterator<Item = Request>,
    ) -> Vec<Result<Response, CallError>> {
        let (mut together, mut waiting) = (Vec::new(), Vec::new());
        for request in requests {
            waiting.push(request.prepare_wait().await.map(|(outgoing, waiting)| {
                together.push(outgoing);
                waiting
            }));
        }
        // As above.
        let _ = self.inner.commands.send(Command::Enqueue(together)).await;
        join_all(waiting.into_iter().map(async |waiting| waiting?.finish().await)).await
    }

    /// The wait is over: why, after one look at the key itself in case the announcement was lost.
    pub(crate) async fn too_late(&self, guard: &Guard, ready: &Ready) -> Result<Frame, CallError> {
        const LOOK: Duration = Duration::from_millis(200);
        let stage = guard.stage();
        if stage != Stage::Sent {
            return Err(stage.why_late(ready.route.keys.name()));
        }
        let keys = [ready.response_key.clone()];
        let looking = self.inner.link.last_frames(&keys, LOOK);
        if let Ok(Ok(frames)) = timeout(LOOK, looking).await
            && let Some(frame) = frames.into_iter().flatten().next()
            && let Some(frame) = crate::replies::parse(&frame)
            && frame.kind.ends()
            && frame.id == ready.id
        {
            return Ok(frame);
        }
        Err(stage.why_late(ready.route.keys.name()))
    }
}

pub(crate) fn closed() -> CallError {
    CallError::rejected(Code::Internal, "the client's runtime has shut down")
}

impl Inner {
    async fn hand_in(&self, requests: Vec<Outgoing>, until: Instant) -> Result<(), CallError> {
        let handing = self.commands.send(Command::Enqueue(requests));
        match timeout_at(until, handing).await {
            Ok(handed) => handed.map_err(|_| closed()),
            Err(_) => Err(CallError::not_sent()),
        }
    }

    /// Has a response key deleted that has been read; if that fails, its TTL does it.
    pub(crate) fn forget(&self, keys: &Arc<QueueKeys>, key: &str) {
        let _ = self.commands.try_send(Command::Forget(keys.clone(), key.to_owned()));
    }

    /// Has the first frames at a response key dropped, which its reader has.
    pub(crate) fn trim(&self, key: &str, count: usize) {
        let _ = self.commands.try_send(Command::Trim(key.to_owned(), count));
    }
}
