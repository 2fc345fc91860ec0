//! The ways to send a request: let go, wait, follow, submit; one or many.
//!
//! Each is prepared (checked, its waiter registered) before it is dispatched (its queue made ready,
//! handed to the sender). Beside that it is finished (awaited), each within its own time, so that
//! many can be handed over at once and none waits for another.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{Either, join_all, select};
use redcall_common::error::Code;
use redcall_common::frame::{Frame, FrameHead, FrameType};
use redcall_common::request::{TTL_RANGE_MS, default_response_ttl_ms};
use redcall_common::store::Submission;
use redcall_common::store::keys::QueueKeys;
use tokio::sync::mpsc::error::SendError;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};

use crate::client::{Client, Inner, Route};
use crate::error::CallError;
use crate::handover::Handover;
use crate::pending::{Guard, Stage};
use crate::request::{Answering, Ready, Request, deadline_in, left_until, millis};
use crate::response::{Durability, Receipt, Response};
use crate::sender::{Caller, Command, Outgoing};
use crate::stream::FrameStream;
use crate::ticket::Ticket;

/// A request that is let go, on its way to being queued.
struct Leaving {
    ready: Ready,
    handover: Handover,
    confirmed: oneshot::Receiver<Result<(), CallError>>,
}

/// Requests of one queue that go out together.
struct Group {
    route: Arc<Route>,
    /// Whether answers are waited for.
    waits: bool,
    /// When the last of their callers stops caring.
    deadline: Instant,
    requests: Vec<Outgoing>,
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
        let (outgoing, leaving) = self.prepare_send()?;
        let group = Group::of(&leaving.ready, false, outgoing);
        beside(inner.dispatch(group), leaving.finish()).await
    }

    /// Queues the request and waits for its answer.
    ///
    /// # Errors
    ///
    /// As [`Client::call_and_wait`].
    pub async fn wait(self) -> Result<Response, CallError> {
        let inner = self.client.inner.clone();
        let (outgoing, waiting) = self.prepare_wait()?;
        let group = Group::of(&waiting.ready, true, outgoing);
        beside(inner.dispatch(group), waiting.finish()).await
    }

    /// Queues the request and follows its frames to the end.
    ///
    /// # Errors
    ///
    /// Only what shows before the request is handed over; the rest comes as the stream's last
    /// item. Dropping the future leaves it open whether the request was handed over.
    pub async fn stream(self) -> Result<FrameStream, CallError> {
        let ready = self.check()?;
        let outgoing = self.waited(&ready)?;
        let inner = &self.client.inner;
        let (guard, frames) = inner.pending.follow(&ready.id, &ready.response_key);
        inner.prepare(&ready.route, true, ready.deadline).await?;
        let handing = inner.commands.send(Command::Enqueue(vec![outgoing]));
        let handed = timeout_at(ready.deadline, handing).await;
        handed.map_err(|_| CallError::not_sent())?.map_err(|_| CallError::stopped())?;
        Ok(FrameStream::new(self.client, ready, guard, frames))
    }

    /// Queues the request; its answer is fetched later, here or in another process.
    ///
    /// # Errors
    ///
    /// As [`Client::call`]. Ends within the timeout; nobody limits the job's own time unless
    /// [`Request::timeout`] was called.
    pub async fn submit(self) -> Result<Ticket, CallError> {
        let ready = self.check()?;
        let keys = &ready.route.keys;
        // Whoever fetches hears on a channel of the request's own, wherever it runs.
        let notify = keys.notify(&ready.id);
        let response_key = Some(ready.response_key.as_str());
        let answering = Answering { response_key, notify: Some(&notify), budget: self.timeout };
        let envelope = self.envelope(&ready, &answering)?;
        let inner = &self.client.inner;
        inner.prepare(&ready.route, false, ready.deadline).await?;
        let head = FrameHead { id: &ready.id, response_key: &ready.response_key, attempt: 0 };
        let budget = self.timeout.map(|budget| default_response_ttl_ms(Some(millis(budget))));
        let submission = Submission {
            response_key: ready.response_key.clone(),
            envelope,
            pending: head.data(FrameType::Pending, 0, None),
            ttl_ms: budget.unwrap_or(*TTL_RANGE_MS.end()),
        };
        let (max_length, within) = (inner.limits.max_length, left_until(ready.deadline));
        if !inner.link.wait_up(within).await {
            return Err(CallError::not_sent());
        }
        let submitting = inner.link.submit(keys, max_length, &submission, within);
        let submitted = timeout_at(ready.deadline, submitting).await;
        if !submitted.map_err(|_| CallError::unheard())?? {
            let message = "the queue is full (limits.max_length); try again later";
            return Err(CallError::rejected(Code::Overloaded, message));
        }
        Ok(Ticket { client: self.client, id: ready.id, response_key: ready.response_key })
    }

    fn prepare_send(self) -> Result<(Outgoing, Leaving), CallError> {
        let ready = self.check()?;
        let answering = Answering { response_key: None, notify: None, budget: self.timeout };
        let envelope = self.envelope(&ready, &answering)?;
        let (done, confirmed) = oneshot::channel();
        let handover = Handover::default();
        let caller = Caller::Forgets { done, handover: handover.clone() };
        let outgoing = Outgoing { keys: ready.route.keys.clone(), envelope, caller };
        Ok((outgoing, Leaving { ready, handover, confirmed }))
    }

    fn prepare_wait(self) -> Result<(Outgoing, Waiting), CallError> {
        let ready = self.check()?;
        let outgoing = self.waited(&ready)?;
        let inner = &self.client.inner;
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
        let until = deadline_in(self.client.inner.no_workers_grace);
        let caller = Caller::Waits { id: ready.id.clone(), until };
        Ok(Outgoing { keys: ready.route.keys.clone(), envelope, caller })
    }
}

