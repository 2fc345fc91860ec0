//! Sending one request: fire and forget, wait, stream, submit.
//!
//! Each request is prepared (validated, its waiter registered), then dispatched (its queue
//! prepared, handed to the sender), and concurrently finished (awaited) within its own timeout. So
//! many requests can be dispatched together without waiting for each other.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Either, join_all, select};
use redcall_common::auth::Call;
use redcall_common::durability::Durability;
use redcall_common::frame::Frame;
use redcall_store::{AnswerOps as _, Session as _};
use serde::Serialize;
use tokio::sync::mpsc::error::{SendError, TrySendError};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::call::request::{Delivery, Prepared, RequestBuilder};
use crate::call::stream::{FrameStream, Source};
use crate::call::ticket::Ticket;
use crate::engine::client::{Client, Inner, NotReady};
use crate::engine::deadline::deadline_in;
use crate::engine::durability::ReplicationTarget;
use crate::engine::in_flight::{Guard, Stage};
use crate::engine::replies;
use crate::engine::route::{HandedIn, Route};
use crate::engine::sender::{Caller, Command, Joined, Outgoing, SendClaim};
use crate::error::CallError;
use crate::response::{Receipt, Response};

/// A request whose caller waits for its enqueue only.
pub(super) struct Outbound {
    client: Client,
    pub(super) prepared: Prepared,
    /// Required durability level.
    level: Durability,
    /// Where durability is checked; `None` if no check is needed.
    pub(super) target: Option<ReplicationTarget>,
    send_claim: SendClaim,
    confirmed: oneshot::Receiver<Result<Joined, CallError>>,
}

/// Requests of one queue that are sent together.
pub(super) struct Group {
    route: Arc<Route>,
    /// `true` if the callers wait for answers.
    waits: bool,
    /// The latest deadline of the callers.
    deadline: Instant,
    requests: Vec<Outgoing>,
    /// `true` if the caller may write them by itself.
    direct: bool,
}

/// A request whose caller waits for the answer.
pub(super) struct Waiting {
    // Before the client: dropping the last client ends the task that writes the cancellation.
    guard: Guard,
    client: Client,
    pub(super) prepared: Prepared,
    answer: oneshot::Receiver<Result<Frame, CallError>>,
}

impl RequestBuilder {
    /// Enqueues the request and returns.
    ///
    /// ```
    /// # redcall_testkit::example::with_client(async |client| {
    /// use redcall_client::Durability;
    /// use serde_json::json;
    ///
    /// let request = client.request("add").data(&json!({"a": 1, "b": 2}));
    /// let receipt = request.queue("default").send().await?;
    /// assert_eq!(receipt.durability, Durability::Memory);
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Client::call`].
    pub async fn send(self) -> Result<Receipt, CallError> {
        let inner = self.client.inner.clone();
        let (outgoing, mut outbound) = self.prepare_outbound(Delivery::FireAndForget)?;
        outbound.resolve_target().await?;
        let dispatching = inner.dispatch(Group::of_outbound(&outbound, outgoing));
        run_alongside(dispatching, outbound.finish()).await
    }

    /// Enqueues the request and waits for its answer.
    ///
    /// ```
    /// # redcall_testkit::example::with_client(async |client| {
    /// use std::time::Duration;
    ///
    /// let request = client.request("echo").data("hello").timeout(Duration::from_secs(5));
    /// assert_eq!(request.wait().await?.json::<String>()?, "hello");
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Client::call_and_wait`].
    pub async fn wait(self) -> Result<Response, CallError> {
        let inner = self.client.inner.clone();
        let (outgoing, mut waiting) = self.prepare_wait()?;
        let dispatching = inner.dispatch(Group::of(&waiting.prepared, true, outgoing));
        run_alongside(dispatching, waiting.finish()).await
    }

    /// Enqueues the request and returns the stream of its frames.
    ///
    /// ```
    /// # redcall_testkit::example::with_client(async |client| {
    /// use redcall_client::Update;
    /// use serde_json::json;
    ///
    /// let mut stream = client.request("count").data(&json!({"to": 3})).stream().await?;
    /// let mut parts = Vec::new();
    /// while let Some(update) = stream.next().await {
    ///     match update? {
    ///         Update::Chunk(part) => parts.push(part.to_string()),
    ///         Update::Restarted { .. } => parts.clear(), // the new attempt sends them again
    ///         Update::Done(answer) => println!("counted to {}", answer.data),
    ///         _ => {}
    ///     }
    /// }
    /// assert_eq!(parts, ["1", "2", "3"]);
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    ///
    /// Errors before the request is handed to the sender; later ones are the stream's last item.
    /// Dropping the future cancels the request.
    pub async fn stream(self) -> Result<FrameStream, CallError> {
        let prepared = self.check(Delivery::Wait)?;
        let outgoing = self.waited(&prepared)?;
        let inner = &self.client.inner;
        let waiter =
            inner.in_flight.follow(&prepared.id, &prepared.response_key, prepared.origin());
        inner.prepare(&prepared.route, true, prepared.deadline).await?;
        let handing = inner.commands.send(Command::Enqueue(vec![outgoing]));
        let handed = timeout_at(prepared.deadline, handing).await;
        handed.map_err(|_| CallError::not_sent())?.map_err(|_| CallError::stopped())?;
        Ok(FrameStream::new(self.client.clone(), Source::of(prepared), waiter, None))
    }

