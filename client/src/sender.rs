//! The one task that writes requests: whatever callers hand in meanwhile goes out in one write.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use redcall_common::error::Code;
use redcall_common::keys::QueueKeys;
use redcall_common::limits::portion;
use redcall_store::{Enqueued, Item, Link, Placed, Placement, Waited, Withdrawn};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use crate::cancel::Withdrawal;
use crate::error::CallError;
use crate::in_flight::InFlight;
use crate::send_claim::SendClaim;
use crate::settle::ResultEvents;

/// How many commands go out in one write at most.
const BATCH_MAX: usize = 1024;
/// How many things that callers have handed in are dealt with at once: while Redis queues some,
/// more are handed in.
const COMMANDS_MAX: usize = 256;
/// How often it is asked whether a queue that nobody serves yet has got a worker.
const SERVED_POLL: Duration = Duration::from_millis(50);
/// How long one look for a connection lasts; calls end by their own timeouts meanwhile.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(250);

/// What callers hand in.
pub(crate) enum Command {
    /// Push requests.
    Enqueue(Vec<Outgoing>),
    /// Delete a response key that has been read.
    Forget(Arc<QueueKeys>, String),
    /// Say when everything handed in before has been written.
    Flush(oneshot::Sender<()>),
}

/// A request on its way out.
pub(crate) struct Outgoing {
    pub(crate) keys: Arc<QueueKeys>,
    pub(crate) payload: Payload,
    pub(crate) caller: Caller,
}

/// What is written of a request.
pub(crate) enum Payload {
    /// Its envelope, pushed with others in one command.
    Push(String),
    /// More than a plain push: a script call of its own.
    Scripted(Box<Placement>),
    /// It has just been taken out to be written.
    Taken,
}

/// The id of the request that a call under an idempotency key has joined, if it has joined one.
pub(crate) type Joined = Option<String>;

/// Who hears what became of the push.
pub(crate) enum Caller {
    /// Somebody waits for the answer; `until` is when absent workers become an error.
    Waits { id: String, until: Instant },
    /// Fire and forget: hears that it was queued.
    Forgets { done: oneshot::Sender<Result<Joined, CallError>>, send_claim: SendClaim },
}

impl Outgoing {
    /// Marks the request as sent, unless its caller has gone: then it must not be queued.
    fn claim(&self, in_flight: &InFlight) -> bool {
        match &self.caller {
            Caller::Waits { id, .. } => in_flight.mark_sent(id),
            Caller::Forgets { done, send_claim } => !done.is_closed() && send_claim.send(),
        }
    }

    fn is_abandoned(&self, in_flight: &InFlight) -> bool {
        match &self.caller {
            Caller::Waits { id, .. } => !in_flight.is_waiting(id),
            Caller::Forgets { done, .. } => done.is_closed(),
        }
    }

    fn size(&self) -> usize {
        match &self.payload {
            Payload::Push(envelope) => envelope.len(),
            Payload::Scripted(placement) => placement.envelope.len(),
            Payload::Taken => 0,
        }
    }

    /// Tells a caller that has let go that its request is queued; who waits hears the answer.
    fn confirm(self, joined: Joined) {
        if let Caller::Forgets { done, .. } = self.caller {
            let _ = done.send(Ok(joined));
        }
    }

    /// Tells the caller that nothing was queued, or may have been.
    pub(crate) fn fail(self, in_flight: &InFlight, error: CallError) {
        match self.caller {
            Caller::Waits { id, .. } => in_flight.fail(&id, error),
            Caller::Forgets { done, .. } => drop(done.send(Err(error))),
        }
    }
}

/// Writes commands until the last client is gone.
pub(crate) struct Sender {
    pub(crate) link: Arc<Link>,
    /// For what must not wait behind requests.
    pub(crate) reads: Arc<Link>,
    pub(crate) in_flight: InFlight,
    pub(crate) caps: Arc<Caps>,
    /// Where it is said that what was withdrawn will not be answered later.
    pub(crate) results: ResultEvents,
    pub(crate) commands: mpsc::Receiver<Command>,
    /// Requests that were sent and are not wanted any more. Each has been written before it comes
    /// out here, since only this task writes.
    pub(crate) withdrawn: mpsc::UnboundedReceiver<Withdrawal>,
    /// Withdrawals that could not be written, until they mean nothing any more.
    pub(crate) unwritten: Vec<Withdrawal>,
}

