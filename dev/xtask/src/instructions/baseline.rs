//! The committed counts, and the permitted differences.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use miette::{IntoDiagnostic as _, WrapErr as _, miette};
use serde_json::{Value, json};

/// A part of a call by its name, and its instructions.
pub(crate) type Counts = BTreeMap<String, u64>;

/// Returns the counts of a record; `None` if it has none.
pub(crate) fn counts_of(record: &Value) -> Option<Counts> {
    let counts = record["counts"].as_object()?.iter();
    counts.map(|(name, count)| Some((name.clone(), count.as_u64()?))).collect()
}

/// A larger increase is an error. Random differences are below 0.1 %.
const MAX_PERCENT: u64 = 5;

/// `dev/bench/instructions.json`.
#[derive(Debug)]
pub(super) struct Baseline {
    /// Another architecture has other instructions.
    architecture: String,
    /// Another compiler makes other ones.
    rustc: String,
    counts: Counts,
}

/// The result of a comparison.
#[derive(Debug)]
pub(super) struct Comparison {
    pub(super) passed: bool,
    pub(super) table: String,
    /// Remarks below the table.
    pub(super) remarks: Vec<String>,
}

impl Baseline {
    /// Counts of this machine.
    pub(super) fn of_here(counts: Counts) -> miette::Result<Self> {
        let architecture = std::env::consts::ARCH.to_owned();
        Ok(Self { architecture, rustc: rustc()?, counts })
    }

    pub(super) fn read(file: &Path) -> miette::Result<Self> {
        let text = fs::read_to_string(file);
        let text = text.into_diagnostic().wrap_err_with(|| file.display().to_string())?;
        Self::parse(&text)
            .ok_or_else(|| {
                let help = "`cargo xtask instructions --update` writes it again";
                miette!(help = help, "{} is not a list of counts", file.display())
            })?
            .for_here()
    }

    fn parse(text: &str) -> Option<Self> {
        let json: Value = serde_json::from_str(text).ok()?;
        let text = |name: &str| json[name].as_str().map(str::to_owned);
        let counts = counts_of(&json)?;
        Some(Self { architecture: text("architecture")?, rustc: text("rustc")?, counts })
    }

    fn for_here(self) -> miette::Result<Self> {
        let (here, there) = (std::env::consts::ARCH, &self.architecture);
        if here != there {
            let help = "run it where CI runs, or with --update for counts of your own";
            return Err(miette!(help = help, "the counts are of {there}, and this is {here}"));
        }
        Ok(self)
    }

    pub(super) fn write(&self, file: &Path) -> miette::Result<()> {
        let Self { architecture, rustc, counts } = self;
        let json = json!({"architecture": architecture, "rustc": rustc, "counts": counts});
        fs::write(file, format!("{json:#}\n"))
            .into_diagnostic()
            .wrap_err_with(|| file.display().to_string())
    }

