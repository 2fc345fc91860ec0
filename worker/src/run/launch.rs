//! The start of a leased element: to a running handler, or to the outcome that it gets instead.

use std::pin::Pin;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{AbortHandle, abortable};
use redcall_common::decode::{decode, decode_unleased};
use redcall_common::error::{Code, WireError};
use redcall_common::request::DecodedRequest;
use redcall_common::settings::OnWorkerLoss;
use redcall_store::{Leased, Outcome, Record, Session as _, Settlement, WorkerKeys};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::mapping::{Mapped, Mapping};
use crate::run::auth::{self, Verified};
use crate::run::execute::{budget_left, execute, is_late};
use crate::run::job::{Job, Shared};
use crate::run::outcome;
use crate::run::request::Request;
use crate::run::settlement::PendingSettlement;
use crate::run::young::Young;

/// A job that has been started.
pub(crate) struct Launched {
    pub(crate) job: std::sync::Weak<Job>,
    pub(crate) name: String,
    /// Number of this run.
    pub(crate) attempt: u32,
    pub(crate) started: Instant,
    /// Deadline by the mapping's timeout.
    pub(crate) by_mapping: Instant,
    /// The caller's deadline, as last received.
    pub(crate) deadline: Option<Instant>,
    pub(crate) timeout: Duration,
    /// Most runs of its name in this worker, if its mapping limits them.
    pub(crate) max_running: Option<usize>,
    /// `true` if its handler is a pool, whose capacity limits the runs of all its names.
    pub(crate) shares_pool: bool,
    pub(crate) cancel: CancellationToken,
    pub(crate) abort: AbortHandle,
}

impl Launched {
    /// Returns `true` if the runs of its name are counted.
    pub(crate) fn is_counted(&self) -> bool {
        self.shares_pool || self.max_running.is_some()
    }
}

/// A job's run, to be spawned.
pub(crate) type RunFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Spawns runs. Several are spawned from one task on the runtime: each spawn from outside wakes a
/// thread of the runtime, which competes with this one.
pub(crate) fn spawn_all(runs: Vec<RunFuture>, handlers: &tokio::runtime::Handle) {
    match runs.len() {
        0 => {}
        1 => runs.into_iter().for_each(|run| drop(handlers.spawn(run))),
        _ => {
            drop(handlers.spawn(async { runs.into_iter().for_each(|run| drop(tokio::spawn(run))) }))
        }
    }
}

/// The parts of a worker that a launch needs.
pub(crate) struct Launcher<'a> {
    pub(crate) keys: &'a Arc<WorkerKeys>,
    pub(crate) mapping: &'a Mapping,
    pub(crate) shared: &'a Arc<Shared>,
}

