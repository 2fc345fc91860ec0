//! The one task that writes requests: whatever callers hand in meanwhile goes out in one write.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use redcall_common::error::Code;
use redcall_common::limits::portion;
use redcall_common::store::keys::QueueKeys;
use redcall_common::store::{Enqueued, Item, Link};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use crate::error::CallError;
use crate::handover::Handover;
use crate::pending::Pending;

/// How many commands go out in one write at most.
const PORTION: usize = 1024;
/// How often it is asked whether a queue that nobody serves yet has got a worker.
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// How long one look for a connection lasts; calls end by their own timeouts meanwhile.
const LOOK: Duration = Duration::from_millis(250);

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
    pub(crate) envelope: String,
    pub(crate) caller: Caller,
}

/// Who hears what became of the push.
pub(crate) enum Caller {
    /// Somebody waits for the answer; `until` is when absent workers become an error.
    Waits { id: String, until: Instant },
    /// Fire and forget: hears that it was queued.
    Forgets { done: oneshot::Sender<Result<(), CallError>>, handover: Handover },
}

impl Outgoing {
    /// Marks the request as sent, unless its caller has gone: then it must not be queued.
    fn claim(&self, pending: &Pending) -> bool {
        match &self.caller {
            Caller::Waits { id, .. } => pending.mark_sent(id),
            Caller::Forgets { done, handover } => !done.is_closed() && handover.send(),
        }
    }

    fn is_abandoned(&self, pending: &Pending) -> bool {
        match &self.caller {
            Caller::Waits { id, .. } => !pending.is_waiting(id),
            Caller::Forgets { done, .. } => done.is_closed(),
        }
    }

    /// Tells the caller that nothing was queued, or may have been.
    pub(crate) fn fail(self, pending: &Pending, error: CallError) {
        match self.caller {
            Caller::Waits { id, .. } => pending.fail(&id, error),
            Caller::Forgets { done, .. } => drop(done.send(Err(error))),
        }
    }
}

/// Writes commands until the last client is gone.
pub(crate) struct Sender {
    pub(crate) link: Arc<Link>,
    /// For what must not wait behind requests.
    pub(crate) reads: Arc<Link>,
    pub(crate) pending: Pending,
    pub(crate) max_length: u64,
    pub(crate) commands: mpsc::Receiver<Command>,
}

/// What goes to one queue.
struct Batch {
    keys: Arc<QueueKeys>,
    requests: Vec<Outgoing>,
    forget: Vec<String>,
}

/// What goes out next, by queue.
#[derive(Default)]
struct Batches(HashMap<Arc<str>, Batch>);

impl Batches {
    fn of(&mut self, keys: &Arc<QueueKeys>) -> &mut Batch {
        let empty = || Batch { keys: keys.clone(), requests: Vec::new(), forget: Vec::new() };
        self.0.entry(keys.name().into()).or_insert_with(empty)
    }
}

impl Sender {
    pub(crate) async fn run(mut self) {
        let mut buffer = Vec::with_capacity(PORTION);
        // Waited requests for queues that nobody serves yet, until their grace is over.
        let mut unserved = Batches::default();
        let mut again = Instant::now();
        loop {
            let mut batches = Batches::default();
            let mut flushes = Vec::new();
            tokio::select! {
                count = self.commands.recv_many(&mut buffer, PORTION) => if count == 0 { return },
                () = sleep_until(again), if !unserved.0.is_empty() => {
                    (batches, unserved) = self.ask(unserved).await;
                    again = Instant::now() + ASK_AGAIN;
                }
            }
            for command in buffer.drain(..) {
                match command {
                    Command::Enqueue(requests) => {
                        for outgoing in requests {
                            batches.of(&outgoing.keys).requests.push(outgoing);
                        }
                    }
                    Command::Forget(keys, key) => batches.of(&keys).forget.push(key),
                    Command::Flush(done) => flushes.push(done),
                }
            }
            for batch in batches.0.into_values() {
                for outgoing in self.write(batch).await {
                    if unserved.0.is_empty() {
                        again = Instant::now() + ASK_AGAIN;
                    }
                    unserved.of(&outgoing.keys).requests.push(outgoing);
                }
            }
            for done in flushes {
                let _ = done.send(());
            }
        }
    }