    /// Enqueues the request. Its answer is fetched later, by this or another process.
    ///
    /// ```
    /// # redcall_testkit::example::with_client(async |client| {
    /// let ticket = client.request("echo").data("hello").submit().await?;
    /// let response_key = ticket.response_key; // pass it to any process, which fetches the answer
    /// assert_eq!(client.fetch(&response_key).await?.json::<String>()?, "hello");
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Client::call`]. Returns within the timeout. The job's own time is unlimited unless
    /// [`RequestBuilder::timeout`] was called.
    pub async fn submit(self) -> Result<Ticket, CallError> {
        let client = self.client.clone();
        let (outgoing, mut outbound) = self.prepare_outbound(Delivery::Submit)?;
        outbound.resolve_target().await?;
        let (id, response_key) =
            (outbound.prepared.id.clone(), outbound.prepared.response_key.clone());
        let origin = outbound.prepared.origin();
        let dispatching = client.inner.dispatch(Group::of(&outbound.prepared, false, outgoing));
        let receipt = run_alongside(dispatching, outbound.finish()).await?;
        Ok(Ticket { client, origin, id, durability: receipt.durability, response_key })
    }

    /// Boxed: in a batch, each is moved several times.
    pub(super) fn prepare_outbound(
        self,
        delivery: Delivery,
    ) -> Result<(Outgoing, Box<Outbound>), CallError> {
        let prepared = self.check(delivery)?;
        let payload = self.payload(&prepared, delivery)?;
        let (level, client) = (self.level(), self.client);
        let (done, confirmed) = oneshot::channel();
        let send_claim = SendClaim::default();
        let caller = Caller::Forgets { done, send_claim: send_claim.clone() };
        let outgoing = Outgoing { route: HandedIn::new(prepared.route.clone()), payload, caller };
        let outbound = Outbound { client, prepared, level, target: None, send_claim, confirmed };
        Ok((outgoing, Box::new(outbound)))
    }

    pub(super) fn prepare_wait(self) -> Result<(Outgoing, Waiting), CallError> {
        let prepared = self.check(Delivery::Wait)?;
        let outgoing = self.waited(&prepared)?;
        let (id, key, origin) = (&prepared.id, &prepared.response_key, Some(prepared.origin()));
        let in_flight = &self.client.inner.in_flight;
        let (guard, answer) = in_flight.wait_for(id, key, Stage::HandedIn, origin);
        Ok((outgoing, Waiting { guard, client: self.client, prepared, answer }))
    }

    fn waited(&self, prepared: &Prepared) -> Result<Outgoing, CallError> {
        let payload = self.payload(prepared, Delivery::Wait)?;
        let grace = self.client.inner.no_workers_grace;
        let until = deadline_in(if self.worker_required { Duration::ZERO } else { grace });
        let caller = Caller::Waits { id: prepared.id.clone(), until };
        Ok(Outgoing { route: HandedIn::new(prepared.route.clone()), payload, caller })
    }
}

impl Group {
    fn of(prepared: &Prepared, waits: bool, outgoing: Outgoing) -> Self {
        let (route, deadline) = (prepared.route.clone(), prepared.deadline);
        Self { route, waits, deadline, requests: vec![outgoing], direct: true }
    }

    /// As [`Group::of`]. The sender writes it if its durability is confirmed after the write.
    fn of_outbound(outbound: &Outbound, outgoing: Outgoing) -> Self {
        let direct = outbound.target.is_none();
        Self { direct, ..Self::of(&outbound.prepared, false, outgoing) }
    }

    /// Adds a request to the group of its queue.
    pub(super) fn add(
        groups: &mut Vec<Self>,
        prepared: &Prepared,
        waits: bool,
        outgoing: Outgoing,
    ) {
        // Consecutive requests usually go to the same queue.
        let same = groups.iter_mut().rfind(|group| Arc::ptr_eq(&group.route, &prepared.route));
        match same {
            Some(group) => {
                group.deadline = group.deadline.max(prepared.deadline);
                group.requests.push(outgoing);
            }
            // The durability of others is confirmed after the write.
            None => groups.push(Self { direct: waits, ..Self::of(prepared, waits, outgoing) }),
        }
    }
}

impl Outbound {
    /// Called before the enqueue: if durability cannot be checked, nothing is enqueued.
    pub(super) async fn resolve_target(&mut self) -> Result<(), CallError> {
        self.target = self.client.inner.resolve_target(self.level, self.prepared.deadline).await?;
        Ok(())
    }

    /// Call once.
    pub(super) async fn finish(&mut self) -> Result<Receipt, CallError> {
        let joined = match timeout_at(self.prepared.deadline, &mut self.confirmed).await {
            Ok(Ok(done)) => done?,
            Ok(Err(_)) if self.send_claim.give_up() => return Err(CallError::stopped()),
            Ok(Err(_)) => return Err(CallError::reply_lost()),
            Err(_) if self.send_claim.give_up() => return Err(CallError::not_sent()),
            // Being written; its confirmation may have just arrived.
            Err(_) => self.confirmed.try_recv().unwrap_or_else(|_| Err(CallError::reply_lost()))?,
        };
        let Self { client, prepared, level, target, .. } = self;
        let keys = &prepared.route.keys;
        let durability = match target.take() {
            None => Durability::Memory,
            target => {
                let Inner { durability_waiters, link, .. } = &*client.inner;
                Box::pin(durability_waiters.reached(link, keys, *level, target, prepared.deadline))
                    .await
            }
        };
        let (queue, deduplicated) = (keys.name().to_owned(), joined.is_some());
        let id = joined.unwrap_or_else(|| std::mem::take(&mut prepared.id));
        Ok(Receipt { id, queue, durability, deduplicated })
    }
}

impl Waiting {
    /// Call once.
    pub(super) async fn finish(&mut self) -> Result<Response, CallError> {
        let Self { client, prepared, guard, answer } = self;
        let end = tokio::select! {
            biased;
            answer = &mut *answer => Either::Left(answer),
            end = prepared.wait_end() => Either::Right(end),
        };
        let frame = match end {
            Either::Left(answer) => answer.unwrap_or_else(|_| Err(CallError::reply_lost()))?,
            Either::Right(end) => {
                let stage = guard.give_up();
                match (answer.try_recv(), end) {
                    (Ok(just_come), _) => just_come?,
                    (Err(_), WaitEnd::Cancelled) => return Err(stage.why_cancelled()),
                    (Err(_), WaitEnd::TimedOut) => {
                        // Boxed: rare, and it would enlarge every waiting future.
                        let frame = Box::pin(client.too_late(stage, prepared)).await?;
                        guard.answered();
                        frame
                    }
                }
            }
        };
        let key = std::mem::take(&mut prepared.response_key);
        client.inner.forget(&prepared.route.keys, &key, &frame);
        let frame = client.inner.trusted(frame, &key, Call::Known(prepared.call.as_deref()))?;
        Response::from_frame(frame, key)
    }
}

/// Why a wait ended without an answer.
enum WaitEnd {
    /// The caller's timeout expired.
    TimedOut,
    /// The handler that waits was cancelled.
    Cancelled,
}

impl Prepared {
    /// Returns when the caller stops waiting.
    async fn wait_end(&self) -> WaitEnd {
        let late = sleep_until(self.deadline);
        let Some(context) = &self.context else {
            late.await;
            return WaitEnd::TimedOut;
        };
        tokio::select! {
            () = context.cancel.cancelled() => WaitEnd::Cancelled,
            () = late => WaitEnd::TimedOut,
        }
    }
}

/// Polls `work`, if any, alongside `wanted`, and returns the output of `wanted`.
pub(super) async fn run_alongside<T>(
    work: Option<BoxFuture<'_, ()>>,
    wanted: impl Future<Output = T>,
) -> T {
    let mut wanted = pin!(wanted);
    if let Some(work) = work
        && let Either::Right((out, _)) = select(work, wanted.as_mut()).await
    {
        return out;
    }
    wanted.await
}

impl Client {
    /// Enqueues job `name` and returns.
    ///
    /// ```
    /// # redcall_testkit::example::with_client(async |client| {
    /// use serde_json::json;
    ///
    /// let receipt = client.call("add", &json!({"a": 1, "b": 2})).await?;
    /// println!("queued as {} on {}", receipt.id, receipt.queue);
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    ///
    /// [`CallError::may_be_queued`] returns `true` if the job may run nevertheless. After the
    /// future is dropped, the job may be queued or not. Inside a handler, sending ends with the
    /// handler's remaining time; the job has its own timeout.
    pub async fn call<T: Serialize + ?Sized>(
        &self,
        name: &str,
        data: &T,
    ) -> Result<Receipt, CallError> {
        self.request(name).data(data).send().await
    }

