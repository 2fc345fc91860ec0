//! A worker process of a run: its handlers, which log their events, and the gates at which the run
//! holds a handler to attack there.
//!
//! Protocol on standard input and output, one line each: `hold <order> young`, `hold <order> in`
//! and `hold <order> after` hold the next job that reaches this step, and the process reports
//! `held <order> <job> <run>`; `go` releases it and withdraws an order that has held no job yet.
//! The process ends when its input ends.

use std::io::{BufRead as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redcall_common::settings::{BackoffKind, HandlerSettings, JobSettings, Settings};
use redcall_worker::{
    HandlerError, IntoAnswer, Json, Request, State, Stop, Worker, WorkerError, handler_runtime,
    init_log,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::watch;

use crate::history::{EffectLine, Files, Log, RunEvent, Step, now_us};

/// The names that workers map, all to the same handler.
pub(crate) const NAMES: [&str; 2] = ["work", RETRIED];
/// The one that is tried again.
pub(crate) const RETRIED: &str = "stumble";
/// The permitted failed attempts besides the last: more than a task demands.
const RETRIES: u32 = 20;
/// How long after a worker that found no Redis the next is started.
const RESTART_PAUSE: Duration = Duration::from_millis(50);
/// The queues, most urgent first.
pub(crate) const QUEUES: [&str; 2] = ["high", "default"];
/// The last one: of jobs that end at once, so that its lanes never rest.
pub(crate) const QUICK: &str = "quick";

/// The configuration of a worker process.
#[derive(Debug, Clone)]
pub struct Post {
    /// Its Redis.
    pub url: String,
    /// Its lease.
    pub lease: Duration,
    /// The run's folder.
    pub folder: PathBuf,
}

impl Post {
    /// The same as arguments of a program.
    pub(crate) fn args(&self) -> [String; 3] {
        let lease = humantime::format_duration(self.lease).to_string();
        [self.url.clone(), lease, self.folder.to_string_lossy().into_owned()]
    }
}

/// A request's data.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Task {
    /// The caller's name for it.
    pub(crate) job: String,
    /// How long it takes; 0: it ends at once.
    pub(crate) ms: u64,
    /// How many attempts fail.
    pub(crate) fails: u32,
    /// The number of frames before the answer.
    pub(crate) frames: u32,
    /// `true` if the handler answers its own request, and learns whether that was accepted.
    pub(crate) responds: bool,
}

/// An answer's data.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) job: String,
    pub(crate) run: String,
}

/// Runs jobs until standard input ends. Blocks.
///
/// # Errors
///
/// When the worker cannot start.
pub fn serve(post: &Post) -> Result<(), WorkerError> {
    let settings = settings(post);
    let _log = init_log(&settings.log);
    let log = Log::open(&Files::in_folder(&post.folder).effects)?;
    let gates = Arc::new(Gates::default());
    let orders = gates.clone();
    std::thread::spawn(move || obey(&orders));
    let context = JobContext { log: Arc::new(log), gates, runs: Arc::default() };
    let runtime = handler_runtime().map_err(WorkerError::from)?;
    let (_never, stop) = watch::channel(Stop::No);
    runtime.block_on(async {
        loop {
            let worker = Worker::from_settings(settings.clone())?;
            let worker = worker.state(context.clone()).handler("work", work);
            match worker.run_until(stop.clone()).await {
                // Redis is down at the start. A process supervisor would start the worker again.
                Err(WorkerError::Store(_)) => tokio::time::sleep(RESTART_PAUSE).await,
                ended => return ended,
            }
        }
    })
}

fn settings(post: &Post) -> Settings {
    let mut settings = Settings::default();
    settings.redis.url.clone_from(&post.url);
    settings.redis.url_named = true;
    settings.redis.skip_safety_warning = true;
    settings.worker.lease = post.lease;
    settings.worker.queues = QUEUES.into_iter().chain([QUICK]).map(str::to_owned).collect();
    settings.log.level = "info".to_owned();
    for name in NAMES {
        let mut job = JobSettings::new(HandlerSettings::Compiled("work".to_owned()));
        // Kills are the run's attacks here, not the job's fault.
        job.max_crashes = 1000;
        if name == RETRIED {
            job.retries.max = RETRIES;
            job.retries.backoff = BackoffKind::Constant;
            job.retries.base = Duration::from_millis(100);
        }
        settings.jobs.insert(name.to_owned(), job);
    }
    settings
}

