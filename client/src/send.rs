//! The ways to send a request: let go, wait, follow, submit; one or many.
//!
//! Each is prepared (checked, its waiter registered) before it is dispatched (its queue made ready,
//! handed to the sender). Beside that it is finished (awaited), each within its own time, so that
//! many can be handed over at once and none waits for another.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Either, join_all, select};
use redcall_common::auth::Call;
use redcall_common::durability::Durability;
use redcall_common::frame::Frame;
use redcall_common::keys::QueueKeys;
use tokio::sync::mpsc::error::{SendError, TrySendError};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::client::{Client, Inner, NotReady, Route};
use crate::durable::Way;
use crate::error::CallError;
use crate::handover::Handover;
use crate::pending::{Guard, Stage};
use crate::request::{Manner, Ready, Request, deadline_in};
use crate::response::{Receipt, Response};
use crate::sender::{Caller, Command, Joined, Outgoing};
use crate::stream::{FrameStream, Source};
use crate::ticket::Ticket;

/// A request that is let go, on its way to being queued.
struct Leaving {
    client: Client,
    ready: Ready,
    /// How safe it has to be.
    level: Durability,
    /// Where it goes, if somebody has to tell how safe it is.
    way: Option<Way>,
    handover: Handover,
    confirmed: oneshot::Receiver<Result<Joined, CallError>>,
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
    // Before the client: the last one to go ends the task that writes the withdrawal.
    guard: Guard,
    client: Client,
    ready: Ready,
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
        let (outgoing, mut leaving) = self.prepare_leave(Manner::Send)?;
        leaving.find_way().await?;
        let dispatching = inner.dispatch(Group::of(&leaving.ready, false, outgoing));
        beside(dispatching, leaving.finish()).await
    }

    /// Queues the request and waits for its answer.
    ///
    /// # Errors
    ///
    /// As [`Client::call_and_wait`].
    pub async fn wait(self) -> Result<Response, CallError> {
        let inner = self.client.inner.clone();
        let (outgoing, mut waiting) = self.prepare_wait()?;
        let dispatching = inner.dispatch(Group::of(&waiting.ready, true, outgoing));
        beside(dispatching, waiting.finish()).await
    }

    /// Queues the request and follows its frames to the end.
    ///
    /// # Errors
    ///
    /// Only what shows before the request is handed over; the rest comes as the stream's last
    /// item. Dropping the future withdraws the request.
    pub async fn stream(self) -> Result<FrameStream, CallError> {
        let ready = self.check(Manner::Wait)?;
        let outgoing = self.waited(&ready)?;
        let inner = &self.client.inner;
        let waiter = inner.pending.follow(&ready.id, &ready.response_key, ready.origin());
        inner.prepare(&ready.route, true, ready.deadline).await?;
        let handing = inner.commands.send(Command::Enqueue(vec![outgoing]));
        let handed = timeout_at(ready.deadline, handing).await;
        handed.map_err(|_| CallError::not_sent())?.map_err(|_| CallError::stopped())?;
        Ok(FrameStream::new(self.client.clone(), Source::of(ready), waiter, None))
    }

    /// Queues the request; its answer is fetched later, here or in another process.
    ///
    /// # Errors
    ///
    /// As [`Client::call`]. Ends within the timeout; nobody limits the job's own time unless
    /// [`Request::timeout`] was called.
    pub async fn submit(self) -> Result<Ticket, CallError> {
        let client = self.client.clone();
        let (outgoing, mut leaving) = self.prepare_leave(Manner::Submit)?;
        leaving.find_way().await?;
        let (id, response_key) = (leaving.ready.id.clone(), leaving.ready.response_key.clone());
        let origin = leaving.ready.origin();
        let dispatching = client.inner.dispatch(Group::of(&leaving.ready, false, outgoing));
        let receipt = beside(dispatching, leaving.finish()).await?;
        Ok(Ticket { client, origin, id, durability: receipt.durability, response_key })
    }

    /// Boxed: of a thousand that are queued together each is moved several times.
    fn prepare_leave(self, manner: Manner) -> Result<(Outgoing, Box<Leaving>), CallError> {
        let ready = self.check(manner)?;
        let load = self.load(&ready, manner)?;
        let (level, client) = (self.level(), self.client);
        let (done, confirmed) = oneshot::channel();
        let handover = Handover::default();
        let caller = Caller::Forgets { done, handover: handover.clone() };
        let outgoing = Outgoing { keys: ready.route.keys.clone(), load, caller };
        let leaving = Leaving { client, ready, level, way: None, handover, confirmed };
        Ok((outgoing, Box::new(leaving)))
    }

    fn prepare_wait(self) -> Result<(Outgoing, Waiting), CallError> {
        let ready = self.check(Manner::Wait)?;
        let outgoing = self.waited(&ready)?;
        let (id, key, origin) = (&ready.id, &ready.response_key, Some(ready.origin()));
        let pending = &self.client.inner.pending;
        let (guard, answer) = pending.wait_for(id, key, Stage::HandedIn, origin);
        Ok((outgoing, Waiting { guard, client: self.client, ready, answer }))
    }

    fn waited(&self, ready: &Ready) -> Result<Outgoing, CallError> {
        let load = self.load(ready, Manner::Wait)?;
        let until = deadline_in(self.client.inner.no_workers_grace);
        let caller = Caller::Waits { id: ready.id.clone(), until };
        Ok(Outgoing { keys: ready.route.keys.clone(), load, caller })
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
    /// Before it is queued, and nothing is where nobody could tell how safe it is.
    async fn find_way(&mut self) -> Result<(), CallError> {
        self.way = self.client.inner.find_way(self.level, self.ready.deadline).await?;
        Ok(())
    }

    /// To be called once.
    async fn finish(&mut self) -> Result<Receipt, CallError> {
        let joined = match timeout_at(self.ready.deadline, &mut self.confirmed).await {
            Ok(Ok(done)) => done?,
            Ok(Err(_)) if self.handover.give_up() => return Err(CallError::stopped()),
            Ok(Err(_)) => return Err(CallError::unheard()),
            Err(_) if self.handover.give_up() => return Err(CallError::not_sent()),
            // On its way; what became of it may have come this very moment.
            Err(_) => self.confirmed.try_recv().unwrap_or_else(|_| Err(CallError::unheard()))?,
        };
        let Self { client, ready, level, way, .. } = self;
        let keys = &ready.route.keys;
        let durability = match way.take() {
            None => Durability::Memory,
            way => {
                let Inner { confirmers, link, .. } = &*client.inner;
                Box::pin(confirmers.reached(link, keys, *level, way, ready.deadline)).await
            }
        };
        let (queue, deduplicated) = (keys.name().to_owned(), joined.is_some());
        let id = joined.unwrap_or_else(|| std::mem::take(&mut ready.id));
        Ok(Receipt { id, queue, durability, deduplicated })
    }
}

