//! [`Run`]: the arguments of `cargo xtask long attack`, and the rows so far.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use super::stage::row::{self, Row};

/// The arguments of `long attack`.
#[derive(Parser)]
#[command(name = "cargo xtask long attack", disable_version_flag = true)]
pub(super) struct Args {
    /// Attacks, all of them if none is named: calm, refusals, junk, types, logs, deferred,
    /// children, endpoints, admin, frames
    pub(super) names: Vec<String>,
    /// Only the cases whose name contains this text
    #[arg(long, value_name = "TEXT")]
    pub(super) case: Option<String>,
    /// Fewer cases and shorter ones: 2 min in place of 8
    #[arg(long)]
    pub(super) short: bool,
    /// Another worker program, in place of a release build of this one
    #[arg(long, value_name = "PROGRAM")]
    pub(super) worker: Option<PathBuf>,
}

/// A run: its arguments, and the rows so far.
pub(super) struct Run {
    pub(super) worker: PathBuf,
    pub(super) args: Args,
    pub(super) rows: Vec<Row>,
}

impl Run {
    /// Returns `true` if the case was requested.
    pub(super) fn wants(&self, case: &str) -> bool {
        self.args.case.as_ref().is_none_or(|part| case.contains(part.as_str()))
    }

    /// The longer or the shorter of two times.
    pub(super) fn lasts(&self, long: Duration) -> Duration {
        if self.args.short { long / 2 } else { long }
    }

    /// Notes a row, and prints it.
    pub(super) fn note(&mut self, row: Row) {
        println!("{row}");
        self.rows.push(row);
    }

    /// Prints all rows once more, with their violations; returns `true` if there are none.
    pub(super) fn table(&self) -> bool {
        println!("\n{}", row::heading());
        self.rows.iter().for_each(|row| println!("{row}"));
        let missed: Vec<&Row> = self.rows.iter().filter(|row| !row.missed.is_empty()).collect();
        println!("\n{} attacks, {} with a missed bound", self.rows.len(), missed.len());
        for row in &missed {
            println!("  {}: {}", row.name, row.missed.join("; "));
        }
        missed.is_empty()
    }
}
