//! `redcall dead retry` and `redcall dead purge`.

use clap::{ArgGroup, Args};
use redcall_client::{Client, Code, DeadRef, DeadReport};
use redcall_common::output::{self as out, Unwritten};
use redcall_common::report::Problem;

use super::selection::Selection;
use crate::output::{line, table};
use redcall_common::failure::{Failure, json};

/// The change to be made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Retry,
    Purge,
}

/// Selection and mode. A selection is required: an empty command must not select all.
#[derive(Args)]
#[command(group(
    ArgGroup::new("which").args(["ids", "code", "name", "all"]).required(true).multiple(true)
))]
pub(crate) struct Change {
    #[command(flatten)]
    which: Selection,
    /// All dead letters of the queue, or all that match the other options
    #[arg(long)]
    all: bool,
    /// At most N, the oldest first
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Only print the result, change nothing
    #[arg(long)]
    dry_run: bool,
}

impl Change {
    pub(crate) async fn run(
        self,
        client: &Client,
        kind: Kind,
        as_json: bool,
    ) -> Result<(), Failure> {
        let selection = self.which.selection(self.limit);
        let dead = client.dead(&self.which.queue);
        let report = match kind {
            Kind::Retry => dead.retry(&selection, self.dry_run).await,
            Kind::Purge => dead.purge(&selection, self.dry_run).await,
        };
        let report = report.map_err(|error| Failure::from(&error))?;
        let done = |error: Unwritten| error.after(summary(&report, kind, self.dry_run));
        if as_json {
            let mut json = serde_json::json!(report);
            json["queue"] = self.which.queue.into();
            json["dry_run"] = self.dry_run.into();
            out::line(json).map_err(done)?;
        } else {
            print(&report, kind, self.dry_run).map_err(done)?;
        }
        match left_over(&report) {
            Some((code, message)) => {
                let help = "These letters are unchanged; the result of the others is above.";
                let json = json(code.as_str(), &message);
                Err(Failure { problems: vec![Problem::new(message).help(help)], code: 1, json })
            }
            None => Ok(()),
        }
    }
}

fn summary(report: &DeadReport, kind: Kind, dry_run: bool) -> String {
    let count = report.done.len();
    let what = match (kind, dry_run) {
        (Kind::Retry, false) => "requeued",
        (Kind::Retry, true) => "would be requeued",
        (Kind::Purge, false) => "purged",
        (Kind::Purge, true) => "would be purged",
    };
    format!("{count} {what}")
}

fn print(report: &DeadReport, kind: Kind, dry_run: bool) -> Result<(), Unwritten> {
    if dry_run && !report.done.is_empty() {
        out::line(table(&["entry", "id", "job"], report.done.iter().map(row)))?;
    }
    // The other letters keep their ids.
    let mut renamed = report.done.iter().filter(|letter| letter.retried_as.is_some()).peekable();
    if renamed.peek().is_some() {
        out::line(table(&["entry", "id", "job", "retried as"], renamed.map(renamed_row)))?;
    }
    out::line(summary(report, kind, dry_run))?;
    if report.gone > 0 {
        out::line(format_args!("{} no longer existed", report.gone))?;
    }
    if !report.skipped.is_empty() {
        let rows = report.skipped.iter().map(|letter| {
            vec![letter.entry.clone(), line(&letter.id, 64), line(&letter.reason, 80)]
        });
        out::line(table(&["cannot be retried", "id", "why"], rows))?;
    }
    Ok(())
}

fn row(letter: &DeadRef) -> Vec<String> {
    let name = letter.name.as_deref().unwrap_or("-");
    vec![letter.entry.clone(), line(&letter.id, 64), line(name, 40)]
}

fn renamed_row(letter: &DeadRef) -> Vec<String> {
    let mut row = row(letter);
    row.extend(letter.retried_as.clone());
    row
}

/// Returns the letters not changed: all reasons, and the code of the first one.
fn left_over(report: &DeadReport) -> Option<(Code, String)> {
    let mut reasons = Vec::new();
    if report.full {
        let message = "the queue is full (limits.max_length)".to_owned();
        reasons.push((Code::Overloaded, message));
    }
    if !report.unknown.is_empty() {
        let message = format!("no dead letter found with id {}", report.unknown.join(", "));
        reasons.push((Code::NotFound, message));
    }
    if !report.skipped.is_empty() {
        let message = format!("{} cannot be retried", report.skipped.len());
        reasons.push((Code::InvalidRequest, message));
    }
    let code = reasons.first()?.0;
    let messages: Vec<String> = reasons.into_iter().map(|(_, message)| message).collect();
    Some((code, messages.join("; ")))
}
