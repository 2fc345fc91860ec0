//! `redcall-worker`: runs the jobs of a settings file. Flags and printing, nothing else.
//!
//! Exit codes: 0 ended as asked, 1 could not run (Redis is away, the address of the probes is
//! taken, a worker has the pid file), 2 settings or flags are wrong; of `status` and `stop` 3 no
//! worker runs, of `status` 4 it runs and is not ready; 5 standard output cannot be written, 141
//! the reader of a pipe has gone.

mod background;
mod check;
mod identity;
mod pid_file;
mod safe_file;

use std::path::PathBuf;
use std::process::ExitCode;

use background::Detached;
use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use redcall_common::name::is_plain;
use redcall_common::output::{self as out, Unwritten};
use redcall_common::report::Problem;
use redcall_common::settings::Settings;
use redcall_store::embedded::Embedded;
use redcall_worker::{Worker, WorkerError, handler_runtime, init_log};

/// A job is some dozens of small allocations, most of them freed by another thread.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Run jobs from Redis, as a settings file maps them.
///
/// Exit codes: 0 ended as asked (with --background: it is ready), 1 could not run, 2 settings or
/// flags are wrong, 3 (of `status` and `stop`) no worker runs in the background, 4 (of `status`) it
/// runs and is not ready, 5 standard output cannot be written, 141 the reader of a pipe has gone.
#[derive(Parser)]
#[command(name = "redcall-worker", version, verbatim_doc_comment)]
struct Cli {
    #[command(flatten)]
    what: What,
    /// Run in a session of its own, which outlives this one; returns when the worker is ready
    #[arg(long)]
    background: bool,
    #[command(flatten)]
    found: FoundBy,
    /// Where a worker in the background logs; else nowhere
    #[arg(long, value_name = "FILE", requires = "background")]
    log_file: Option<PathBuf>,
    /// It is the one in the background
    #[arg(long, hide = true, requires = "background")]
    detached: bool,
    #[command(subcommand)]
    verb: Option<Verb>,
}

/// What runs, and how. Each verb has the flags that mean something to it; in front of the verb they
/// mean the same, and others are refused there as well.
#[derive(Args)]
struct What {
    /// Settings file (TOML, YAML or JSON); else REDCALL_SETTINGS, else ./redcall.toml
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// Queues to listen on, most urgent first
    #[arg(long, value_name = "A,B,...", value_delimiter = ',', value_parser = queue)]
    queues: Vec<String>,
    /// How many jobs run at the same time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    concurrency: Option<u32>,
    /// Name shown in lists of workers; else the host's
    #[arg(long, value_parser = queue)]
    name: Option<String>,
}

impl What {
    /// The first of these flags that is given.
    fn first_given(&self) -> Option<&'static str> {
        let flags = [
            (self.settings.is_some(), "--settings"),
            (!self.queues.is_empty(), "--queues"),
            (self.concurrency.is_some(), "--concurrency"),
            (self.name.is_some(), "--name"),
        ];
        flags.into_iter().find_map(|(is_given, flag)| is_given.then_some(flag))
    }

    /// These flags, and where they say nothing, the `others`.
    fn or(self, others: Self) -> Self {
        Self {
            settings: self.settings.or(others.settings),
            queues: if self.queues.is_empty() { others.queues } else { self.queues },
            concurrency: self.concurrency.or(others.concurrency),
            name: self.name.or(others.name),
        }
    }
}

/// What is checked.
#[derive(Args)]
struct Checked {
    #[command(flatten)]
    what: What,
    /// Print one JSON object instead of lines
    #[arg(long)]
    json: bool,
    /// Means nothing to it; for scripts that give all verbs the same flags.
    #[arg(long, value_name = "FILE", hide = true)]
    pid_file: Option<PathBuf>,
}

/// Where a worker in the background is found.
#[derive(Args)]
struct FoundBy {
    /// File by which a worker in the background is found; else ./redcall-worker.pid
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
}

impl FoundBy {
    /// These flags, and where they say nothing, the `others`.
    fn or(self, others: Self) -> Self {
        Self { pid_file: self.pid_file.or(others.pid_file) }
    }

    fn path(self) -> PathBuf {
        self.pid_file.unwrap_or_else(|| PathBuf::from("redcall-worker.pid"))
    }
}

#[derive(Subcommand)]
enum Verb {
    /// Check settings, handlers, schedules and Redis, and print what is mapped, served and bounded
    Check(Checked),
    /// Say whether a worker runs in the background, and whether it was ready in the last seconds
    Status(FoundBy),
    /// End the worker in the background, which drains first; return when it has ended
    Stop(FoundBy),
}

fn queue(text: &str) -> Result<String, String> {
    let wrong = || "1 to 64 characters of A-Z a-z 0-9 _ . - are allowed".to_owned();
    is_plain(text).then(|| text.to_owned()).ok_or_else(wrong)
}

