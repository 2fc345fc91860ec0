//! One caller: it makes calls of all kinds, one after the other, with a client of its own.

use std::time::Duration;

use fastrand::Rng;
use redcall_client::{CallError, Client, RequestBuilder, Response, Ticket, Update};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::call_log::{CallLog, Op};
use crate::history::{CallResult, Kind};
use crate::work::{NAMES, QUEUES, QUICK, RETRIED, Task};

/// The number of requests in a burst of fire-and-forget calls.
const BURST: usize = 50;
/// The number of quick calls at once.
const QUICK_CALLS: usize = 16;
/// The number of retries of an operation without a result.
const AGAIN: usize = 10;
const PAUSE: Duration = Duration::from_millis(100);

/// Makes calls until the run ends.
pub(crate) struct Caller {
    name: usize,
    client: Client,
    /// The client of another caller: callers that use one idempotency key are independent.
    other: Client,
    log: CallLog,
    timeout: Duration,
    rng: Rng,
    made: u64,
}

impl Caller {
    pub(crate) fn new(
        name: usize,
        clients: (Client, Client),
        log: CallLog,
        timeout: Duration,
        seed: u64,
    ) -> Self {
        // As the seed of the plan is one number, that of each caller is another.
        let rng = Rng::with_seed(seed ^ (name as u64 + 1) << 32);
        let (client, other) = clients;
        Self { name, client, other, log, timeout, rng, made: 0 }
    }

    /// Calls until `end`; returns when the last call has ended.
    pub(crate) async fn run(mut self, end: CancellationToken) {
        let mut later = JoinSet::new();
        while !end.is_cancelled() {
            match self.rng.u32(0..100) {
                0..30 => self.wait(Kind::Waited).await,
                30..40 => self.wait_for_quick().await,
                40..58 => self.forget().await,
                58..60 => self.forget_many().await,
                60..70 => self.stream().await,
                70..80 => self.schedule(&mut later).await,
                80..90 => self.call_twice().await,
                _ => self.wait(Kind::Retried).await,
            }
            while later.try_join_next().is_some() {}
            sleep(Duration::from_millis(self.rng.u64(0..40))).await;
        }
        while later.join_next().await.is_some() {}
    }

    /// Returns a job with an id that was not used before.
    fn task(&mut self) -> Task {
        self.made += 1;
        Task {
            job: format!("{}.{}", self.name, self.made),
            ms: self.rng.u64(1..30),
            fails: 0,
            frames: 0,
            responds: self.rng.bool(),
        }
    }

    fn request(&mut self, name: &str, task: &Task) -> RequestBuilder {
        let queue = QUEUES[self.rng.usize(..QUEUES.len())];
        self.client.request(name).data(task).queue(queue)
    }

    async fn wait(&mut self, kind: Kind) {
        let mut task = self.task();
        let name = if kind == Kind::Retried { RETRIED } else { NAMES[0] };
        if kind == Kind::Retried {
            task.fails = self.rng.u32(1..3);
        }
        let request = self.request(name, &task);
        let op = self.log.begins(&task.job, kind, self.timeout);
        op.answered(request.wait().await);
    }

    async fn wait_for_quick(&mut self) {
        let (mut ops, mut requests) = (Vec::new(), Vec::new());
        for _ in 0..QUICK_CALLS {
            let task = Task { ms: 0, responds: false, ..self.task() };
            requests.push(self.client.request(NAMES[0]).data(&task).queue(QUICK));
            ops.push(self.log.begins(&task.job, Kind::Quick, self.timeout));
        }
        let answers = self.client.wait_many(requests).await;
        for (op, answer) in ops.into_iter().zip(answers) {
            op.answered(answer);
        }
    }

    async fn forget(&mut self) {
        let task = self.task();
        let request = self.request(NAMES[0], &task);
        let op = self.log.begins(&task.job, Kind::Forgotten, self.timeout);
        op.sent(request.send().await);
    }

    async fn forget_many(&mut self) {
        let (mut ops, mut requests) = (Vec::new(), Vec::new());
        for _ in 0..BURST {
            let task = self.task();
            requests.push(self.request(NAMES[0], &task));
            ops.push(self.log.begins(&task.job, Kind::Forgotten, self.timeout));
        }
        let receipts = self.client.call_many(requests).await;
        for (op, receipt) in ops.into_iter().zip(receipts) {
            op.sent(receipt);
        }
    }

    async fn stream(&mut self) {
        let mut task = self.task();
        task.frames = self.rng.u32(1..8);
        let request = self.request(NAMES[0], &task);
        let op = self.log.begins(&task.job, Kind::Streamed, self.timeout);
        let followed = follow(request, &op).await;
        op.answered(followed);
    }

    async fn schedule(&mut self, later: &mut JoinSet<()>) {
        let task = self.task();
        let delay = Duration::from_millis(self.rng.u64(0..2000));
        let request = self.request(NAMES[0], &task).delay(delay);
        let op = self.log.begins(&task.job, Kind::Scheduled, self.timeout);
        let Some(ticket) = op.sent(request.submit().await) else { return };
        let (client, log, timeout) = (self.client.clone(), self.log.clone(), self.timeout + delay);
        later.spawn(async move { fetch(&client, &log, &task.job, ticket, timeout).await });
    }

    /// Two callers make the same call, and make it again until they have an answer.
    async fn call_twice(&mut self) {
        let task = self.task();
        let queue = QUEUES[self.rng.usize(..QUEUES.len())];
        let call = async |client: &Client| {
            for _ in 0..AGAIN {
                let request = client.request(NAMES[0]).data(&task).queue(queue);
                let op = self.log.begins(&task.job, Kind::Idempotent, self.timeout);
                if op.answered(request.idempotency_key(&task.job).wait().await) {
                    return;
                }
                sleep(PAUSE).await;
            }
        };
        tokio::join!(call(&self.client), call(&self.other));
    }
}

async fn follow(request: RequestBuilder, op: &Op) -> Result<Response, CallError> {
    let mut updates = request.stream().await?;
    let mut attempt = 1;
    loop {
        // Without an end it would hang here, and be found out.
        let Some(update) = updates.next().await else { std::future::pending().await };
        match update? {
            Update::Pending | Update::Deferred { .. } => {}
            Update::Restarted { attempt: next } => attempt = next,
            Update::Progress(data) => {
                let percent = data.get().parse().unwrap_or_default();
                op.log_result(CallResult::Received { attempt, percent });
            }
            Update::Chunk(_) => {}
            Update::Done(response) => return Ok(response),
        }
    }
}

/// Fetches the answer of a request that is queued for certain.
async fn fetch(client: &Client, log: &CallLog, job: &str, ticket: Ticket, timeout: Duration) {
    for _ in 0..AGAIN {
        let op = log.begins(job, Kind::Scheduled, timeout);
        if op.answered(client.fetch_timeout(&ticket.response_key, timeout).await) {
            return;
        }
        sleep(PAUSE).await;
    }
}