impl Launcher<'_> {
    /// Starts one job, after all checks: readable, authorised, not cancelled, in time, mapped,
    /// within its crash limit. `running` returns the number of runs of a name in this worker.
    pub(crate) fn launch(
        &self,
        leased: &Leased,
        serial: u64,
        running: impl Fn(&str) -> usize,
    ) -> Result<(Launched, RunFuture), Box<PendingSettlement>> {
        let queue = &self.keys.queue;
        let record = leased.mark.record;
        let attempt = record.attempt + 1;
        let mut request = decode(&leased.raw, &leased.id, queue, &self.shared.limits)
            .map_err(|rejected| outcome::reject(leased, rejected, queue, attempt))
            .map_err(|outcome| Box::new(PendingSettlement::without_receiver(outcome, None)))?;
        self.mapping.keep_status(&mut request);
        let unauthorized = |request: &DecodedRequest, refusal| {
            let outcome = outcome::unauthorized(request, queue, refusal, attempt);
            let job = self.mapping.get(&request.name).map(|_| request.name.clone());
            Box::new(PendingSettlement::without_receiver(outcome, job))
        };
        // Checked first: an unauthorised caller learns nothing about jobs.
        let verified = auth::verify(self.mapping.keyring().map(Arc::as_ref), &mut request, queue)
            .map_err(|refusal| unauthorized(&request, refusal))?;
        let refuse = |code, message: &str, dead_letter: bool| {
            let (error, ttl) = (WireError::new(code, message), self.shared.idempotency_ttl);
            let mut outcome =
                outcome::refuse(&request, queue, attempt, (error, None), dead_letter, ttl);
            if let Some(verified) = &verified {
                outcome.spent = verified.spent_before(leased.mark);
                outcome.settlement = outcome::as_refusal(outcome.settlement, code, message);
            }
            let job = self.mapping.get(&request.name).map(|_| request.name.clone());
            Err(Box::new(PendingSettlement::without_receiver(outcome, job)))
        };
        if leased.mark.cancelled {
            let message = "the call was cancelled before the job started";
            return refuse(Code::Cancelled, message, false);
        }
        // Other callers may have joined the call with later deadlines: `execute` checks.
        let is_shared = request.idempotency_key.is_some();
        let now_ms = self.shared.link.now_ms();
        let left = if is_shared { None } else { budget_left(&request, now_ms) };
        if left.is_some_and(|left| left.is_zero()) {
            let message = "the caller's timeout ended while the request was queued";
            return refuse(Code::DeadlineExceeded, message, false);
        }
        if !is_shared && is_late(&request, now_ms) {
            let message = "the time in which the job may start (start_ms) is over";
            return refuse(Code::DeadlineExceeded, message, false);
        }
        if let Some(verified) = &verified {
            verified.in_time(record, now_ms).map_err(|refusal| unauthorized(&request, refusal))?;
        }
        let Some(mapped) = self.mapping.get(&request.name) else {
            let spent = verified.as_ref().and_then(|verified| verified.spent_before(leased.mark));
            let outcome = Outcome { spent, ..outcome::unknown(request, queue, attempt) };
            return Err(Box::new(PendingSettlement::without_receiver(outcome, None)));
        };
        if let Some(message) = mapped.misplaced(&request.name, queue) {
            return refuse(Code::InvalidRequest, &message, false);
        }
        if let Some(message) = mapped.misread_key(&leased.raw) {
            return refuse(Code::InvalidData, &message, false);
        }
        let rules = &mapped.rules;
        if record.crashes > 0 && rules.on_worker_loss == OnWorkerLoss::Fail {
            let message =
                "the worker died while the job ran, which must not run twice (on_worker_loss)";
            return refuse(Code::WorkerLost, message, true);
        }
        if record.crashes >= rules.max_crashes {
            let message = format!("{} workers died while they ran the job", record.crashes);
            return refuse(Code::WorkerLost, &message, true);
        }
        if rules.concurrency.is_some_and(|max_running| running(&request.name) >= max_running) {
            let back = Outcome::new(&leased.id, Settlement::Back);
            return Err(Box::new(PendingSettlement::without_receiver(back, None)));
        }
        Ok(self.start((request, verified), left, mapped, record, (serial, None)))
    }

    /// Starts a request from a lane inbox; `None`: it needs a real lease, and has to return to the
    /// queue. The caller has checked that the queue has only plain requests.
    pub(crate) fn launch_young(
        &self,
        raw: &[u8],
        serial: u64,
        young: Arc<Young>,
    ) -> Option<(Launched, RunFuture)> {
        let queue = &self.keys.queue;
        let mut request = decode_unleased(raw, queue, &self.shared.limits)?;
        self.mapping.keep_status(&mut request);
        let mapped = self.mapping.get(&request.name)?;
        let now_ms = self.shared.link.now_ms();
        let left = budget_left(&request, now_ms);
        let is_plain = mapped.is_plain()
            && request.idempotency_key.is_none()
            && request.status_ttl_ms.is_none()
            && mapped.misplaced(&request.name, queue).is_none()
            && !left.is_some_and(|left| left.is_zero())
            && !is_late(&request, now_ms);
        is_plain.then(|| {
            let start = (serial, Some(young));
            self.start((request, None), left, mapped, Record::default(), start)
        })
    }

    fn start(
        &self,
        (request, verified): (DecodedRequest, Option<Verified>),
        left: Option<Duration>,
        mapped: &Mapped,
        record: Record,
        (serial, young): (u64, Option<Arc<Young>>),
    ) -> (Launched, RunFuture) {
        let started = Instant::now();
        let name = request.name.clone();
        let rules = mapped.rules.clone();
        let deadline = left.and_then(|left| started.checked_add(left));
        let cancel = CancellationToken::new();
        let (timeout, max_running) = (rules.timeout, rules.concurrency);
        let job = Arc::new(Job {
            shared: self.shared.clone(),
            request,
            serial,
            keys: self.keys.clone(),
            rules,
            service: mapped.service,
            verified,
            keyring: self.mapping.keyring().cloned(),
            record,
            started_at: self.shared.link.now_ms(),
            started,
            deadline: std::sync::Mutex::new(deadline),
            cancel: cancel.clone(),
            uses_token: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            settled: AtomicBool::new(false),
            seq: Mutex::new(0),
            unread: AtomicBool::new(false),
            run: OnceLock::new(),
            young,
        });
        let weak = Arc::downgrade(&job);
        let (run, abort) = abortable(execute(mapped.handler.clone(), Request::new(job)));
        let by_mapping = started + timeout;
        let launched = Launched {
            job: weak,
            name,
            attempt: record.attempt + 1,
            started,
            by_mapping,
            deadline,
            timeout,
            max_running,
            shares_pool: mapped.pool.is_some(),
            cancel,
            abort,
        };
        (launched, Box::pin(run.map(drop)))
    }
}