fn main() -> ExitCode {
    let mut cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(shown) => return help(&shown),
    };
    let verb = cli.verb.take();
    if let Some(message) = verb.as_ref().and_then(|verb| misplaced(&cli, verb)) {
        return help(&Cli::command().error(ErrorKind::ArgumentConflict, message));
    }
    let done = match verb {
        Some(Verb::Status(found)) => background::status(&found.or(cli.found).path()),
        Some(Verb::Stop(found)) => background::stop(&found.or(cli.found).path()),
        Some(Verb::Check(Checked { what, json, .. })) => {
            return match settings(&what.or(cli.what)) {
                Ok(settings) => check::run(settings, json),
                Err(problems) if json => check::unusable(problems),
                Err(problems) => fail(problems, 2),
            };
        }
        None => return work(cli),
    };
    done.unwrap_or_else(|(problem, code)| fail(vec![problem], code))
}

/// Why a flag in front of `verb` cannot stand there.
fn misplaced(cli: &Cli, verb: &Verb) -> Option<String> {
    if cli.background {
        return Some("--background runs a worker, and takes no command".to_owned());
    }
    let name = match verb {
        Verb::Check(_) => return None,
        Verb::Status(_) => "status",
        Verb::Stop(_) => "stop",
    };
    let flag = cli.what.first_given()?;
    Some(format!("{flag} means nothing to `{name}`, which takes --pid-file only"))
}

/// Prints a help text, a version or a complaint about flags, each where it belongs.
fn help(shown: &clap::Error) -> ExitCode {
    let printed = shown.print().map_err(Unwritten::from).and_then(|()| out::print(""));
    match printed {
        Err(error) if !shown.use_stderr() => {
            let (problem, code) = unwritten(error);
            fail(vec![problem], code)
        }
        _ => ExitCode::from(u8::try_from(shown.exit_code()).unwrap_or(2)),
    }
}

/// Runs a worker, or starts one in the background.
fn work(cli: Cli) -> ExitCode {
    let settings = match settings(&cli.what) {
        Ok(settings) => settings,
        Err(problems) => return fail(problems, 2),
    };
    let pid_file = cli.found.path();
    if cli.background && !cli.detached {
        let started = background::start(&pid_file, cli.log_file.as_deref());
        return started.unwrap_or_else(|(problem, code)| fail(vec![problem], code));
    }
    let drains_for = settings.worker.drain_timeout;
    let detached = cli.detached.then(|| Detached::begin(&pid_file, drains_for));
    let mut detached = match detached.transpose() {
        Ok(detached) => detached,
        Err(error) => return fail(vec![Problem::of(&error)], 1),
    };
    let log = init_log(&settings.log);
    let runtime = match handler_runtime() {
        Ok(runtime) => runtime,
        Err(error) => return fail(vec![Problem::of(&error)], 1),
    };
    let done = runtime.block_on(run(settings, detached.as_mut()));
    // A handler that ignores its end must not keep the process.
    runtime.shutdown_background();
    let Err((problem, code)) = done else { return ExitCode::SUCCESS };
    let report = format!("{:?}", miette::Report::new(problem));
    if let Some(mut detached) = detached {
        detached.say(&report);
    }
    if code != out::CLOSED {
        // Through the log, which does not block.
        log.print(&report);
    }
    ExitCode::from(code)
}

fn settings(what: &What) -> Result<Settings, Vec<Problem>> {
    let mut settings =
        Settings::load(what.settings.as_deref()).map_err(|error| Problem::settings(&error))?;
    let mut flagged = what.queues.iter().enumerate();
    if let Some((_, queue)) = flagged.find(|(at, queue)| what.queues[..*at].contains(queue)) {
        let problem = Problem::new(format!("--queues names the queue `{queue}` again"));
        return Err(vec![problem.help("name each queue once")]);
    }
    if !what.queues.is_empty() {
        settings.worker.queues.clone_from(&what.queues);
    }
    if let Some(concurrency) = what.concurrency {
        settings.worker.concurrency = concurrency as usize;
    }
    if what.name.is_some() {
        settings.worker.name.clone_from(&what.name);
    }
    Ok(settings)
}

async fn run(mut settings: Settings, detached: Option<&mut Detached>) -> Result<(), (Problem, u8)> {
    let _private = private_server(&mut settings).await?;
    let worker = Worker::from_settings(settings).map_err(|error| problem(&error))?;
    let readiness = worker.readiness();
    let beside = async {
        match detached {
            Some(detached) => detached.accompany(readiness).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        ended = worker.run() => ended.map_err(|error| problem(&error)),
        () = beside => Ok(()), // it never ends
    }
}

async fn private_server(settings: &mut Settings) -> Result<Option<Embedded>, (Problem, u8)> {
    Embedded::serve(&mut settings.redis).await.map_err(|error| (Problem::of(&error), 1))
}

fn problem(error: &WorkerError) -> (Problem, u8) {
    match error {
        WorkerError::Store(error) => (Problem::from(error), 1),
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
        WorkerError::Rights { .. } => {
            let help = "Grant them (ACL SETUSER); the whole line is in docs/reference/protocol.md, \
                        *Rights at Redis*.";
            (Problem::of(error).help(help), 1)
        }
        WorkerError::System(_) | WorkerError::Ended => (Problem::of(error), 1),
    }
}

/// Standard output cannot be written.
fn unwritten(error: Unwritten) -> (Problem, u8) {
    (Problem::unwritten(&error), error.exit_code())
}

fn fail(problems: Vec<Problem>, code: u8) -> ExitCode {
    // A closed pipe is quiet: its reader has seen enough.
    for problem in problems.into_iter().filter(|_| code != out::CLOSED) {
        out::report(problem);
    }
    ExitCode::from(code)
}