    /// Enqueues job `name` and waits for its answer, at most for the setting `client.timeout`.
    ///
    /// ```
    /// # redcall_testkit::example::with_client(async |client| {
    /// use redcall_client::Code;
    /// use serde_json::{Value, json};
    ///
    /// let answer = client.call_and_wait("add", &json!({"a": 1, "b": 2})).await?;
    /// assert_eq!(answer.json::<Value>()?, json!({"answer": 3}));
    ///
    /// let error = client.call_and_wait("add", &json!({"a": 1})).await.unwrap_err();
    /// assert_eq!(error.code(), Code::InvalidData);
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    ///
    /// The job's error, or the reason why there is none: [`CallError::code`]. Dropping the future,
    /// or its timeout, cancels the job: if it has not started it never does, and a running handler
    /// is notified. Inside a handler, the call inherits the handler's remaining time and ends with
    /// `cancelled` if the handler is cancelled.
    pub async fn call_and_wait<T: Serialize + ?Sized>(
        &self,
        name: &str,
        data: &T,
    ) -> Result<Response, CallError> {
        self.request(name).data(data).wait().await
    }

    /// Ends a wait whose time is over. Reads the response key once, in case the announcement was
    /// lost.
    async fn too_late(&self, stage: Stage, prepared: &Prepared) -> Result<Frame, CallError> {
        const FINAL_READ_TIMEOUT: Duration = Duration::from_millis(200);
        if stage != Stage::Sent {
            return Err(stage.why_late(prepared.route.keys.name()));
        }
        let keys = [prepared.response_key.clone()];
        let reading = self.inner.reads.last_frames(&keys, FINAL_READ_TIMEOUT);
        if let Ok(Ok(frames)) = timeout(FINAL_READ_TIMEOUT, reading).await
            && let Some(frame) = frames.into_iter().flatten().next()
            && let Some(frame) = replies::parse(&frame)
            && frame.kind.ends()
            && frame.id == prepared.id
        {
            return Ok(frame);
        }
        Err(stage.why_late(prepared.route.keys.name()))
    }
}

