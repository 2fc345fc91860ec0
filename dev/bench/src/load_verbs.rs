//! `redcall bench call|enqueue|drain`: load on the Redis and workers of the settings.

use std::path::Path;
use std::time::Duration;

use clap::{Args, Subcommand};
use redcall_bench::{CallFigures, Calls, Drain, Enqueue, Job, JobFigures};
use redcall_client::{Client, Settings};
use redcall_common::output::{self as out, Unwritten};
use redcall_common::report::Problem;
use serde_json::value::RawValue;
use tokio::runtime::Runtime;

use redcall_common::failure::Failure;
use redcall_common::name::parse_queue;
use redcall_common::signals::{Signals, is_signal_exit, until_interrupted};

/// Benchmarks. They run these jobs for real.
#[derive(Subcommand)]
pub(crate) enum Bench {
    /// Waited calls: throughput and latency
    Call(Call),
    /// Fire-and-forget jobs: throughput of the enqueue. They stay in the queue until run
    Enqueue(Fill),
    /// Throughput of workers on a queue that is paused while it is filled
    Drain(Empty),
}

/// The job to be called.
#[derive(Args)]
struct Called {
    /// Name of the job
    #[arg(long, default_value = "add")]
    job: String,
    /// Data of the job as JSON
    #[arg(long, default_value = r#"{"a":1,"b":2}"#, value_parser = data)]
    data: Box<RawValue>,
    /// Pad the data, an object, to this size: adds a field `padding`
    #[arg(long, value_name = "BYTES")]
    size: Option<usize>,
    /// Queue; else that of the job in the settings, else `default`
    #[arg(long, value_parser = parse_queue)]
    queue: Option<String>,
}

#[derive(Args)]
pub(crate) struct Call {
    #[command(flatten)]
    called: Called,
    /// Number of callers, each with one call at a time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = some())]
    callers: usize,
    /// Duration of the measurement
    #[arg(long, value_name = "TIME", default_value = "10s")]
    #[arg(value_parser = humantime::parse_duration)]
    duration: Duration,
    /// Duration of the warm-up, which is not measured
    #[arg(long, value_name = "TIME", default_value = "500ms")]
    #[arg(value_parser = humantime::parse_duration)]
    warm_up: Duration,
    /// Pause of each caller before each call
    #[arg(long, value_name = "TIME", default_value = "0s")]
    #[arg(value_parser = humantime::parse_duration)]
    pause: Duration,
    /// Read the progress of each job, too
    #[arg(long)]
    stream: bool,
}

#[derive(Args)]
pub(crate) struct Fill {
    #[command(flatten)]
    called: Called,
    /// Number of callers
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = some())]
    callers: usize,
    /// Number of jobs per call of the API
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = some())]
    batch: usize,
    /// Duration of the measurement
    #[arg(long, value_name = "TIME", default_value = "10s")]
    #[arg(value_parser = humantime::parse_duration)]
    duration: Duration,
}

#[derive(Args)]
pub(crate) struct Empty {
    #[command(flatten)]
    called: Called,
    /// Number of jobs
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = some())]
    jobs: usize,
    /// Request an answer of each job; the answers are not fetched
    #[arg(long)]
    answers: bool,
    /// Maximum duration
    #[arg(long, value_name = "TIME", default_value = "60s")]
    #[arg(value_parser = humantime::parse_duration)]
    timeout: Duration,
}

fn data(text: &str) -> Result<Box<RawValue>, String> {
    serde_json::from_str(text).map_err(|error| format!("not valid JSON: {error}"))
}

fn some() -> clap::builder::RangedU64ValueParser<usize> {
    clap::builder::RangedU64ValueParser::new().range(1..=10_000_000)
}

impl Called {
    fn job(self) -> Result<Job, Failure> {
        let job = Job { name: self.job, data: self.data, queue: self.queue };
        let Some(size) = self.size else { return Ok(job) };
        job.padded(size).map_err(|error| Failure::of(Problem::of(&error), "invalid_data", 2))
    }
}

impl Bench {
    /// Connects by the settings, and runs the verb to its end.
    pub(crate) fn start(
        self,
        settings: Option<&Path>,
        redis: Option<String>,
        as_json: bool,
    ) -> Result<(), Failure> {
        let mut settings = Settings::load(settings)?;
        if let Some(url) = redis {
            settings.redis.url = url;
        }
        let runtime = Runtime::new().map_err(|error| Failure::system(&error))?;
        let done = runtime.block_on(async {
            let client = Client::from_settings(&settings).await;
            let client = client.map_err(|error| Failure::from(&error))?;
            let done = self.run(&client, as_json).await;
            client.flush().await;
            done
        });
        // A pending name lookup must not delay the exit.
        runtime.shutdown_background();
        done
    }

    async fn run(self, client: &Client, as_json: bool) -> Result<(), Failure> {
        match self {
            Self::Call(Call { called, callers, duration, warm_up, pause, stream }) => {
                let job = called.job()?;
                let calls = Calls { job, callers, duration, warm_up, pause, stream };
                print_calls(called_until_ended(client, &calls).await?, as_json)?;
            }
            Self::Enqueue(Fill { called, callers, batch, duration }) => {
                let plan = Enqueue { job: called.job()?, callers, batch, duration };
                print_jobs(redcall_bench::enqueue(client, &plan).await.map_err(failed)?, as_json)?;
            }
            Self::Drain(Empty { called, jobs, answers, timeout }) => {
                let job = called.job()?;
                let queue = job.queue.clone().unwrap_or_else(|| "default".to_owned());
                let plan = Drain { job, queue, jobs, answers, timeout };
                let draining = async { redcall_bench::drain(client, &plan).await.map_err(failed) };
                let drained = until_interrupted(draining, "interrupted: the queue is open").await;
                if drained.as_ref().is_err_and(|failure| is_signal_exit(failure.code)) {
                    // The queue may be paused from filling it.
                    client.resume(&plan.queue).await.map_err(failed)?;
                }
                print_jobs(drained?, as_json)?;
            }
        }
        Ok(())
    }
}

/// Makes the calls; a signal cancels those in flight.
async fn called_until_ended(client: &Client, calls: &Calls) -> Result<CallFigures, Failure> {
    let mut signals = Signals::subscribe().map_err(failed)?;
    let mut ended = None;
    let interrupted = async { ended = Some(signals.next().await) };
    let called = redcall_bench::call(client, calls, interrupted).await;
    called.map_err(|error| match ended {
        Some(signal) => signal.failure(&error.to_string()),
        None => failed(error),
    })
}

fn failed(error: impl std::error::Error + 'static) -> Failure {
    Failure::of(Problem::of(&error), "failed", 1)
}

fn print_calls(figures: CallFigures, as_json: bool) -> Result<(), Unwritten> {
    if as_json {
        return out::line(serde_json::json!(figures));
    }
    let CallFigures { calls_per_s, p50_us, p99_us, p999_us, calls, errors } = figures;
    out::line(format_args!("{calls} calls, {errors} errors, {calls_per_s:.0} per s"))?;
    out::line(format_args!("p50 {p50_us:.0} us, p99 {p99_us:.0} us, p99.9 {p999_us:.0} us"))
}

fn print_jobs(figures: JobFigures, as_json: bool) -> Result<(), Unwritten> {
    if as_json {
        return out::line(serde_json::json!(figures));
    }
    let JobFigures { jobs_per_s, jobs, errors } = figures;
    out::line(format_args!("{jobs} jobs, {errors} errors, {jobs_per_s:.0} per s"))
}
