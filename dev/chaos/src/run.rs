//! A run from its first server to its judgement.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use redcall_client::{Client, Settings, StoreError};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::attacks::Attackers;
use crate::error::ChaosError;
use crate::history::{AttackEvent, AttackLine, Files, Log, now_us};
use crate::judge::Judge;
use crate::load::{CallLog, Caller, ResultsPoller};
use crate::options::Options;
use crate::plan;
use crate::report::{Progress, Report, Stage as Phase};
use crate::stage::{self, Stage};
use crate::work::Post;
use crate::worker_pool::WorkerPool;

/// The time that queued jobs may take after the last attack, plus four leases.
const DONE_TIMEOUT: Duration = Duration::from_secs(30);
/// The pause between two checks.
const CHECK_PAUSE: Duration = Duration::from_millis(100);
/// How long after their time callers are waited for.
const GRACE: Duration = Duration::from_secs(5);

/// Runs chaos. When `interrupted` fires, callers stop and the calls so far are judged.
///
/// Dropping the future ends workers and servers.
///
/// # Errors
///
/// When it could not be carried out; broken promises are in the report.
pub async fn run(
    options: Options,
    progress: watch::Sender<Progress>,
    interrupted: CancellationToken,
) -> Result<Report, ChaosError> {
    let folder = tempfile::Builder::new().prefix("redcall-chaos-").tempdir()?;
    let files = Files::in_folder(folder.path());
    let clocks = options.counts.clocks > 0;
    let stage = Arc::new(Stage::start(clocks, folder.path()).await?);
    let log = Arc::new(Log::open(&files.blows)?);
    let pool = Arc::new(pool(&options, &stage, folder.path(), &log).await?);
    let (finished, finished_calls) = mpsc::unbounded_channel();
    let calls = CallLog::new(Arc::new(Log::open(&files.calls)?), finished, progress.clone());
    let clients = connect(&stage, &options).await?;
    here(&clients[0], options.workers).await;
    let (check_the_rest, last) = oneshot::channel();
    let poller = ResultsPoller::new(&stage.socket, finished_calls)?;
    let poller = tokio::spawn(poller.run(calls.clone(), last));

    let enter = |phase| progress.send_modify(|progress| progress.stage = phase);
    enter(Phase::Attacks);
    let began = Instant::now();
    let (callers_end, attacks_end) = (CancellationToken::new(), CancellationToken::new());
    let mut callers = JoinSet::new();
    for name in 0..options.callers {
        let pair = (clients[name].clone(), clients[(name + 1) % clients.len()].clone());
        let caller = Caller::new(name, pair, calls.clone(), options.timeout, options.seed);
        callers.spawn(caller.run(callers_end.clone()));
    }
    let attackers = Attackers {
        stage: stage.clone(),
        pool: pool.clone(),
        log,
        progress: progress.clone(),
        end: attacks_end.clone(),
    };
    let attacks = tokio::spawn(attackers.carry_out(plan::draw(&options)));
    tokio::select! {
        () = sleep(options.duration) => {}
        () = interrupted.cancelled() => {}
    }
    let duration = began.elapsed();

    // Attacks end before calls: the last attacks need calls to hold.
    enter(Phase::Waits);
    attacks_end.cancel();
    attacks.await.map_err(ChaosError::panicked)??;
    callers_end.cancel();
    end(callers, &options).await?;
    let mut judge = Judge::new(&files, options.lease);
    done(&mut judge, &options).await?;
    let _ = check_the_rest.send(());
    poller.await.map_err(ChaosError::panicked)??;

    enter(Phase::Judges);
    judge.read()?;
    let judgement = judge.judge();
    let mut found = judgement.found;
    found.fallen_workers = pool.ended_early().await.len() as u64;
    let ok = found.is_nothing();
    Ok(Report {
        ok,
        seed: options.seed,
        duration_ms: millis(duration),
        interrupted: interrupted.is_cancelled(),
        workers: options.workers,
        callers: options.callers,
        lease_ms: millis(options.lease),
        calls: judgement.calls,
        attacks: judgement.struck,
        not_attacked: not_attacked(&stage, clocks),
        found,
        run_twice: judgement.run_twice,
        recovery: judgement.recovery,
        examples: judgement.examples,
        history: (options.keep || !ok).then(|| folder.keep()),
    })
}

/// Starts the workers, and writes down which of them log to a full device.
async fn pool(
    options: &Options,
    stage: &Stage,
    folder: &Path,
    log: &Log,
) -> Result<WorkerPool, ChaosError> {
    let folder = folder.to_owned();
    let post = Post { url: stage.for_workers(), lease: options.lease, folder };
    let full_logs = options.counts.logs > 0;
    let pool = WorkerPool::start(options.worker.clone(), post, options.workers, full_logs);
    let pool = pool.map_err(ChaosError::Worker)?;
    for pid in pool.with_full_logs().await {
        log.write(&AttackLine { at: now_us(), what: AttackEvent::FullLog { pid } });
    }
    Ok(pool)
}

/// Returns the requested attacks that this machine does not permit, with the reasons.
fn not_attacked(stage: &Stage, clocks: bool) -> Vec<String> {
    let clock = (clocks && stage.clock.is_none()).then(|| {
        format!("clock: no libfaketime that works here; {} names one", stage::LIBFAKETIME)
    });
    clock.into_iter().collect()
}

/// A client for each caller.
async fn connect(stage: &Stage, options: &Options) -> Result<Vec<Client>, StoreError> {
    let mut settings = Settings::default();
    settings.redis.url = stage.for_callers();
    settings.redis.skip_safety_warning = true;
    settings.client.timeout = options.timeout;
    let mut clients = Vec::new();
    for _ in 0..options.callers {
        clients.push(Client::from_settings(&settings).await?);
    }
    Ok(clients)
}

/// Waits until the workers are there. If they do not come, the callers' results show it.
async fn here(client: &Client, workers: usize) {
    let all = async {
        while client.inspect().workers().await.map_or(0, |workers| workers.len()) < workers {
            sleep(CHECK_PAUSE).await;
        }
    };
    let _ = timeout(DONE_TIMEOUT, all).await;
}

/// Waits for the callers, for as long as any of their calls may take.
async fn end(mut callers: JoinSet<()>, options: &Options) -> Result<(), ChaosError> {
    // The longest operation: delayed, fetched and timed out.
    let max = 2 * options.timeout + Duration::from_secs(2) + GRACE;
    let all = async {
        while let Some(ended) = callers.join_next().await {
            ended.map_err(ChaosError::panicked)?;
        }
        Ok(())
    };
    // A caller that has not ended by then hangs, as its log shows.
    timeout(max, all).await.unwrap_or(Ok(()))
}

/// Waits until everything that is queued has been done, and nothing more can come late.
async fn done(judge: &mut Judge, options: &Options) -> io::Result<()> {
    let deadline = Instant::now() + DONE_TIMEOUT + 4 * options.lease;
    judge.read()?;
    while judge.open() > 0 && Instant::now() < deadline {
        sleep(CHECK_PAUSE).await;
        judge.read()?;
    }
    sleep(options.lease).await;
    Ok(())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