impl Inner {
    /// Returns where to check that a request sent now reaches `level`.
    async fn resolve_target(
        &self,
        level: Durability,
        deadline: Instant,
    ) -> Result<Option<ReplicationTarget>, CallError> {
        if level == Durability::Memory {
            return Ok(None);
        }
        let finding = Box::pin(self.durability_waiters.prepare(&self.link, level, deadline));
        let found = timeout_at(deadline, finding).await;
        Ok(found.map_err(|_| CallError::not_sent())?.map_err(NotReady::from)?)
    }

    /// Writes the requests, or hands them to the sender, at once if their queue is prepared and the
    /// sender has room; otherwise returns the remaining work. A request that cannot be handed over
    /// fails; the sender drops a request whose caller has given up.
    fn dispatch(&self, mut group: Group) -> Option<BoxFuture<'_, ()>> {
        if group.route.is_ready(group.waits) {
            if group.direct && self.keyring.is_none() {
                group.requests = self.direct.push(group.requests, self.link.now_ms());
                if group.requests.is_empty() {
                    return None;
                }
            }
            group.requests.iter_mut().for_each(Outgoing::hand_in);
            match self.commands.try_send(Command::Enqueue(group.requests)) {
                Ok(()) => return None,
                // The channel returns the command.
                Err(TrySendError::Full(back) | TrySendError::Closed(back)) => {
                    let Command::Enqueue(requests) = back else { return None };
                    group.requests = requests;
                }
            }
        }
        group.requests.iter_mut().for_each(Outgoing::hand_in);
        Some(self.dispatch_slowly(group).boxed())
    }

    pub(super) fn dispatch_all(&self, groups: Vec<Group>) -> Option<BoxFuture<'_, ()>> {
        let left = groups.into_iter().filter_map(|group| self.dispatch(group));
        let left: Vec<_> = left.collect();
        (!left.is_empty()).then(|| join_all(left).map(drop).boxed())
    }

    async fn dispatch_slowly(&self, group: Group) {
        let Group { route, waits, deadline, requests, .. } = group;
        if let Err(reason) = self.prepare(&route, waits, deadline).await {
            for outgoing in requests {
                outgoing.fail(&self.in_flight, reason.clone().into());
            }
        } else if let Err(SendError(Command::Enqueue(requests))) =
            self.commands.send(Command::Enqueue(requests)).await
        {
            for outgoing in requests {
                outgoing.fail(&self.in_flight, CallError::stopped());
            }
        }
    }
}
