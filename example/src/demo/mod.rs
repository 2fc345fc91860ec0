//! The whole stack in one command: Redis, workers, and the calling service in this process.
//!
//! | file | holds |
//! |---|---|
//! | `crew.rs` | the workers, wherever they run: starting, watching, ending them |
//! | `process.rs` | one worker as a child process |
//! | `interrupts.rs` | SIGINT and SIGTERM to this process |

mod crew;
mod interrupts;
mod process;

use std::env;
use std::path::{Path, PathBuf};

use redcall_common::report::Problem;
use redcall_common::settings::Settings;
use redcall_common::store::embedded::Embedded;
use redcall_worker::init_log;

use crate::failure::Failure;
use crate::root::Root;
use crate::{index, mapping, worker};
use crew::{Crew, Place};
use interrupts::Interrupts;

const LOG_LEVEL: &str = "REDCALL__LOG__LEVEL";
const QUIET: &str = "warn";

/// What the demo takes.
#[derive(clap::Args)]
pub(crate) struct Demo {
    /// Directory to index; else the repository around the working directory, else that itself
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Settings file; else REDCALL_SETTINGS, else the example's own
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// How many worker processes to start
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
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
        init_log(&settings.log);
        let dir = self.dir.clone().unwrap_or_else(repository);
        let root = worker::open(&dir)?;
        let named = settings.redis.url_named;
        if !named {
            "embedded".clone_into(&mut settings.redis.url);
        }
        // Together: both wait for a process that starts.
        let (server, without_python) =
            tokio::join!(Embedded::serve(&mut settings.redis), lacks_python(&self.settings));
        let _server = server?;
        if without_python? {
            eprintln!("{}", mapping::WITHOUT_PYTHON);
        }
        Ok(())
    }
}