/// The state that the handlers of a process share.
#[derive(Clone)]
struct JobContext {
    log: Arc<Log>,
    gates: Arc<Gates>,
    runs: Arc<AtomicU64>,
}

/// One run of the handler.
struct Run {
    context: JobContext,
    job: String,
    run: String,
    attempt: u32,
}

impl Run {
    fn note(&self, event: RunEvent) {
        let (job, run) = (self.job.clone(), self.run.clone());
        let (pid, attempt) = (std::process::id(), self.attempt);
        self.context.log.write(&EffectLine { at: now_us(), job, run, pid, attempt, event });
    }

    /// Waits here if an order holds a job at this step.
    async fn reach(&self, step: Step) {
        self.context.gates.reach(step, &self.job, &self.run).await;
    }

    /// The same, and blocks the thread.
    fn block_at(&self, step: Step) {
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(self.reach(step));
        });
    }

    fn answer(&self) -> Answer {
        Answer { job: self.job.clone(), run: self.run.clone() }
    }
}

async fn work(
    context: State<JobContext>,
    request: Request,
    Json(task): Json<Task>,
) -> Result<Leaving, HandlerError> {
    let number = context.runs.fetch_add(1, Ordering::Relaxed);
    let run = format!("{}-{number}", std::process::id());
    let run = Run {
        context: JobContext::clone(&context),
        job: task.job,
        run,
        attempt: request.attempt(),
    };
    run.note(RunEvent::Started);
    if task.ms == 0 {
        run.block_at(Step::Young);
    } else {
        run.reach(Step::In).await;
    }
    for frame in 1..=task.frames {
        // Lost if Redis is down: the job continues.
        let _ = request.progress(&(100 * frame / (task.frames + 1))).await;
    }
    if task.ms > 0 {
        tokio::time::sleep(Duration::from_millis(task.ms)).await;
    }
    if request.attempt() <= task.fails {
        run.note(RunEvent::Fails);
        return Err(HandlerError::new("as requested"));
    }
    run.note(RunEvent::Effect);
    if !task.responds {
        return Ok(Leaving { run, answered: false });
    }
    run.reach(Step::After).await;
    let counts = request.respond(&run.answer()).await?;
    run.note(if counts { RunEvent::Settled } else { RunEvent::Refused });
    Ok(Leaving { run, answered: true })
}

/// A handler that has returned; dropped by the worker.
struct Leaving {
    run: Run,
    answered: bool,
}

impl IntoAnswer for Leaving {
    fn into_answer(self) -> Result<Box<RawValue>, HandlerError> {
        if !self.answered {
            // A future blocked here cannot be dropped any more: it settles, or the process dies.
            self.run.block_at(Step::After);
        }
        Json(self.run.answer()).into_answer()
    }
}

/// Where jobs are held.
#[derive(Default)]
struct Gates {
    /// By which order, and where, the next one is to be held. Written by orders; taken by the run
    /// that meets it.
    wanted: watch::Sender<Option<(String, Step)>>,
    /// The number of releases.
    opened: watch::Sender<u64>,
}

impl Gates {
    async fn reach(&self, step: Step, job: &str, run: &str) {
        // Subscribed before the order is taken: the gate may open at once.
        let mut opened = self.opened.subscribe();
        let mut order = None;
        self.wanted.send_if_modified(|wanted| {
            order = wanted.take_if(|(_, at)| *at == step);
            order.is_some()
        });
        if let Some((order, _)) = order {
            write_line(&format!("held {order} {job} {run}"));
            let _ = opened.changed().await;
        }
    }
}

fn write_line(line: &str) {
    let mut out = std::io::stdout().lock();
    // The reader is the parent process; if it has ended, this process ends too.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Carries out the orders of standard input, and ends the process when it ends.
fn obey(gates: &Gates) {
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let words: Vec<&str> = line.split(' ').collect();
        let wanted = match words.as_slice() {
            ["hold", order, "young"] => Some(((*order).to_owned(), Step::Young)),
            ["hold", order, "in"] => Some(((*order).to_owned(), Step::In)),
            ["hold", order, "after"] => Some(((*order).to_owned(), Step::After)),
            _ => None,
        };
        let goes_on = wanted.is_none();
        gates.wanted.send_replace(wanted);
        if goes_on {
            gates.opened.send_modify(|opened| *opened += 1);
        }
    }
    std::process::exit(0);
}
