//! The whole stack in one command: Redis, workers, and the calling service in this process.
//!
//! | file | holds |
//! |---|---|
//! | `crew.rs` | the workers: starting, watching and ending them |
//! | `process.rs` | one worker as a child process |
//! | `safety.rs` | the warning about a Redis that may lose data |
//! | `interrupts.rs` | SIGINT and SIGTERM to this process |

mod crew;
mod interrupts;
mod process;
mod safety;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use clap::value_parser;
use redcall_common::output;
use redcall_common::settings::Settings;
use redcall_store::embedded::Embedded;
use redcall_worker::init_log;

use crate::failure::Failure;
use crate::{index, mapping, worker};
use crew::Crew;
use interrupts::Interrupts;
use process::LOG_LEVEL;

const QUIET: &str = "warn";

/// Arguments of the demo.
#[derive(clap::Args)]
pub(crate) struct Demo {
    /// Directory to index; else the repository that contains the working directory, else that
    /// directory
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Settings file; else REDCALL_SETTINGS, else the example's own
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// Number of worker processes
    #[arg(long, value_name = "N", default_value_t = 2)]
    #[arg(value_parser = value_parser!(u16).range(1..=64))]
    workers: u16,
    /// Run one worker in this process instead
    #[arg(long, conflicts_with = "workers")]
    in_process: bool,
}

impl Demo {
    /// Starts everything, indexes, ends everything. Dropping it leaves no process behind.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let mut interrupts = Interrupts::listen()?;
        let mut settings = mapping::load(self.settings.as_deref())?;
        if env::var_os(LOG_LEVEL).is_none() {
            QUIET.clone_into(&mut settings.log.level);
        }
        let _log = init_log(&settings.log);
        let root = worker::open(&self.dir.unwrap_or_else(repository))?;
        if !settings.redis.url_named {
            "embedded".clone_into(&mut settings.redis.url);
        }
        // Concurrently: both wait for a process to start.
        let (server, without_python) = tokio::join!(
            Embedded::serve(&mut settings.redis),
            mapping::lacks_python(&settings.jobs)
        );
        // Ends after everything that uses it.
        let server = server?;
        if without_python {
            output::hint(mapping::WITHOUT_PYTHON);
        }
        let crew = if self.in_process { None } else { Some(self.workers) };
        output::hint(header(&settings, server.is_some(), crew));
        // Logged once, by this process, whatever the number of workers.
        let redis = settings.redis.clone();
        settings.redis.skip_safety_warning = true;
        let mut crew = match crew {
            Some(count) => Crew::processes(count, &settings, &root, without_python)?,
            None => Crew::task(&settings, &root, without_python)?,
        };
        let done = tokio::select! {
            (done, ()) = async {
                tokio::join!(index::run(&settings, &root), safety::warn(&redis))
            } => done,
            lost = crew.lost() => Err(lost),
            interrupted = interrupts.next() => Err(interrupted),
        };
        // A second signal ends the wait: remaining workers are killed.
        let ended = tokio::select! {
            ended = crew.end() => ended,
            interrupted = interrupts.next() => Err(interrupted),
        };
        done.and(ended)
    }
}

/// Describes the processes in one line.
fn header(settings: &Settings, private: bool, processes: Option<u16>) -> String {
    let redis = if private { "a private Redis".to_owned() } else { settings.redis.redacted_url() };
    match processes {
        Some(1) => format!("1 worker process, {redis}"),
        Some(count) => format!("{count} worker processes, {redis}"),
        None => format!("a worker in this process, {redis}"),
    }
}

/// Returns the repository that contains the working directory, else that directory.
fn repository() -> PathBuf {
    let is_repository = |dir: &&Path| {
        let manifest = fs::read_to_string(dir.join("Cargo.toml")).unwrap_or_default();
        dir.join(".git").exists() || manifest.lines().any(|line| line.trim() == "[workspace]")
    };
    let cwd = env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    cwd.ancestors().find(is_repository).unwrap_or(&cwd).to_owned()
}
