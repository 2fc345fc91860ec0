//! `example worker`: a worker with the example's handlers compiled in.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::thread;

use redcall_common::report::Problem;
use redcall_common::settings::Settings;
use redcall_worker::{Worker, WorkerError, init_log};
use rustix::process::{Signal, getpid, kill_process};

use crate::failure::Failure;
use crate::root::Root;
use crate::{handlers, mapping};

/// Name of the flag below, for programs that start such a worker.
pub(crate) const UNTIL_STDIN_CLOSES: &str = "--until-stdin-closes";
/// As above.
pub(crate) const WITHOUT_PYTHON: &str = "--without-python";
/// As above.
pub(crate) const SKIP_SAFETY_WARNING: &str = "--skip-safety-warning";

/// Arguments of `worker`.
#[derive(clap::Args)]
pub(crate) struct Serve {
    /// Settings file; else REDCALL_SETTINGS, else the example's own
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// Directory to serve: paths in requests are relative to it
    #[arg(long, value_name = "DIR", env = "EXAMPLE_ROOT", default_value = ".")]
    root: PathBuf,
    /// Drain when standard input closes, so that the worker ends with its parent
    #[arg(long, hide = true)]
    until_stdin_closes: bool,
    /// The parent has found (and logged) that Python is missing
    #[arg(long, hide = true)]
    without_python: bool,
    /// The parent checks whether Redis may lose data
    #[arg(long, hide = true)]
    skip_safety_warning: bool,
}

impl Serve {
    /// Runs jobs until it is stopped.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let mut settings = mapping::load(self.settings.as_deref())?;
        let _log = init_log(&settings.log);
        settings.redis.skip_safety_warning = self.skip_safety_warning;
        if self.until_stdin_closes {
            watch_stdin()?;
        }
        let root = open(&self.root)?;
        let mut without_python = self.without_python;
        if !without_python && mapping::lacks_python(&settings.jobs).await {
            tracing::warn!("{}", mapping::WITHOUT_PYTHON);
            without_python = true;
        }
        mapping::fit(&mut settings, &root, without_python);
        Ok(build(settings, root)?.run().await?)
    }
}

/// Opens the directory to serve or to index.
pub(crate) fn open(dir: &Path) -> Result<Root, Failure> {
    Root::open(dir).map_err(|error| {
        let what = format!("{}: {error}", dir.display());
        Failure::usage(Problem::new(what).help("Name a directory that can be read."))
    })
}

/// Creates a worker from adapted settings.
pub(crate) fn build(settings: Settings, root: Root) -> Result<Worker, WorkerError> {
    Ok(handlers::install(Worker::from_settings(settings)?, root))
}

/// Sends SIGTERM to this process when its standard input closes, for a regular shutdown. The pipe
/// closes when the parent ends for any reason. A thread, not a task: reading from a pipe cannot be
/// cancelled.
fn watch_stdin() -> Result<(), Failure> {
    let watching = thread::Builder::new().name("parent".into()).spawn(|| {
        let mut ignored = [0; 64];
        while std::io::stdin().read(&mut ignored).is_ok_and(|read| read > 0) {}
        let _ = kill_process(getpid(), Signal::TERM);
    });
    watching.map(drop).map_err(|error| Failure::new(Problem::of(&error)))
}