    /// Asks which queues have got a worker, without sending their requests: those that have, and
    /// those that wait on. Requests whose grace is over end here.
    async fn ask(&self, unserved: Batches) -> (Batches, Batches) {
        let now = Instant::now();
        let asking = unserved.0.into_iter().map(async |(queue, mut batch)| {
            let requests = std::mem::take(&mut batch.requests).into_iter();
            batch.requests = requests.filter_map(|one| self.within_grace(one, now)).collect();
            let served = !batch.requests.is_empty() && self.is_served(&batch.keys).await;
            (served, queue, batch)
        });
        let (mut served, mut waiting) = (Batches::default(), Batches::default());
        for (is_served, queue, batch) in join_all(asking).await {
            if is_served {
                served.0.insert(queue, batch);
            } else if !batch.requests.is_empty() {
                waiting.0.insert(queue, batch);
            }
        }
        (served, waiting)
    }

    async fn is_served(&self, keys: &QueueKeys) -> bool {
        let asking = timeout(LOOK, self.reads.is_served(keys, LOOK));
        asking.await.is_ok_and(|served| served.unwrap_or(false))
    }

    /// The request, unless its caller has gone or its grace is over.
    fn within_grace(&self, outgoing: Outgoing, now: Instant) -> Option<Outgoing> {
        if outgoing.is_abandoned(&self.pending) {
            return None;
        }
        match outgoing.caller {
            Caller::Waits { until, .. } if until <= now => {
                let error = CallError::no_workers(outgoing.keys.name());
                outgoing.fail(&self.pending, error);
                None
            }
            Caller::Waits { .. } | Caller::Forgets { .. } => Some(outgoing),
        }
    }

    /// Writes one queue's batch; returns what is to be tried again.
    async fn write(&self, mut batch: Batch) -> Vec<Outgoing> {
        let mut again = Vec::new();
        let mut forget = batch.forget;
        while !batch.requests.is_empty() {
            let sizes = batch.requests.iter().take(PORTION).map(|one| one.envelope.len());
            let portion = portion(sizes);
            let portion: Vec<Outgoing> = batch.requests.drain(..portion).collect();
            again.extend(self.enqueue(&batch.keys, portion, &std::mem::take(&mut forget)).await);
        }
        if !forget.is_empty() {
            // Keys that are not deleted here go by their TTL.
            let _ = timeout(LOOK, self.reads.forget(&forget, LOOK)).await;
        }
        again
    }

    async fn enqueue(
        &self,
        keys: &QueueKeys,
        requests: Vec<Outgoing>,
        forget: &[String],
    ) -> Vec<Outgoing> {
        while !self.link.wait_up(LOOK).await {
            if requests.iter().all(|outgoing| outgoing.is_abandoned(&self.pending)) {
                return Vec::new();
            }
        }
        let (requests, items) = self.claim(requests);
        if requests.is_empty() {
            return Vec::new();
        }
        match self.link.enqueue(keys, self.max_length, &items, forget, LOOK).await {
            Ok(enqueued) => self.confirm(requests, items, enqueued),
            Err(error) => {
                for outgoing in requests {
                    outgoing.fail(&self.pending, error.clone().into());
                }
                Vec::new()
            }
        }
    }

    fn claim(&self, requests: Vec<Outgoing>) -> (Vec<Outgoing>, Vec<Item>) {
        let claimed = requests.into_iter().filter(|outgoing| outgoing.claim(&self.pending));
        claimed
            .map(|mut outgoing| {
                let envelope = std::mem::take(&mut outgoing.envelope);
                let waited = matches!(outgoing.caller, Caller::Waits { .. });
                (outgoing, Item { waited, envelope })
            })
            .unzip()
    }

    /// Tells each caller what became of its request.
    fn confirm(
        &self,
        requests: Vec<Outgoing>,
        items: Vec<Item>,
        enqueued: Enqueued,
    ) -> Vec<Outgoing> {
        let mut left = enqueued.accepted;
        let mut again = Vec::new();
        let now = Instant::now();
        for (mut outgoing, item) in requests.into_iter().zip(items) {
            let served = enqueued.live || !item.waited;
            if served && left > 0 {
                left -= 1;
                if let Caller::Forgets { done, .. } = outgoing.caller {
                    let _ = done.send(Ok(()));
                }
            } else if served {
                let message = "the queue is full (limits.max_length); try again later";
                outgoing.fail(&self.pending, CallError::rejected(Code::Overloaded, message));
            } else {
                let queue = outgoing.keys.name().to_owned();
                match &outgoing.caller {
                    Caller::Waits { id, until } if *until > now => {
                        self.pending.mark_unserved(id);
                        outgoing.envelope = item.envelope;
                        again.push(outgoing);
                    }
                    _ => outgoing.fail(&self.pending, CallError::no_workers(&queue)),
                }
            }
        }
        again
    }
}