impl Group {
    fn of(ready: &Ready, waits: bool, outgoing: Outgoing) -> Self {
        let (route, deadline) = (ready.route.clone(), ready.deadline);
        Self { route, waits, deadline, requests: vec![outgoing] }
    }

    /// Puts a request to those that go to the same queue.
    fn add(groups: &mut Vec<Self>, ready: &Ready, waits: bool, outgoing: Outgoing) {
        // Mostly it goes where the one before went.
        let same = groups.iter_mut().rfind(|group| Arc::ptr_eq(&group.route, &ready.route));
        match same {
            Some(group) => {
                group.deadline = group.deadline.max(ready.deadline);
                group.requests.push(outgoing);
            }
            None => groups.push(Self::of(ready, waits, outgoing)),
        }
    }
}

impl Leaving {
    async fn finish(mut self) -> Result<Receipt, CallError> {
        match timeout_at(self.ready.deadline, &mut self.confirmed).await {
            Ok(Ok(done)) => done?,
            Ok(Err(_)) if self.handover.give_up() => return Err(CallError::stopped()),
            Ok(Err(_)) => return Err(CallError::unheard()),
            Err(_) if self.handover.give_up() => return Err(CallError::not_sent()),
            // On its way; what became of it may have come this very moment.
            Err(_) => self.confirmed.try_recv().unwrap_or_else(|_| Err(CallError::unheard()))?,
        }
        let queue = self.ready.route.keys.name().to_owned();
        Ok(Receipt { id: self.ready.id, queue, durability: Durability::Memory })
    }
}

impl Waiting {
    async fn finish(self) -> Result<Response, CallError> {
        let Self { client, ready, guard, mut answer } = self;
        let frame = match timeout_at(ready.deadline, &mut answer).await {
            Ok(answer) => answer.unwrap_or_else(|_| Err(CallError::unheard()))?,
            Err(_) => {
                let stage = guard.give_up();
                match answer.try_recv() {
                    Ok(just_come) => just_come?,
                    Err(_) => client.too_late(stage, &ready).await?,
                }
            }
        };
        client.inner.forget(&ready.route.keys, &ready.response_key);
        Response::from_frame(frame, ready.response_key)
    }
}