impl Drop for Sender {
    /// Its runtime has gone, or the last client: no caller waits for an answer in vain.
    fn drop(&mut self) {
        // Before the waiters end: one that registers later cannot hand anything in.
        self.commands.close();
        self.in_flight.end_all();
    }
}

/// How many requests each queue may hold.
pub(crate) struct Caps {
    pub(crate) max: u64,
    /// Where it is not that.
    pub(crate) by_queue: BTreeMap<String, u64>,
}

impl Caps {
    pub(crate) fn of(&self, queue: &str) -> u64 {
        self.by_queue.get(queue).copied().unwrap_or(self.max)
    }
}

/// What goes to one queue.
struct Batch {
    keys: Arc<QueueKeys>,
    requests: Vec<Outgoing>,
    placed: Vec<Outgoing>,
    withdrawn: Vec<Withdrawal>,
    forget: Vec<String>,
}

/// What goes out next, by queue.
#[derive(Default)]
struct Batches(HashMap<Arc<str>, Batch>);

impl Batches {
    fn of(&mut self, keys: &Arc<QueueKeys>) -> &mut Batch {
        let empty = || Batch {
            keys: keys.clone(),
            requests: Vec::new(),
            placed: Vec::new(),
            withdrawn: Vec::new(),
            forget: Vec::new(),
        };
        self.0.entry(keys.name().into()).or_insert_with(empty)
    }

    fn push(&mut self, outgoing: Outgoing) {
        let batch = self.of(&outgoing.keys);
        match outgoing.payload {
            Payload::Scripted(_) => batch.placed.push(outgoing),
            Payload::Push(_) | Payload::Taken => batch.requests.push(outgoing),
        }
    }

    fn withdraw(&mut self, withdrawal: Withdrawal) {
        self.of(&withdrawal.origin.keys).withdrawn.push(withdrawal);
    }
}