    /// Compares `counts` with these; `all` of the parts were counted.
    pub(super) fn compare(&self, counts: &Counts, all: bool) -> Comparison {
        let mut table =
            format!("{:<28} {:>11} {:>11} {:>9}\n", "part", "committed", "now", "change");
        let (mut worse, mut better, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
        for (name, now) in counts {
            let Some(before) = self.counts.get(name) else {
                unknown.push(name.as_str());
                let _ = writeln!(table, "{name:<28} {:>11} {now:>11} {:>9}", "-", "new");
                continue;
            };
            // Integers, so that the bound is exact.
            let mark = if now * 100 > before * (100 + MAX_PERCENT) {
                worse.push(name.as_str());
                " worse"
            } else if now * 100 < before * (100 - MAX_PERCENT) {
                better.push(name.as_str());
                " better"
            } else {
                ""
            };
            let percent = percent(*before, *now);
            let _ = writeln!(table, "{name:<28} {before:>11} {now:>11} {percent:>+8.2}%{mark}");
        }
        let gone = self.counts.keys().filter(|name| all && !counts.contains_key(*name));
        unknown.extend(gone.map(String::as_str));
        let passed = worse.is_empty() && unknown.is_empty();
        Comparison { passed, table, remarks: self.remarks(&worse, &better, &unknown) }
    }

    fn remarks(&self, worse: &[&str], better: &[&str], unknown: &[&str]) -> Vec<String> {
        const UPDATE: &str = "`cargo xtask instructions --update`";
        let mut remarks = Vec::new();
        if !worse.is_empty() {
            let names = worse.join(", ");
            remarks.push(format!(
                "Over {MAX_PERCENT} % more instructions than committed: {names}. If that is \
                 meant, commit what {UPDATE} writes, and state why."
            ));
        }
        if !better.is_empty() {
            let names = better.join(", ");
            remarks.push(format!(
                "Over {MAX_PERCENT} % fewer: {names}. Commit what {UPDATE} writes, or they may \
                 come back unnoticed."
            ));
        }
        if !unknown.is_empty() {
            let names = unknown.join(", ");
            remarks.push(format!("Only here or only committed: {names}. Run {UPDATE}."));
        }
        match rustc() {
            Ok(here) if here != self.rustc && !(worse.is_empty() && better.is_empty()) => {
                let there = &self.rustc;
                remarks.push(format!("The counts are of rustc {there}, and this is {here}."));
            }
            _ => {}
        }
        remarks
    }
}

/// By how much `now` is more than `before`.
#[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn percent(before: u64, now: u64) -> f64 {
    (now as f64 / before as f64 - 1.0) * 100.0
}

/// The version of the compiler.
fn rustc() -> miette::Result<String> {
    let output = Command::new("rustc").arg("--version").output().into_diagnostic()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.split(' ').nth(1).map(str::to_owned);
    version.ok_or_else(|| miette!("`rustc --version` prints no version"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(of: &[(&str, u64)]) -> Counts {
        of.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    fn compare(before: &[(&str, u64)], now: &[(&str, u64)], all: bool) -> Comparison {
        Baseline::of_here(counts(before)).unwrap().compare(&counts(now), all)
    }

    #[test]
    fn five_percent_more_instructions_fail_with_a_remedy() {
        assert!(compare(&[("a", 1000)], &[("a", 1050)], true).passed);
        let worse = compare(&[("a", 1000), ("b", 1000)], &[("a", 1051), ("b", 1000)], true);
        assert!(!worse.passed);
        assert!(worse.table.contains("+5.10% worse"), "{}", worse.table);
        let [remark] = worse.remarks.as_slice() else { panic!("{:?}", worse.remarks) };
        assert!(remark.contains("committed: a.") && remark.contains("--update"), "{remark}");
    }

    #[test]
    fn more_than_five_percent_better_passes_with_a_hint() {
        assert!(compare(&[("a", 1000)], &[("a", 950)], true).remarks.is_empty());
        let better = compare(&[("a", 1000)], &[("a", 940)], true);
        assert!(better.passed);
        assert!(better.remarks[0].contains("fewer: a."), "{:?}", better.remarks);
    }

    #[test]
    fn a_part_that_is_only_here_or_only_committed_fails() {
        assert!(!compare(&[("a", 1000)], &[("a", 1000), ("b", 1)], true).passed);
        assert!(!compare(&[("a", 1000), ("b", 1)], &[("a", 1000)], true).passed);
        // A part that was not requested.
        assert!(compare(&[("a", 1000), ("b", 1)], &[("a", 1000)], false).passed);
    }

    #[test]
    fn written_baseline_reads_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("instructions.json");
        let written = Baseline::of_here(counts(&[("a/b", 7)])).unwrap();
        written.write(&file).unwrap();
        let read = Baseline::read(&file).unwrap();
        assert_eq!((read.rustc, read.counts), (written.rustc, written.counts));
        let other = r#"{"architecture":"pdp11","rustc":"1.95.0","counts":{}}"#;
        fs::write(&file, other).unwrap();
        let error = Baseline::read(&file).unwrap_err();
        assert!(error.to_string().starts_with("the counts are of pdp11"), "{error}");
        for wrong in ["", "{}", r#"{"architecture":"","rustc":"","counts":{"a":-1}}"#] {
            assert!(Baseline::parse(wrong).is_none(), "{wrong}");
        }
    }
}