/// Polls `work` beside what is `wanted`; ends with the latter.
async fn beside<T>(work: impl Future<Output = ()>, wanted: impl Future<Output = T>) -> T {
    match select(pin!(work), pin!(wanted)).await {
        Either::Left(((), wanted)) => wanted.await,
        Either::Right((out, _)) => out,
    }
}

impl Client {
    /// Queues all `requests`, made by this client, and lets go; one outcome each, in order.
    ///
    /// They are written together, in commands of up to 1,024 per queue; each ends within its own
    /// timeout. Dropping the future leaves the doubt of [`Client::call`].
    pub async fn call_many(
        &self,
        requests: impl IntoIterator<Item = Request>,
    ) -> Vec<Result<Receipt, CallError>> {
        let (mut groups, mut leaving) = (Vec::new(), Vec::new());
        for request in requests {
            leaving.push(request.prepare_send().map(|(outgoing, leaving)| {
                Group::add(&mut groups, &leaving.ready, false, outgoing);
                leaving
            }));
        }
        let dispatching = join_all(groups.into_iter().map(|group| self.inner.dispatch(group)));
        let finishing = join_all(leaving.into_iter().map(async |leaving| leaving?.finish().await));
        beside(dispatching.map(drop), finishing).await
    }

    /// Queues all `requests`, made by this client, and waits for all answers; one outcome each,
    /// in order.
    ///
    /// They are written together, in commands of up to 1,024 per queue; answers cost no command.
    /// Each ends within its own timeout. Dropping the future gives the answers up, not the jobs.
    pub async fn wait_many(
        &self,
        requests: impl IntoIterator<Item = Request>,
    ) -> Vec<Result<Response, CallError>> {
        let (mut groups, mut waiting) = (Vec::new(), Vec::new());
        for request in requests {
            waiting.push(request.prepare_wait().map(|(outgoing, waiting)| {
                Group::add(&mut groups, &waiting.ready, true, outgoing);
                waiting
            }));
        }
        let dispatching = join_all(groups.into_iter().map(|group| self.inner.dispatch(group)));
        let finishing = join_all(waiting.into_iter().map(async |waiting| waiting?.finish().await));
        beside(dispatching.map(drop), finishing).await
    }

    /// The wait is over: why, after one look at the key itself in case the announcement was lost.
    pub(crate) async fn too_late(&self, stage: Stage, ready: &Ready) -> Result<Frame, CallError> {
        const LOOK: Duration = Duration::from_millis(200);
        if stage != Stage::Sent {
            return Err(stage.why_late(ready.route.keys.name()));
        }
        let keys = [ready.response_key.clone()];
        let looking = self.inner.reads.last_frames(&keys, LOOK);
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

impl Inner {
    /// Makes a queue ready and hands its requests to the sender. Who cannot be handed over hears
    /// it; who has given up meanwhile is left out by the sender.
    async fn dispatch(&self, group: Group) {
        let Group { route, waits, deadline, requests } = group;
        if let Err(reason) = self.prepare(&route, waits, deadline).await {
            for outgoing in requests {
                outgoing.fail(&self.pending, reason.clone().into());
            }
        } else if let Err(SendError(Command::Enqueue(requests))) =
            self.commands.send(Command::Enqueue(requests)).await
        {
            for outgoing in requests {
                outgoing.fail(&self.pending, CallError::stopped());
            }
        }
    }

    /// Has a response key deleted that has been read; if that fails, its TTL does it.
    pub(crate) fn forget(&self, keys: &Arc<QueueKeys>, key: &str) {
        let _ = self.commands.try_send(Command::Forget(keys.clone(), key.to_owned()));
    }
}