impl Sender {
    pub(crate) async fn run(mut self) {
        let mut buffer = Vec::with_capacity(COMMANDS_MAX);
        // Waited requests for queues that nobody serves yet, until their grace is over.
        let mut unserved = Batches::default();
        let (mut again, mut retry) = (Instant::now(), Instant::now());
        let mut stopping = false;
        while !stopping {
            let mut batches = Batches::default();
            let mut flushes = Vec::new();
            tokio::select! {
                count = self.commands.recv_many(&mut buffer, COMMANDS_MAX) => stopping = count == 0,
                Some(withdrawal) = self.withdrawn.recv() => batches.withdraw(withdrawal),
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
                    Command::Forget(keys, key) => batches.of(&keys).forget.push(key),
                    Command::Flush(done) => flushes.push(done),
                }
            }
            // Also of callers that gave up right before the flush, or before the client went.
            while let Ok(withdrawal) = self.withdrawn.try_recv() {
                batches.withdraw(withdrawal);
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

    /// Asks which queues have got a worker, without sending their requests: those that have, and
    /// those that wait on. Requests whose grace is over end here.
    async fn check_served(&self, unserved: Batches) -> (Batches, Batches) {
        let now = Instant::now();
        let checks = unserved.0.into_iter().map(async |(queue, mut batch)| {
            for requests in [&mut batch.requests, &mut batch.placed] {
                let all = std::mem::take(requests).into_iter();
                requests.extend(all.filter_map(|one| self.within_grace(one, now)));
            }
            let wanted = !batch.requests.is_empty() || !batch.placed.is_empty();
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
        let checks = timeout(ATTEMPT_TIMEOUT, self.reads.is_served(keys, ATTEMPT_TIMEOUT));
        checks.await.is_ok_and(|served| served.unwrap_or(false))
    }

    /// The request, unless its caller has gone or its grace is over.
    fn within_grace(&self, outgoing: Outgoing, now: Instant) -> Option<Outgoing> {
        if outgoing.is_abandoned(&self.in_flight) {
            return None;
        }
        match outgoing.caller {
            Caller::Waits { until, .. } if until <= now => {
                let error = CallError::no_workers(outgoing.keys.name());
                outgoing.fail(&self.in_flight, error);
                None
            }
            Caller::Waits { .. } | Caller::Forgets { .. } => Some(outgoing),
        }
    }

    /// Writes one queue's batch; returns what is to be tried again.
    async fn write(&mut self, batch: Batch) -> Vec<Outgoing> {
        let Batch { keys, mut requests, mut placed, withdrawn, mut forget } = batch;
        let mut again = Vec::new();
        while !requests.is_empty() {
            let batch = take_batch(&mut requests);
            again.extend(self.enqueue(&keys, batch, &std::mem::take(&mut forget)).await);
        }
        while !placed.is_empty() {
            let batch = take_batch(&mut placed);
            again.extend(self.place(&keys, batch).await);
        }
        // After the requests: what is withdrawn has been written by now.
        self.withdraw(&keys, withdrawn).await;
        if !forget.is_empty() {
            // Keys that are not deleted here go by their TTL.
            let _ = timeout(ATTEMPT_TIMEOUT, self.reads.forget(&forget, ATTEMPT_TIMEOUT)).await;
        }
        again
    }

    /// Waits for a connection, and returns those whose callers are still there then: from now on
    /// they count as sent.
    async fn claim(&self, requests: Vec<Outgoing>) -> Vec<Outgoing> {
        while !self.link.wait_up(ATTEMPT_TIMEOUT).await {
            if requests.iter().all(|outgoing| outgoing.is_abandoned(&self.in_flight)) {
                return Vec::new();
            }
        }
        requests.into_iter().filter(|outgoing| outgoing.claim(&self.in_flight)).collect()
    }

    async fn enqueue(
        &self,
        keys: &QueueKeys,
        requests: Vec<Outgoing>,
        forget: &[String],
    ) -> Vec<Outgoing> {
        let mut requests = self.claim(requests).await;
        if requests.is_empty() {
            return Vec::new();
        }
        let items = requests.iter_mut().filter_map(|outgoing| {
            let waited = matches!(outgoing.caller, Caller::Waits { .. });
            match std::mem::replace(&mut outgoing.payload, Payload::Taken) {
                Payload::Push(envelope) => Some(Item { waited, envelope }),
                Payload::Scripted(_) | Payload::Taken => None, // there are none here
            }
        });
        let items: Vec<Item> = items.collect();
        match self
            .link
            .enqueue(keys, self.caps.of(keys.name()), &items, forget, ATTEMPT_TIMEOUT)
            .await
        {
            Ok(enqueued) => self.confirm(keys, requests, items, enqueued),
            Err(error) => {
                for outgoing in requests {
                    outgoing.fail(&self.in_flight, error.clone().into());
                }
                Vec::new()
            }
        }
    }

    /// Tells each caller what became of its request.
    fn confirm(
        &self,
        keys: &QueueKeys,
        requests: Vec<Outgoing>,
        items: Vec<Item>,
        enqueued: Enqueued,
    ) -> Vec<Outgoing> {
        let mut left = enqueued.accepted;
        let mut again = Vec::new();
        let now = Instant::now();
        for (outgoing, item) in requests.into_iter().zip(items) {
            match enqueued.waited {
                Waited::NoWorkers if item.waited => {
                    again.extend(self.unserved(outgoing, Payload::Push(item.envelope), now));
                }
                Waited::AnswersFull if item.waited => {
                    outgoing.fail(&self.in_flight, answers_full(keys.name()));
                }
                _ if left > 0 => {
                    left -= 1;
                    outgoing.confirm(None);
                }
                _ => outgoing.fail(&self.in_flight, full()),
            }
        }
        again
    }

    /// A request that was left out because no worker listens, if there is time to try it again.
    fn unserved(&self, mut outgoing: Outgoing, payload: Payload, now: Instant) -> Option<Outgoing> {
        match &outgoing.caller {
            Caller::Waits { id, until } if *until > now => {
                self.in_flight.mark_unserved(id);
                outgoing.payload = payload;
                Some(outgoing)
            }
            _ => {
                let error = CallError::no_workers(outgoing.keys.name());
                outgoing.fail(&self.in_flight, error);
                None
            }
        }
    }

    async fn place(&self, keys: &QueueKeys, requests: Vec<Outgoing>) -> Vec<Outgoing> {
        let mut requests = self.claim(requests).await;
        if requests.is_empty() {
            return Vec::new();
        }
        let placements = requests.iter_mut().filter_map(|outgoing| {
            match std::mem::replace(&mut outgoing.payload, Payload::Taken) {
                Payload::Scripted(placement) => Some(*placement),
                Payload::Push(_) | Payload::Taken => None, // there are none here
            }
        });
        let placements: Vec<Placement> = placements.collect();
        let placed =
            self.link.place(keys, self.caps.of(keys.name()), &placements, ATTEMPT_TIMEOUT).await;
        let placed = match placed {
            Ok(placed) => placed,
            Err(error) => placements.iter().map(|_| Err(error.clone())).collect(),
        };
        let mut again = Vec::new();
        let now = Instant::now();
        for ((outgoing, placement), placed) in requests.into_iter().zip(placements).zip(placed) {
            let error = match placed {
                Ok(Placed::Queued) => {
                    outgoing.confirm(None);
                    continue;
                }
                Ok(Placed::Deduplicated(id) | Placed::Replayed(id)) => {
                    outgoing.confirm(Some(id));
                    continue;
                }
                Ok(Placed::NoWorkers) => {
                    let payload = Payload::Scripted(Box::new(placement));
                    again.extend(self.unserved(outgoing, payload, now));
                    continue;
                }
                Ok(Placed::Conflict) => {
                    let message = "the idempotency key was used with other data";
                    CallError::rejected(Code::Conflict, message)
                }
                Ok(Placed::TooManyWaiters) => CallError::overloaded(
                    "100 callers wait for the call of this idempotency key; try again later",
                ),
                Ok(Placed::Full) => full(),
                Ok(Placed::AnswersFull) => answers_full(keys.name()),
                Err(error) => error.into(),
            };
            outgoing.fail(&self.in_flight, error);
        }
        again
    }

    /// Withdraws requests; what cannot be written now is tried again.
    async fn withdraw(&mut self, keys: &QueueKeys, mut withdrawn: Vec<Withdrawal>) {
        while !withdrawn.is_empty() {
            let rest = withdrawn.split_off(withdrawn.len().min(BATCH_MAX));
            let written: Vec<Withdrawn> = withdrawn.iter().map(Withdrawal::as_written).collect();
            // No wait for a connection: requests may be behind this.
            match self.link.cancel(keys, &written, Duration::ZERO).await {
                Ok((_, ended)) => {
                    self.results.publish_cancelled(&self.link, &ended, Duration::ZERO).await;
                }
                Err(error) if error.is_transient() => self.unwritten.append(&mut withdrawn),
                Err(error) => tracing::warn!(%error, "calls could not be withdrawn"),
            }
            withdrawn = rest;
        }
    }
}

/// As many of `requests` as go into one command.
fn take_batch(requests: &mut Vec<Outgoing>) -> Vec<Outgoing> {
    let portion = portion(requests.iter().take(BATCH_MAX).map(Outgoing::size));
    requests.drain(..portion).collect()
}

fn full() -> CallError {
    CallError::overloaded("the queue is full (limits.max_length); try again later")
}

fn answers_full(queue: &str) -> CallError {
    let message = format!(
        "the queue keeps as many bytes of answers as it may (queues.{queue}.answers_max_bytes); \
         fetch some, or try again later"
    );
    CallError::overloaded(&message)
}
