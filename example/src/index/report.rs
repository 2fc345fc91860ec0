//! Output: the table and the totals on stdout, errors on stderr.

use std::fmt;

use comfy_table::presets::NOTHING;
use comfy_table::{Cell, CellAlignment, Table};
use redcall_common::output;

use super::tally::{Failed, Kind, Tally};

/// Maximum number of kinds with a row of their own.
const ROWS: usize = 12;
/// Maximum number of errors printed in full.
const COMPLAINTS: usize = 20;

/// The report as text.
pub(super) struct Report<'a> {
    pub(super) tally: &'a Tally,
    /// Duration of the run.
    pub(super) seconds: f64,
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tally, seconds } = self;
        writeln!(f, "{}", table(&tally.kinds()).trim_fmt())?;
        if let Some(answer) = tally.answer() {
            writeln!(f, "add: 1 + 2 = {answer}")?;
        }
        if let Some(summary) = tally.summarized() {
            let (files, bytes) = (count(summary.files, "file"), count(summary.bytes, "byte"));
            let frames = count(summary.frames, "frame");
            writeln!(f, "summarize: {files}, {bytes}, after {frames} of progress")?;
        }
        let Kind { files, bytes, documents, words } = tally.total();
        let (files, bytes) = (count(files, "file"), count(bytes, "byte"));
        let (documents, words) = (count(documents, "document"), count(words, "word"));
        writeln!(f, "{files}, {bytes}; {words} in {documents}")?;
        let errors = count(tally.failed().len() as u64, "error");
        let calls = tally.calls();
        // Calls are far below 2^52.
        let rate = calls as f64 / seconds.max(0.001);
        write!(f, "{}, {errors}, {seconds:.2} s, {rate:.0} calls/s", count(calls, "call"))
    }
}

/// Prints errors on stderr: files that cannot be read, calls without an answer.
pub(super) fn complain(left_out: &[String], failed: &[Failed]) {
    let failed = failed.iter().map(|Failed { call, error }| format!("{call}: {error}"));
    let complaints = left_out.iter().cloned().chain(failed);
    let more = complaints.clone().count().saturating_sub(COMPLAINTS);
    for complaint in complaints.take(COMPLAINTS) {
        output::hint(format_args!("error: {complaint}"));
    }
    if more > 0 {
        output::hint(format_args!("error: and {more} more"));
    }
}

fn table(kinds: &[(&str, Kind)]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(["KIND", "FILES", "BYTES", "WORDS"]);
    for (name, kind) in kinds.iter().take(ROWS) {
        let words = if kind.documents > 0 { grouped(kind.words) } else { String::new() };
        let numbers = [grouped(kind.files), grouped(kind.bytes), words];
        let numbers = numbers.map(|text| Cell::new(text).set_alignment(CellAlignment::Right));
        table.add_row([Cell::new(name)].into_iter().chain(numbers));
    }
    if let Some(more) = kinds.len().checked_sub(ROWS).filter(|more| *more > 0) {
        table.add_row([Cell::new(format!("{more} more"))]);
    }
    table
}

/// "1 file", "1,234 files"
fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", grouped(number))
}

/// Digits in groups of three.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_with_plural() {
        for (number, expected) in [(0, "0 files"), (1, "1 file"), (1_234_567, "1,234,567 files")] {
            assert_eq!(count(number, "file"), expected);
        }
        assert_eq!(grouped(123), "123");
    }
}
