//! The output: a table for each competitor, two lines for each number of callers.

use redcall_bench::CallFigures;

use crate::table::Rounds;

/// A competitor and Redcall, in turns.
#[derive(Default)]
pub(super) struct Pair {
    theirs: Seen,
    ours: Seen,
    /// How many times as many calls Redcall answers, in two consecutive turns.
    ratio: Rounds,
}

/// The figures of one system's rounds.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) rate: Rounds,
    pub(super) p50: Rounds,
    pub(super) p99: Rounds,
}

pub(super) fn head(about: &str) -> miette::Result<()> {
    report_line!("\n{}\n", about.trim());
    report_line!(
        "| callers | | per s | p50 us | p99 us | Redcall / competitor |\n|---|---|---|---|---|---|"
    );
    Ok(())
}

impl Pair {
    pub(super) fn note(&mut self, theirs: &CallFigures, ours: &CallFigures) {
        self.theirs.note(theirs);
        self.ours.note(ours);
        self.ratio.note(ours.calls_per_s / theirs.calls_per_s);
    }

    pub(super) fn print(&self, name: &str, callers: usize) -> miette::Result<()> {
        report_line!("| {callers} | {name} | {} | |", self.theirs.text());
        report_line!("| | Redcall | {} | {} |", self.ours.text(), self.ratio.text());
        Ok(())
    }
}

impl Seen {
    pub(super) fn note(&mut self, figures: &CallFigures) {
        self.rate.note(figures.calls_per_s);
        self.p50.note(figures.p50_us);
        self.p99.note(figures.p99_us);
    }

    pub(super) fn text(&self) -> String {
        format!("{} | {} | {}", self.rate.text(), self.p50.text(), self.p99.text())
    }
}
