//! `redcall-worker`: runs the jobs of a settings file. Parses flags, prints messages.
//!
//! Exit codes: 0 ended as requested; 1 could not run (Redis not reachable, address of the probes in
//! use, pid file locked); 2 invalid settings or flags; 3 (`status`, `stop`) not running; 4
//! (`status`) running but not ready; 5 cannot write to standard output; 141 standard output is a
//! closed pipe.

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
use redcall_common::failure;
use redcall_common::name::is_plain;
use redcall_common::output::{self as out, Unwritten};
use redcall_common::report::Problem;
use redcall_common::settings::Settings;
use redcall_store::embedded::Embedded;
use redcall_worker::{Worker, WorkerError, handler_runtime, init_log};

/// A job makes some dozens of small allocations, most of them freed by another thread.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Run the jobs that a settings file maps
///
/// Exit codes: 0 ended as requested (with --background: ready), 1 could not run, 2 invalid settings
/// or flags, 3 (`status`, `stop`) not running in the background, 4 (`status`) running but not
/// ready, 5 cannot write to standard output, 141 standard output is a closed pipe
#[derive(Parser)]
#[command(name = "redcall-worker", version, verbatim_doc_comment)]
struct Cli {
    #[command(flatten)]
    flags: WorkerFlags,
    /// Run in the background, in its own session; return when the worker is ready
    #[arg(long)]
    background: bool,
    #[command(flatten)]
    pid: PidFileFlags,
    /// Log file of the background worker; without it, no log is kept
    #[arg(long, value_name = "FILE", requires = "background")]
    log_file: Option<PathBuf>,
    /// Set for the process in the background
    #[arg(long, hide = true, requires = "background")]
    detached: bool,
    #[command(subcommand)]
    verb: Option<Verb>,
}

/// Flags of a worker. Each verb has the flags that it uses; in front of the verb they mean the
/// same, and other flags are refused there as well.
#[derive(Args)]
struct WorkerFlags {
    /// Settings file (TOML, YAML or JSON) [default: $REDCALL_SETTINGS, else ./redcall.toml]
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// Queues to poll, highest priority first
    #[arg(long, value_name = "A,B,...", value_delimiter = ',', value_parser = queue)]
    queues: Vec<String>,
    /// Maximum number of jobs that run at the same time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    concurrency: Option<u32>,
    /// Name shown in lists of workers [default: the host name]
    #[arg(long, value_parser = queue)]
    name: Option<String>,
}

impl WorkerFlags {
    /// Returns the first of these flags that is given.
    fn first_given(&self) -> Option<&'static str> {
        let flags = [
            (self.settings.is_some(), "--settings"),
            (!self.queues.is_empty(), "--queues"),
            (self.concurrency.is_some(), "--concurrency"),
            (self.name.is_some(), "--name"),
        ];
        flags.into_iter().find_map(|(is_given, flag)| is_given.then_some(flag))
    }

    /// Returns these flags, with missing ones from `others`.
    fn or(self, others: Self) -> Self {
        Self {
            settings: self.settings.or(others.settings),
            queues: if self.queues.is_empty() { others.queues } else { self.queues },
            concurrency: self.concurrency.or(others.concurrency),
            name: self.name.or(others.name),
        }
    }
}

/// Flags of `check`.
#[derive(Args)]
struct CheckFlags {
    #[command(flatten)]
    flags: WorkerFlags,
    /// Print one JSON object instead of lines
    #[arg(long)]
    json: bool,
    /// Ignored; for scripts that pass the same flags to all verbs.
    #[arg(long, value_name = "FILE", hide = true)]
    pid_file: Option<PathBuf>,
}

/// The pid file of a background worker.
#[derive(Args)]
struct PidFileFlags {
    /// Pid file of the background worker [default: ./redcall-worker.pid]
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
}

impl PidFileFlags {
    /// Returns these flags, with missing ones from `others`.
    fn or(self, others: Self) -> Self {
        Self { pid_file: self.pid_file.or(others.pid_file) }
    }

    fn path(self) -> PathBuf {
        self.pid_file.unwrap_or_else(|| PathBuf::from("redcall-worker.pid"))
    }
}

#[derive(Subcommand)]
enum Verb {
    /// Check settings, handlers, schedules and Redis; print jobs, services, queues and limits
    Check(CheckFlags),
    /// Print whether a worker runs in the background, and whether it was ready in the last seconds
    Status(PidFileFlags),
    /// Stop the background worker, which drains first; return when it has ended
    Stop(PidFileFlags),
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
        Some(Verb::Status(flags)) => background::status(&flags.or(cli.pid).path()),
        Some(Verb::Stop(flags)) => background::stop(&flags.or(cli.pid).path()),
        Some(Verb::Check(CheckFlags { flags, json, .. })) => {
            return match settings(&flags.or(cli.flags)) {
                Ok(settings) => check::run(settings, json),
                Err(problems) if json => check::unusable(problems),
                Err(problems) => fail(problems, 2),
            };
        }
        None => return work(cli),
    };
    done.unwrap_or_else(|(problem, code)| fail(vec![problem], code))
}

