//! `redcall-worker`: runs the jobs of a settings file. Flags and printing, nothing else.
//!
//! Exit codes: 0 ended as asked, 1 could not run (Redis is away, the address of the probes is
//! taken), 2 settings or flags are wrong.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use redcall_common::name::is_queue;
use redcall_common::report::Problem;
use redcall_common::settings::Settings;
use redcall_common::store::embedded::Embedded;
use redcall_common::store::{Connector, Link, StoreError};
use redcall_worker::{MappedJob, Worker, WorkerError, handler_runtime, init_log};

/// A job is some dozens of small allocations, most of them freed by another thread.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Run jobs from Redis, as a settings file maps them.
#[derive(Parser)]
#[command(name = "redcall-worker", version)]
struct Cli {
    /// Settings file (TOML, YAML or JSON); else REDCALL_SETTINGS, else ./redcall.toml
    #[arg(long, global = true, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// Queues to listen on, most urgent first
    #[arg(long, global = true, value_name = "A,B,...", value_delimiter = ',', value_parser = queue)]
    queues: Vec<String>,
    /// How many jobs run at the same time
    #[arg(long, global = true, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=65_536))]
    concurrency: Option<u32>,
    /// Name shown in lists of workers; else the host's
    #[arg(long, global = true, value_parser = queue)]
    name: Option<String>,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Subcommand)]
enum Verb {
    /// Check settings, handlers and Redis, and print the mapping
    Check,
}

fn queue(text: &str) -> Result<String, String> {
    let wrong = || "1 to 64 characters of A-Z a-z 0-9 _ . - are allowed".to_owned();
    is_queue(text).then(|| text.to_owned()).ok_or_else(wrong)
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let settings = match settings(&cli) {
        Ok(settings) => settings,
        Err(problems) => return fail(problems, 2),
    };
    init_log(&settings.log);
    let runtime = match handler_runtime() {
        Ok(runtime) => runtime,
        Err(error) => return fail(vec![Problem::of(&error)], 1),
    };
    let done = runtime.block_on(async {
        match cli.verb {
            None => run(settings).await,
            Some(Verb::Check) => check(settings).await,
        }
    });
    // A handler that ignores its end must not keep the process.
    runtime.shutdown_background();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err((problem, code)) => fail(vec![problem], code),
    }
}

fn settings(cli: &Cli) -> Result<Settings, Vec<Problem>> {
    let mut settings =
        Settings::load(cli.settings.as_deref()).map_err(|error| Problem::settings(&error))?;
    let mut flagged = cli.queues.iter().enumerate();
    if let Some((_, queue)) = flagged.find(|(at, queue)| cli.queues[..*at].contains(queue)) {
        let problem = Problem::new(format!("--queues names the queue `{queue}` again"));
        return Err(vec![problem.help("name each queue once")]);
    }
    if !cli.queues.is_empty() {
        settings.worker.queues.clone_from(&cli.queues);
    }
    if let Some(concurrency) = cli.concurrency {
        settings.worker.concurrency = concurrency as usize;
    }
    if cli.name.is_some() {
        settings.worker.name.clone_from(&cli.name);
    }
    Ok(settings)
}

async fn run(mut settings: Settings) -> Result<(), (Problem, u8)> {
    let _private = private_server(&mut settings).await?;
    let worker = Worker::from_settings(settings).map_err(|error| problem(&error))?;
    worker.run().await.map_err(|error| problem(&error))
}

async fn check(mut settings: Settings) -> Result<(), (Problem, u8)> {
    let _private = private_server(&mut settings).await?;
    let redis = settings.redis.clone();
    let queues = settings.served_queues().join(", ");
    let jobs = Worker::from_settings(settings).and_then(|worker| worker.check());
    print_mapping(&jobs.map_err(|error| problem(&error))?);
    println!("queues: {queues}");
    let reached: Result<String, StoreError> = async {
        let connector = Connector::new(&redis, "redcall-worker-check")?;
        let address = connector.address().to_owned();
        Link::connect(connector, std::sync::Arc::new(|_, _| {})).await?;
        Ok(address)
    }
    .await;
    let address = reached.map_err(|error| (Problem::store(&error), 2))?;
    println!("redis: {address} answers");
    Ok(())
}

async fn private_server(settings: &mut Settings) -> Result<Option<Embedded>, (Problem, u8)> {
    Embedded::serve(&mut settings.redis).await.map_err(|error| (Problem::of(&error), 1))
}

fn print_mapping(jobs: &[MappedJob]) {
    if jobs.is_empty() {
        println!("no jobs are mapped: add a [jobs.NAME] section");
    }
    let width = jobs.iter().map(|job| job.name.len()).max().unwrap_or(0);
    for job in jobs {
        println!("{:width$}  {}  (timeout {:?})", job.name, job.handler, job.timeout);
    }
}

fn problem(error: &WorkerError) -> (Problem, u8) {
    match error {
        WorkerError::Store(error) => (Problem::store(error), 1),
        WorkerError::Mapping { .. } => {
            let help = "Correct that key; `redcall-worker check` looks at all of them.";
            (Problem::of(error).help(help), 2)
        }
        WorkerError::Settings(_) | WorkerError::Handler { .. } => (Problem::of(error), 2),
        WorkerError::Listen { .. } => {
            let help = "Free that address (does another worker have the same settings?), or set \
                        another one as `admin.listen` or REDCALL__ADMIN__LISTEN; port 0 takes \
                        any, and the log names it.";
            (Problem::of(error).help(help), 1)
        }
        WorkerError::System(_) | WorkerError::Ended => (Problem::of(error), 1),
    }
}

fn fail(problems: Vec<Problem>, code: u8) -> ExitCode {
    for problem in problems {
        eprintln!("{:?}", miette::Report::new(problem));
    }
    ExitCode::from(code)
}
