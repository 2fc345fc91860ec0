//! From a leased element to a running handler, or to the outcome that it gets instead.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures_util::FutureExt;
use redcall_common::context::Context;
use redcall_common::decode::{Rejected, decode};
use redcall_common::error::{Code, WireError};
use redcall_common::frame::FrameHead;
use redcall_common::request::{ReplyTo, Request as Wire};
use redcall_common::store::{Leased, Outcome, Settlement, WorkerKeys};
use tokio::sync::Mutex;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::handler::{Handler, HandlerError};
use crate::mapping::{Mapped, Mapping};
use crate::request::{Job, Request, Shared};

/// A job that has been started.
pub(crate) struct Launched {
    pub(crate) job: std::sync::Weak<Job>,
    pub(crate) name: String,
    pub(crate) started: Instant,
    /// When it is ended.
    pub(crate) ends_at: Instant,
    /// What its caller is told then.
    pub(crate) timeout: WireError,
    pub(crate) abort: AbortHandle,
}

/// The pipeline of one job, up to its start: read, in time, mapped, started.
pub(crate) fn launch(
    leased: &Leased,
    keys: &WorkerKeys,
    serial: u64,
    mapping: &Mapping,
    shared: &Arc<Shared>,
    handlers: &tokio::runtime::Handle,
) -> Result<Launched, Box<Outcome>> {
    let outcome = |settlement| Box::new(Outcome { id: leased.id.clone(), settlement });
    let request = decode(&leased.raw, &leased.id, &keys.queue, &shared.limits)
        .map_err(|rejected| outcome(reject(&leased.id, rejected)))?;
    let left = budget_left(&request, shared.link.now_ms());
    if left.is_some_and(|left| left.is_zero()) {
        let error = WireError::new(Code::DeadlineExceeded, "its time ran out while it was queued");
        return Err(outcome(refuse(&leased.id, error, request.reply)));
    }
    let Some(mapped) = mapping.get(&request.name) else {
        return Err(outcome(unknown(&leased.id, request)));
    };
    Ok(start(request, left, mapped, keys, serial, shared, handlers))
}

fn start(
    request: Wire,
    left: Option<Duration>,
    mapped: &Mapped,
    keys: &WorkerKeys,
    serial: u64,
    shared: &Arc<Shared>,
    handlers: &tokio::runtime::Handle,
) -> Launched {
    let started = Instant::now();
    let name = request.name.clone();
    let deadline = left.and_then(|left| started.checked_add(left));
    let job = Arc::new(Job {
        shared: shared.clone(),
        request,
        serial,
        leases: keys.leases.clone(),
        attempt: 1,
        context: Context { deadline, ..Context::default() },
        listens: AtomicBool::new(false),
        closing: AtomicBool::new(false),
        settled: AtomicBool::new(false),
        seq: Mutex::new(0),
        unread: AtomicBool::new(false),
    });
    let by_mapping = started + mapped.timeout;
    let (ends_at, timeout) = match deadline {
        Some(deadline) if deadline < by_mapping => {
            let message = "the caller's time ran out while the job was running";
            (deadline, WireError::new(Code::DeadlineExceeded, message))
        }
        _ => {
            let message = format!("the handler ran longer than {:?}", mapped.timeout);
            (by_mapping, WireError::new(Code::Timeout, message))
        }
    };
    let weak = Arc::downgrade(&job);
    let task = handlers.spawn(run(mapped.handler.clone(), Request::new(job)));
    Launched { job: weak, name, started, ends_at, timeout, abort: task.abort_handle() }
}

/// Runs a handler to its end and settles the job with it. On the handlers' runtime.
async fn run(handler: Arc<dyn Handler>, request: Request) {
    let calling = request.context().scope(async { handler.call(request.clone()).await });
    let ending = AssertUnwindSafe(calling).catch_unwind().await.unwrap_or_else(|panic| {
        let message = panic.downcast_ref::<&str>().copied();
        let message = message.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        let message = message.unwrap_or("no message");
        tracing::error!(id = request.id(), name = request.name(), message, "the handler panicked");
        Err(HandlerError::with_code(Code::HandlerPanicked, "the handler panicked"))
    });
    if let Err(error) = &ending {
        tracing::info!(id = request.id(), name = request.name(), code = %error.0.code, "failed");
    }
    request.conclude(ending).await;
}

/// What is left of the caller's time; `None` if it set no limit. Without a time of enqueue the
/// budget starts now, and one in the future counts as now.
fn budget_left(request: &Wire, now_ms: u64) -> Option<Duration> {
    let budget = request.budget_ms?;
    let waited = request.enqueued_at.map_or(0, |at| now_ms.saturating_sub(at));
    Some(Duration::from_millis(budget.saturating_sub(waited)))
}

fn reject(id: &str, rejected: Rejected) -> Settlement {
    let Rejected { error, reply, bury } = rejected;
    if bury {
        let answer = reply.map(|reply| (reply.clone(), frame(id, &error, &reply)));
        return Settlement::Bury { code: error.code, reason: error.message, answer };
    }
    refuse(id, error, reply)
}

/// A job that does not start: its caller is told, or the dead letters keep it.
fn refuse(id: &str, error: WireError, reply: Option<ReplyTo>) -> Settlement {
    match reply {
        Some(reply) => Settlement::Answer { frame: frame(id, &error, &reply), reply },
        None => Settlement::Bury { code: error.code, reason: error.message, answer: None },
    }
}

fn unknown(id: &str, request: Wire) -> Settlement {
    let message = format!("no live worker maps the job `{}`", request.name);
    let error = WireError::new(Code::UnknownJob, message);
    let answer = request.reply.map(|reply| {
        let frame = frame(id, &error, &reply);
        (reply, frame)
    });
    Settlement::Unknown { name: request.name, answer }
}

fn frame(id: &str, error: &WireError, reply: &ReplyTo) -> String {
    FrameHead { id, response_key: &reply.response_key, attempt: 1 }.error(1, error)
}