/// Returns the message if a flag in front of `verb` does not belong there.
fn misplaced(cli: &Cli, verb: &Verb) -> Option<String> {
    if cli.background {
        return Some("--background takes no command: it starts a worker".to_owned());
    }
    let name = match verb {
        Verb::Check(_) => return None,
        Verb::Status(_) => "status",
        Verb::Stop(_) => "stop",
    };
    let flag = cli.flags.first_given()?;
    Some(format!("`{name}` does not take {flag}; its only flag is --pid-file"))
}

/// Prints a help text, a version or an error about flags, each to its stream.
fn help(shown: &clap::Error) -> ExitCode {
    failure::help(shown.print(), shown.use_stderr(), shown.exit_code())
}

/// Runs a worker, or starts one in the background.
fn work(cli: Cli) -> ExitCode {
    let settings = match settings(&cli.flags) {
        Ok(settings) => settings,
        Err(problems) => return fail(problems, 2),
    };
    let pid_file = cli.pid.path();
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
    // A handler that ignores its cancellation must not keep the process alive.
    runtime.shutdown_background();
    let Err((problem, code)) = done else { return ExitCode::SUCCESS };
    let report = format!("{:?}", miette::Report::new(problem));
    if let Some(mut detached) = detached {
        detached.report(&report);
    }
    if code != out::CLOSED {
        // Printed by the log, which does not block.
        log.print(&report);
    }
    ExitCode::from(code)
}

fn settings(flags: &WorkerFlags) -> Result<Settings, Vec<Problem>> {
    let mut settings =
        Settings::load(flags.settings.as_deref()).map_err(|error| Problem::settings(&error))?;
    let mut flagged = flags.queues.iter().enumerate();
    if let Some((_, queue)) = flagged.find(|(at, queue)| flags.queues[..*at].contains(queue)) {
        let problem = Problem::new(format!("--queues names the queue `{queue}` twice"));
        return Err(vec![problem.help("Name each queue once.")]);
    }
    if !flags.queues.is_empty() {
        settings.worker.queues.clone_from(&flags.queues);
    }
    if let Some(concurrency) = flags.concurrency {
        settings.worker.concurrency = concurrency as usize;
    }
    if flags.name.is_some() {
        settings.worker.name.clone_from(&flags.name);
    }
    Ok(settings)
}

async fn run(mut settings: Settings, detached: Option<&mut Detached>) -> Result<(), (Problem, u8)> {
    let _private = private_server(&mut settings).await?;
    let worker = Worker::from_settings(settings).map_err(|error| problem(&error))?;
    let readiness = worker.readiness();
    let accompanying = async {
        match detached {
            Some(detached) => detached.accompany(readiness).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        ended = worker.run() => ended.map_err(|error| problem(&error)),
        () = accompanying => Ok(()), // never completes
    }
}

async fn private_server(settings: &mut Settings) -> Result<Option<Embedded>, (Problem, u8)> {
    Embedded::serve(&mut settings.redis).await.map_err(|error| (Problem::of(&error), 1))
}

fn problem(error: &WorkerError) -> (Problem, u8) {
    match error {
        WorkerError::Store(error) => (Problem::from(error), 1),
        WorkerError::Mapping { .. } => {
            let help = "Correct this key; `redcall-worker check` checks all of them.";
            (Problem::of(error).help(help), 2)
        }
        WorkerError::Settings(_) | WorkerError::Handler { .. } => (Problem::of(error), 2),
        WorkerError::Listen { .. } => {
            let help = "Free the address (another worker may have the same settings), or set \
                        another one with `admin.listen` or REDCALL__ADMIN__LISTEN; with port 0 the \
                        system chooses one, and the log names it.";
            (Problem::of(error).help(help), 1)
        }
        WorkerError::Rights { .. } => {
            let help = "Grant them with ACL SETUSER; see *Rights at Redis* in \
                        docs/reference/protocol.md.";
            (Problem::of(error).help(help), 1)
        }
        WorkerError::System(_) | WorkerError::IoThreadEnded => (Problem::of(error), 1),
    }
}

/// Returns the problem of a failed write to standard output.
fn unwritten(error: Unwritten) -> (Problem, u8) {
    (Problem::unwritten(&error), error.exit_code())
}

fn fail(problems: Vec<Problem>, code: u8) -> ExitCode {
    // A closed pipe is not reported: its reader has read enough.
    for problem in problems.into_iter().filter(|_| code != out::CLOSED) {
        out::report(problem);
    }
    ExitCode::from(code)
}
