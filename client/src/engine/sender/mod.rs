//! The one task that writes the requests that their callers do not write by themselves (`direct/`).
//! All commands that arrive during one write go out in the next.
//!
//! | file | holds |
//! |---|---|
//! | `command.rs` | the commands of callers |
//! | `batches.rs` | the commands of the next write, by queue |
//! | `send_claim.rs` | arbitration between the sender and a caller that gives up |
//! | `element.rs` | the elements that are pushed, and the outcome of each |
//! | `enqueue.rs` | enqueuing, without a script where that is safe |

mod batches;
pub(crate) mod command;
mod element;
pub(crate) mod enqueue;
mod send_claim;

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use redcall_common::error::Code;
use redcall_common::keys::QueueKeys;
use redcall_common::limits::{COMMAND_BYTES, batch_len};
use redcall_store::{
    AnswerOps as _, CancelRequest, Connection, EnqueueExt, EnqueueExtResult, PushReply,
    SendOps as _, Session as _, StoreError,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use crate::engine::direct::{DirectShared, Pushed};
use crate::engine::in_flight::InFlight;
use crate::engine::results::ResultEvents;
use crate::engine::route::Route;
use crate::engine::withdrawal::Withdrawal;
use crate::error::CallError;

use batches::{Batch, Batches};
pub(crate) use command::{
    BatchFailures, Caller, Command, Joined, Outgoing, OutgoingBatch, Payload,
};
pub(crate) use element::Envelopes;
use element::{Element, Outcome};
use enqueue::Enqueue;
pub(crate) use send_claim::SendClaim;

/// Maximum number of requests in one command.
const REQUESTS_MAX: usize = 1024;
/// Maximum number of requests of batches in one write.
const BATCHED_MAX: usize = 4096;
/// Maximum number of commands taken from the channel at once.
const COMMANDS_MAX: usize = 256;
/// Interval at which queues without a worker are checked for one.
const SERVED_POLL: Duration = Duration::from_millis(50);
/// Timeout of one attempt to connect or write. Calls end by their own timeouts in the meantime.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(250);

/// Writes commands until the last client is dropped.
pub(crate) struct Sender {
    pub(crate) link: Arc<Connection>,
    /// For commands that must not wait behind requests.
    pub(crate) reads: Arc<Connection>,
    pub(crate) in_flight: InFlight,
    pub(crate) caps: Arc<Caps>,
    /// Publishes `cancelled` for deferred requests that were cancelled.
    pub(crate) results: ResultEvents,
    pub(crate) commands: mpsc::Receiver<Command>,
    /// Requests to be cancelled. Each was written before it arrives here, by this task or by its
    /// caller.
    pub(crate) withdrawn: mpsc::UnboundedReceiver<Withdrawal>,
    /// Requests of callers that write by themselves, for this task to end.
    pub(crate) pushed: mpsc::UnboundedReceiver<Pushed>,
    /// The pushes of callers. Later requests of their queues are written behind them.
    pub(crate) direct: Arc<DirectShared>,
    /// Cancellations that could not be written, kept while they have an effect.
    pub(crate) unwritten: Vec<Withdrawal>,
}

impl Drop for Sender {
    /// The runtime or the last client was dropped: ends all waits.
    fn drop(&mut self) {
        // Closed first, so that a waiter registered later cannot send a command.
        self.commands.close();
        self.in_flight.end_all();
    }
}

/// Maximum number of requests per queue.
pub(crate) struct Caps {
    pub(crate) max: u64,
    /// Queues with a limit of their own.
    pub(crate) by_queue: BTreeMap<String, u64>,
}

impl Caps {
    pub(crate) fn of(&self, queue: &str) -> u64 {
        self.by_queue.get(queue).copied().unwrap_or(self.max)
    }
}

impl Sender {
    pub(crate) async fn run(mut self) {
        let mut buffer = Vec::with_capacity(COMMANDS_MAX);
        // Requests that wait for a worker of their queue, until their grace period is over.
        let mut unserved = Batches::default();
        let (mut again, mut retry) = (Instant::now(), Instant::now());
        let mut stopping = false;
        while !stopping {
            let mut batches = Batches::default();
            let mut flushes = Vec::new();
            tokio::select! {
                count = self.commands.recv_many(&mut buffer, COMMANDS_MAX) => stopping = count == 0,
                Some(withdrawal) = self.withdrawn.recv() => batches.withdraw(withdrawal),
                Some(pushed) = self.pushed.recv() => batches.add_pushed(pushed),
                () = sleep_until(again), if !unserved.0.is_empty() => {
                    (batches, unserved) = self.check_served(unserved).await;
                    again = Instant::now() + SERVED_POLL;
                }
                () = sleep_until(retry), if !self.unwritten.is_empty() => {}
            }
            let now = Instant::now();
            if retry <= now && !self.unwritten.is_empty() {
                let unwritten = std::mem::take(&mut self.unwritten).into_iter();
                unwritten.filter(|one| one.is_relevant(now)).for_each(|one| batches.withdraw(one));
                retry = now + ATTEMPT_TIMEOUT;
            }
            for command in buffer.drain(..) {
                match command {
                    Command::Enqueue(requests) => {
                        requests.into_iter().for_each(|outgoing| batches.push(outgoing));
                    }
                    Command::EnqueueBatch(part) => {
                        batches.of(&part.route.keys).batches.push(part);
                    }
                    Command::Forget(keys, read) => batches.of(&keys).forget.extend(read),
                    Command::Flush(done) => flushes.push(done),
                }
            }
            // Including callers that gave up right before the flush or before the client was
            // dropped.
            while let Ok(withdrawal) = self.withdrawn.try_recv() {
                batches.withdraw(withdrawal);
            }
            while let Ok(pushed) = self.pushed.try_recv() {
                batches.add_pushed(pushed);
            }
            for batch in batches.0.into_values() {
                for outgoing in self.write(batch).await {
                    if unserved.0.is_empty() {
                        again = Instant::now() + SERVED_POLL;
                    }
                    unserved.push(outgoing);
                }
            }
            for done in flushes {
                let _ = done.send(());
            }
        }
    }

    /// Checks which queues have a worker. Returns the batches of those that have one, and of those
    /// that keep waiting. A request whose grace period is over fails here.
    async fn check_served(&self, unserved: Batches) -> (Batches, Batches) {
        let now = Instant::now();
        let checks = unserved.0.into_iter().map(async |(queue, mut batch)| {
            for requests in [&mut batch.requests, &mut batch.extended] {
                let all = std::mem::take(requests).into_iter();
                requests.extend(all.filter_map(|one| self.within_grace(one, now)));
            }
            let wanted = !batch.requests.is_empty() || !batch.extended.is_empty();
            let served = wanted && self.is_served(&batch.keys).await;
            (served, wanted, queue, batch)
        });
        let (mut served, mut waiting) = (Batches::default(), Batches::default());
        for (is_served, is_wanted, queue, batch) in join_all(checks).await {
            if is_served {
                served.0.insert(queue, batch);
            } else if is_wanted {
                waiting.0.insert(queue, batch);
            }
        }
        (served, waiting)
    }

    async fn is_served(&self, keys: &QueueKeys) -> bool {
        let check = timeout(ATTEMPT_TIMEOUT, self.reads.is_served(keys, ATTEMPT_TIMEOUT));
        check.await.is_ok_and(|served| served.unwrap_or(false))
    }

    /// Returns the request unless its caller has given up or its grace period is over.
    fn within_grace(&self, outgoing: Outgoing, now: Instant) -> Option<Outgoing> {
        if outgoing.is_abandoned(&self.in_flight) {
            return None;
        }
        match outgoing.caller {
            Caller::Waits { until, .. } if until <= now => {
                let error = CallError::no_workers(outgoing.route.keys.name());
                outgoing.fail(&self.in_flight, error);
                None
            }
            Caller::Waits { .. } | Caller::Forgets { .. } => Some(outgoing),
        }
    }

    /// Writes the batch of one queue; returns the requests to be retried.
    async fn write(&mut self, batch: Batch) -> Vec<Outgoing> {
        let Batch { keys, undecided, batches, mut requests, mut extended, withdrawn, mut forget } =
            batch;
        let mut again = Vec::new();
        for (requests, reply) in undecided {
            again.extend(self.decide(requests, &reply).await);
        }
        self.direct.answered(keys.name()).await;
        let mut batches = batches.into_iter().peekable();
        while batches.peek().is_some() {
            self.enqueue_batches(take_batches(&mut batches)).await;
        }
        while !requests.is_empty() {
            let batch = take_batch(&mut requests);
            again.extend(self.enqueue(&keys, batch, &std::mem::take(&mut forget)).await);
        }
        while !extended.is_empty() {
            let batch = take_batch(&mut extended);
            again.extend(self.enqueue_ext(&keys, batch).await);
        }
        // After the requests, so that each cancelled request is written already.
        self.withdraw(&keys, withdrawn).await;
        if !forget.is_empty() {
            // On failure, the keys expire by their TTL.
            let _ = timeout(ATTEMPT_TIMEOUT, self.reads.forget(&forget, ATTEMPT_TIMEOUT)).await;
        }
        again
    }

    /// Waits for a connection; returns `false` if the requests are abandoned first.
    async fn wait_up(&self, is_abandoned: impl Fn() -> bool) -> bool {
        while !self.link.wait_up(ATTEMPT_TIMEOUT).await {
            if is_abandoned() {
                return false;
            }
        }
        true
    }

    /// Waits for a connection, marks the requests as sent, and returns those whose callers still
    /// wait.
    async fn claim(&self, requests: Vec<Outgoing>) -> Vec<Outgoing> {
        let is_abandoned =
            || requests.iter().all(|outgoing| outgoing.is_abandoned(&self.in_flight));
        if !self.wait_up(is_abandoned).await {
            return Vec::new();
        }
        requests.into_iter().filter(|outgoing| outgoing.claim(&self.in_flight)).collect()
    }

    async fn enqueue(
        &self,
        keys: &QueueKeys,
        requests: Vec<Outgoing>,
        forget: &[String],
    ) -> Vec<Outgoing> {
        let requests = self.claim(requests).await;
        let Some(first) = requests.first() else { return Vec::new() };
        let route = first.route.route().clone();
        let elements: Vec<Element<'_>> = requests.iter().map(Outgoing::element).collect();
        let outcomes = self.enqueue_elements(&route, &elements, forget).await;
        self.end(keys, requests, outcomes)
    }

    /// Decides on requests that their callers have pushed.
    async fn decide(&self, requests: Vec<Outgoing>, reply: &PushReply) -> Vec<Outgoing> {
        let Some(first) = requests.first() else { return Vec::new() };
        let route = first.route.route().clone();
        let enqueue = Enqueue { link: &self.link, route: &route, timeout: ATTEMPT_TIMEOUT };
        let elements: Vec<Element<'_>> = requests.iter().map(Outgoing::element).collect();
        let outcomes = enqueue.decide(&elements, reply).await;
        self.end(&route.keys, requests, outcomes)
    }

    /// Notifies the callers; returns the requests to be retried.
    fn end(
        &self,
        keys: &QueueKeys,
        requests: Vec<Outgoing>,
        outcomes: Vec<Result<Outcome, StoreError>>,
    ) -> Vec<Outgoing> {
        let mut again = Vec::new();
        let now = Instant::now();
        for (outgoing, outcome) in requests.into_iter().zip(outcomes) {
            match outcome {
                Ok(Outcome::Queued) => outgoing.confirm(None),
                Ok(Outcome::NoWorkers) => again.extend(self.unserved(outgoing, now)),
                Ok(Outcome::AnswersFull) => {
                    outgoing.fail(&self.in_flight, answers_full(keys.name()));
                }
                Ok(Outcome::Full) => outgoing.fail(&self.in_flight, full()),
                Err(error) => outgoing.fail(&self.in_flight, error.into()),
            }
        }
        again
    }

    async fn enqueue_elements(
        &self,
        route: &Route,
        elements: &[Element<'_>],
        forget: &[String],
    ) -> Vec<Result<Outcome, StoreError>> {
        let enqueue = Enqueue { link: &self.link, route, timeout: ATTEMPT_TIMEOUT };
        enqueue.run(elements, forget).await
    }

    async fn enqueue_batches(&self, mut batches: Vec<OutgoingBatch>) {
        let is_abandoned = || batches.iter().all(|batch| batch.done.is_closed());
        if !self.wait_up(is_abandoned).await {
            return;
        }
        batches.retain(OutgoingBatch::claim);
        let Some(first) = batches.first() else { return };
        let route = first.route.route().clone();
        let envelopes = batches.iter().flat_map(|batch| batch.envelopes.iter());
        let elements: Vec<Element<'_>> =
            envelopes.map(|envelope| Element { envelope, waited: false }).collect();
        let mut outcomes = self.enqueue_elements(&route, &elements, &[]).await.into_iter();
        for batch in batches {
            let own = outcomes.by_ref().take(batch.envelopes.len()).enumerate();
            let failed = own.filter_map(|(at, outcome)| match outcome {
                Ok(Outcome::Full) => Some((at, full())),
                Ok(Outcome::Queued | Outcome::NoWorkers | Outcome::AnswersFull) => None,
                Err(error) => Some((at, error.into())),
            });
            let _ = batch.done.send(failed.collect());
        }
    }

    /// Returns the request to be retried, or fails it if its grace period is over.
    fn unserved(&self, outgoing: Outgoing, now: Instant) -> Option<Outgoing> {
        match &outgoing.caller {
            Caller::Waits { id, until } if *until > now => {
                self.in_flight.mark_unserved(id);
                Some(outgoing)
            }
            _ => {
                let error = CallError::no_workers(outgoing.route.keys.name());
                outgoing.fail(&self.in_flight, error);
                None
            }
        }
    }

    async fn enqueue_ext(&self, keys: &QueueKeys, requests: Vec<Outgoing>) -> Vec<Outgoing> {
        let mut requests = self.claim(requests).await;
        if requests.is_empty() {
            return Vec::new();
        }
        let elements = requests.iter_mut().filter_map(|outgoing| {
            match std::mem::replace(&mut outgoing.payload, Payload::Taken) {
                Payload::Scripted(element) => Some(*element),
                Payload::Push(_) | Payload::Taken => None, // not in this batch
            }
        });
        let elements: Vec<EnqueueExt> = elements.collect();
        let results = self
            .link
            .enqueue_ext(keys, self.caps.of(keys.name()), &elements, ATTEMPT_TIMEOUT)
            .await;
        let results = match results {
            Ok(results) => results,
            Err(error) => elements.iter().map(|_| Err(error.clone())).collect(),
        };
        let mut again = Vec::new();
        let now = Instant::now();
        for ((mut outgoing, element), result) in requests.into_iter().zip(elements).zip(results) {
            let error = match result {
                Ok(EnqueueExtResult::Queued) => {
                    outgoing.confirm(None);
                    continue;
                }
                Ok(EnqueueExtResult::Deduplicated(id) | EnqueueExtResult::Replayed(id)) => {
                    outgoing.confirm(Some(id));
                    continue;
                }
                Ok(EnqueueExtResult::NoWorkers) => {
                    outgoing.payload = Payload::Scripted(Box::new(element));
                    again.extend(self.unserved(outgoing, now));
                    continue;
                }
                Ok(EnqueueExtResult::Conflict) => {
                    let message = "the idempotency key is in use with other data";
                    CallError::rejected(Code::Conflict, message)
                }
                Ok(EnqueueExtResult::TooManyWaiters) => CallError::overloaded(
                    "100 callers already wait for the call of this idempotency key; retry later",
                ),
                Ok(EnqueueExtResult::Full) => full(),
                Ok(EnqueueExtResult::AnswersFull) => answers_full(keys.name()),
                Err(error) => error.into(),
            };
            outgoing.fail(&self.in_flight, error);
        }
        again
    }

    /// Writes cancellations. On a transient error they are retried later.
    async fn withdraw(&mut self, keys: &QueueKeys, mut withdrawn: Vec<Withdrawal>) {
        while !withdrawn.is_empty() {
            let rest = withdrawn.split_off(withdrawn.len().min(REQUESTS_MAX));
            let written: Vec<CancelRequest> =
                withdrawn.iter().map(Withdrawal::as_written).collect();
            // Does not wait for a connection: requests may be queued behind this.
            match self.link.cancel(keys, &written, Duration::ZERO).await {
                Ok((_, ended)) => {
                    self.results.publish_cancelled(&self.link, &ended, Duration::ZERO).await;
                }
                Err(error) if error.is_transient() => self.unwritten.append(&mut withdrawn),
                Err(error) => tracing::warn!(%error, "cancellations not written"),
            }
            withdrawn = rest;
        }
    }
}

/// Removes as many `requests` as fit into one command.
fn take_batch(requests: &mut Vec<Outgoing>) -> Vec<Outgoing> {
    let count = batch_len(requests.iter().take(REQUESTS_MAX).map(Outgoing::size));
    requests.drain(..count).collect()
}

/// Removes as many parts of batches as are written at once.
fn take_batches(batches: &mut Peekable<impl Iterator<Item = OutgoingBatch>>) -> Vec<OutgoingBatch> {
    let (mut count, mut bytes) = (0, 0);
    let mut taken: Vec<OutgoingBatch> = Vec::new();
    while let Some(batch) = batches.next_if(|next| {
        (count, bytes) = (count + next.envelopes.len(), bytes + next.envelopes.size());
        taken.is_empty() || (count <= BATCHED_MAX && bytes <= COMMAND_BYTES)
    }) {
        taken.push(batch);
    }
    taken
}

fn full() -> CallError {
    CallError::overloaded("the queue is full (limits.max_length); retry later")
}

fn answers_full(queue: &str) -> CallError {
    let message = format!(
        "queue `{queue}` has reached its limit of answer bytes \
         (queues.{queue}.answers_max_bytes); fetch answers, or retry later"
    );
    CallError::overloaded(&message)
}

#[cfg(test)]
mod tests;