impl Waiting {
    /// To be called once.
    async fn finish(&mut self) -> Result<Response, CallError> {
        let Self { client, ready, guard, answer } = self;
        let over = tokio::select! {
            biased;
            answer = &mut *answer => Either::Left(answer),
            over = ready.over() => Either::Right(over),
        };
        let frame = match over {
            Either::Left(answer) => answer.unwrap_or_else(|_| Err(CallError::unheard()))?,
            Either::Right(over) => {
                let stage = guard.give_up();
                match (answer.try_recv(), over) {
                    (Ok(just_come), _) => just_come?,
                    (Err(_), Over::Cancelled) => return Err(stage.why_cancelled()),
                    (Err(_), Over::Late) => {
                        // Boxed: it is rare, and every wait would be as large.
                        let frame = Box::pin(client.too_late(stage, ready)).await?;
                        guard.answered();
                        frame
                    }
                }
            }
        };
        let key = std::mem::take(&mut ready.response_key);
        client.inner.forget(&ready.route.keys, &key);
        let frame = client.inner.trusted(frame, &key, Call::Known(ready.call.as_deref()))?;
        Response::from_frame(frame, key)
    }
}

/// Why a wait is over without an answer.
pub(crate) enum Over {
    /// Its time is.
    Late,
    /// The handler that waits is not wanted any more.
    Cancelled,
}

impl Ready {
    /// Returns when nobody cares for the answer any more.
    async fn over(&self) -> Over {
        let late = sleep_until(self.deadline);
        let Some(context) = &self.context else {
            late.await;
            return Over::Late;
        };
        tokio::select! {
            () = context.cancel.cancelled() => Over::Cancelled,
            () = late => Over::Late,
        }
    }
}

