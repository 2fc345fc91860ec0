//! The calling service: walks a directory, has workers process each file, prints the results.
//!
//! | file | holds |
//! |---|---|
//! | `calls.rs` | the calls: one, many in flight, fire and forget, streamed |
//! | `answers.rs` | the answers of the jobs |
//! | `tally.rs` | totals of the answers |
//! | `report.rs` | printing of the totals |
//! | `bar.rs` | progress bar on a terminal |

mod answers;
mod bar;
mod calls;
mod report;
mod tally;

use std::path::PathBuf;
use std::time::Instant;

use redcall_client::{CallError, Client, Code};
use redcall_common::output;
use redcall_common::report::Problem;
use redcall_common::settings::Settings;
use redcall_worker::init_log;
use tokio::task::spawn_blocking;

use crate::failure::Failure;
use crate::root::Root;
use crate::{mapping, walk, worker};
use tally::Tally;

/// Arguments of `index`.
#[derive(clap::Args)]
pub(crate) struct Index {
    /// Directory to index; workers must serve the same one
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Settings file; else REDCALL_SETTINGS, else the example's own
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
}

impl Index {
    /// Indexes with workers that run elsewhere.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let settings = mapping::load(self.settings.as_deref())?;
        let _log = init_log(&settings.log);
        run(&settings, &worker::open(&self.dir)?).await
    }
}

/// Indexes `root` and prints the report. Fails if a call failed. Dropping it abandons the answers,
/// not the jobs.
pub(crate) async fn run(settings: &Settings, root: &Root) -> Result<(), Failure> {
    let client = Client::from_settings(settings).await?;
    let started = Instant::now();
    let walking = root.clone();
    let walked = spawn_blocking(move || walk::files(&walking)).await;
    let walked = walked.map_err(|error| Failure::new(Problem::of(&error)))?;

    let mut tally = Tally::default();
    let sum = calls::add(&client).await;
    // No worker: every other call would fail the same way.
    if let Err(error) = &sum
        && matches!(error.code(), Code::NoWorkers | Code::Unavailable)
    {
        return Err(no_workers(error));
    }
    tally.sum(sum);
    // First: jobs start in the order of arrival, and this call does not wait.
    tally.visit(calls::log_visit(&client, walked.files.len()).await);
    calls::call_jobs(&client, &walked.files, &mut tally).await;
    tally.summary(calls::summarize(&client).await);

    let seconds = started.elapsed().as_secs_f64();
    output::line(report::Report { tally: &tally, seconds })?;
    report::complain(&walked.left_out, tally.failed());
    if walked.left_out.is_empty() && tally.failed().is_empty() {
        return Ok(());
    }
    Err(Failure::silent(1))
}

fn no_workers(error: &CallError) -> Failure {
    let help = "Start workers with `example worker --root DIR`, at the same Redis.";
    Failure::new(Problem::of(error).help(help))
}
