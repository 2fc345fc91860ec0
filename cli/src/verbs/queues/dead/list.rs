//! `redcall dead list`.

use clap::Args;
use redcall_client::{Client, DeadLetter};
use redcall_common::output as out;

use super::selection::Selection;
use crate::output::{line, moment, table};
use redcall_common::failure::Failure;

/// Default number of letters listed.
const LIMIT: u64 = 50;
/// Maximum width of a reason, characters.
const REASON: usize = 60;

/// The letters to list.
#[derive(Args)]
pub(crate) struct List {
    #[command(flatten)]
    which: Selection,
    /// List all, instead of up to 50
    #[arg(long, conflicts_with = "limit")]
    all: bool,
    /// List up to N
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// List the oldest first
    #[arg(long)]
    oldest: bool,
    /// Continue after this entry
    #[arg(long, value_name = "ENTRY", value_parser = entry)]
    after: Option<String>,
}

fn entry(text: &str) -> Result<String, String> {
    let numbers = text.split_once('-').map(|(ms, n)| (ms.parse::<u64>(), n.parse::<u64>()));
    match numbers {
        Some((Ok(_), Ok(_))) => Ok(text.to_owned()),
        _ => Err("expected an entry such as 1763683200000-0".to_owned()),
    }
}

impl List {
    pub(crate) async fn run(self, client: &Client, as_json: bool) -> Result<(), Failure> {
        let dead = client.dead(&self.which.queue);
        let mut left = if self.all { u64::MAX } else { self.limit.unwrap_or(LIMIT) };
        let mut selection = self.which.selection(None);
        (selection.newest_first, selection.after) = (!self.oldest, self.after);
        let (mut rows, mut jsons) = (Vec::new(), Vec::new());
        let next = loop {
            selection.limit = Some(left);
            let page = dead.list(&selection).await.map_err(|error| Failure::from(&error))?;
            left -= page.letters.len() as u64;
            for letter in &page.letters {
                if as_json {
                    // Strings, numbers and JSON text: cannot fail.
                    jsons.push(serde_json::to_string(letter).unwrap_or_default());
                } else {
                    rows.push(row(letter));
                }
            }
            if page.next.is_none() || left == 0 {
                break page.next;
            }
            selection.after = page.next;
        };
        if as_json {
            let (letters, next) = (jsons.join(","), serde_json::json!(next));
            out::line(format_args!("{{\"letters\":[{letters}],\"next\":{next}}}"))?;
        } else if rows.is_empty() {
            out::line("no dead letters")?;
        } else {
            out::line(table(&["time", "id", "job", "code", "attempts#", "reason"], rows))?;
            if let Some(next) = next {
                out::line(format_args!("there are more: --after {next}"))?;
            }
        }
        Ok(())
    }
}

fn row(letter: &DeadLetter) -> Vec<String> {
    // A letter without an id is identified by its entry.
    let id = if letter.id.is_empty() { &letter.entry } else { &letter.id };
    vec![
        moment(letter.at_ms),
        line(id, 64),
        letter.name.as_deref().map_or_else(|| "-".to_owned(), |name| line(name, 40)),
        line(&letter.code, 40),
        letter.attempts().to_string(),
        line(&letter.reason, REASON),
    ]
}