/// Polls `work`, if there is some left, beside what is `wanted`; ends with the latter.
async fn beside<T>(work: Option<BoxFuture<'_, ()>>, wanted: impl Future<Output = T>) -> T {
    let mut wanted = pin!(wanted);
    if let Some(work) = work
        && let Either::Right((out, _)) = select(work, wanted.as_mut()).await
    {
        return out;
    }
    wanted.await
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
            let prepared = async {
                let (outgoing, mut one) = request.prepare_leave(Manner::Send)?;
                one.find_way().await?;
                Group::add(&mut groups, &one.ready, false, outgoing);
                Ok(one)
            };
            leaving.push(prepared.await);
        }
        let dispatching = self.inner.dispatch_all(groups);
        let finishing = async {
            // Who has to hear how safe a request is asks together with the others.
            if leaving.iter().flatten().any(|leaving| leaving.way.is_some()) {
                let all = leaving.into_iter().map(async |leaving| leaving?.finish().await);
                return join_all(all).await;
            }
            let finish = async |mut leaving: Box<Leaving>| leaving.finish().await;
            each(leaving, |leaving| leaving.ready.deadline, finish).await
        };
        beside(dispatching, finishing).await
    }

    /// Queues all `requests`, made by this client, and waits for all answers; one outcome each,
    /// in order.
    ///
    /// They are written together, in commands of up to 1,024 per queue; answers cost no command.
    /// Each ends within its own timeout. Dropping the future withdraws the jobs that have not been
    /// answered, as for [`Client::call_and_wait`].
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
        let dispatching = self.inner.dispatch_all(groups);
        let finishing = join_all(waiting.into_iter().map(async |waiting| waiting?.finish().await));
        beside(dispatching, finishing).await
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

/// Finishes all that could be prepared; their outcomes in the order in which they came.
///
/// One after the other, the earliest deadline first: whose poll comes late has either ended
/// meanwhile or has its time still before it. A thousand of them wake their task once or twice so,
/// and not a thousand times.
async fn each<P, T, F>(
    prepared: Vec<Result<P, CallError>>,
    deadline: impl Fn(&P) -> Instant,
    finish: impl Fn(P) -> F,
) -> Vec<Result<T, CallError>>
where
    F: Future<Output = Result<T, CallError>>,
{
    let mut ended = Vec::with_capacity(prepared.len());
    let mut open = Vec::with_capacity(prepared.len());
    for (at, prepared) in prepared.into_iter().enumerate() {
        match prepared {
            Ok(prepared) => open.push((at, prepared)),
            Err(error) => ended.push((at, Err(error))),
        }
    }
    open.sort_by_key(|(_, prepared)| deadline(prepared));
    for (at, prepared) in open {
        ended.push((at, finish(prepared).await));
    }
    ended.sort_unstable_by_key(|(at, _)| *at);
    ended.into_iter().map(|(_, outcome)| outcome).collect()
}

impl Inner {
    /// How it is told that a request which is sent now is as safe as `level` wants it.
    async fn find_way(
        &self,
        level: Durability,
        deadline: Instant,
    ) -> Result<Option<Way>, CallError> {
        if level == Durability::Memory {
            return Ok(None);
        }
        let finding = Box::pin(self.confirmers.ready(&self.link, level, deadline));
        let found = timeout_at(deadline, finding).await;
        Ok(found.map_err(|_| CallError::not_sent())?.map_err(NotReady::from)?)
    }

    /// Hands requests to the sender, at once if their queue is ready and the sender has room; else
    /// what is left to do. Who cannot be handed over hears it; who has given up meanwhile is left
    /// out by the sender.
    fn dispatch(&self, mut group: Group) -> Option<BoxFuture<'_, ()>> {
        if group.route.is_ready(group.waits) {
            match self.commands.try_send(Command::Enqueue(group.requests)) {
                Ok(()) => return None,
                // It hands back what it was given.
                Err(TrySendError::Full(back) | TrySendError::Closed(back)) => {
                    let Command::Enqueue(requests) = back else { return None };
                    group.requests = requests;
                }
            }
        }
        Some(self.dispatch_slowly(group).boxed())
    }

    fn dispatch_all(&self, groups: Vec<Group>) -> Option<BoxFuture<'_, ()>> {
        let left = groups.into_iter().filter_map(|group| self.dispatch(group));
        let left: Vec<_> = left.collect();
        (!left.is_empty()).then(|| join_all(left).map(drop).boxed())
    }

    async fn dispatch_slowly(&self, group: Group) {
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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[tokio::test]
    async fn each_ends_by_its_own_deadline_and_stands_where_it_came() {
        let (now, finished) = (Instant::now(), RefCell::new(Vec::new()));
        let at = |seconds| Ok(now + Duration::from_secs(seconds));
        let prepared = vec![at(3), at(1), Err(CallError::stopped()), at(2)];
        let finish = async |deadline: Instant| {
            let seconds = (deadline - now).as_secs();
            finished.borrow_mut().push(seconds);
            Ok(seconds)
        };
        let ended = each(prepared, |deadline| *deadline, finish).await;
        let ended: Vec<Option<u64>> = ended.into_iter().map(Result::ok).collect();
        assert_eq!(ended, [Some(3), Some(1), None, Some(2)]);
        assert_eq!(*finished.borrow(), [1, 2, 3]);
    }
}
