//! `cargo xtask long polls`: the instructions of Redis per poll, by the kind of request.
//!
//! A Redis of its own runs under callgrind, which counts only the scripts: the polls' calls of
//! `EVALSHA`. The counts are compared with a record, `dev/bench/polls.json` unless another is
//! named: it holds the counts of commit 38cadb9, before scripts undid their steps and bounded their
//! reads. Nothing is timed, so other load on the machine does not matter.
//!
//! | file | holds |
//! |---|---|
//! | `polls/cases.rs` | the kinds of polls |
//! | `polls/driver.rs` | a worker that only polls |
//! | `polls/redis.rs` | Redis under callgrind |

mod cases;
mod driver;
mod redis;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use cases::{CASES, SIZES};
use clap::Parser;
use driver::Driver;
use miette::{IntoDiagnostic as _, WrapErr as _, miette};
use redis::CountedRedis;
use serde_json::{Value, json};

use crate::instructions::baseline::{Counts, counts_of};
use crate::workspace::{Workspace, verdict};

/// The permitted increase. Runs differ by up to 1 %: Lua collects garbage at changing points.
const MAX_PERCENT: u64 = 3;

/// The arguments of `long polls`.
#[derive(Parser)]
#[command(name = "cargo xtask long polls", disable_version_flag = true)]
struct Args {
    /// Only the cases whose name contains one of these texts
    filters: Vec<String>,
    /// Writes the counts to a file, to compare another checkout with them
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Compares with the counts in this file, instead of dev/bench/polls.json
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
}

/// Counts all cases, and compares.
pub(super) fn run(workspace: &Workspace, args: &[String]) -> miette::Result<ExitCode> {
    let name = "cargo xtask long polls".to_owned();
    let args = Args::parse_from(std::iter::once(&name).chain(args));
    let recorded = workspace.root().join("dev/bench/polls.json");
    let before = read(args.against.as_deref().unwrap_or(&recorded))?;
    let folder = workspace.target_dir()?.join("polls");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let counts = runtime.into_diagnostic()?.block_on(count(&folder, &args.filters))?;
    if let Some(file) = &args.write {
        let json = json!({"architecture": std::env::consts::ARCH, "counts": counts});
        fs::write(file, format!("{json:#}\n")).into_diagnostic()?;
    }
    Ok(verdict(compare(&before, &counts)))
}

/// Counts the cases that match, each for all sizes.
async fn count(folder: &Path, filters: &[String]) -> miette::Result<Counts> {
    let mut redis = CountedRedis::start(folder)?;
    let mut counts = Counts::new();
    for case in &CASES {
        for size in &SIZES {
            let name = format!("{}/{}", case.name, size.requests);
            if !filters.is_empty() && !filters.iter().any(|filter| name.contains(filter)) {
                continue;
            }
            let mut driver = Driver::start(&mut redis, case, size.requests).await?;
            driver.prepare(size.warm_up + size.polls)?;
            driver.poll(size.warm_up).await?;
            driver.redis.count()?;
            driver.poll(size.polls).await?;
            let count = driver.redis.count()? / u64::from(size.polls);
            println!("{name:<28} {count:>11}");
            counts.insert(name, count);
        }
    }
    Ok(counts)
}

fn read(file: &Path) -> miette::Result<Counts> {
    let text = fs::read_to_string(file);
    let text = text.into_diagnostic().wrap_err_with(|| file.display().to_string())?;
    let json: Value = serde_json::from_str(&text).into_diagnostic()?;
    counts_of(&json).ok_or_else(|| miette!("{} is not a list of counts", file.display()))
}

/// Prints the table. Returns `true` if no count has grown by more than the permitted part.
#[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn compare(before: &Counts, now: &Counts) -> bool {
    let mut passed = true;
    println!("\n{:<28} {:>11} {:>11} {:>6}", "instructions per poll", "recorded", "now", "ratio");
    for (name, now) in now {
        let Some(before) = before.get(name) else {
            println!("{name:<28} {:>11} {now:>11}", "-");
            continue;
        };
        let is_worse = now * 100 > before * (100 + MAX_PERCENT);
        passed &= !is_worse;
        let mark = if is_worse { " worse" } else { "" };
        let ratio = *now as f64 / *before as f64;
        println!("{name:<28} {before:>11} {now:>11} {ratio:>6.3}{mark}");
    }
    passed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_the_permitted_increase_fails() {
        let of = |count| Counts::from([("plain/64".to_owned(), count)]);
        assert!(compare(&of(100), &of(103)));
        assert!(!compare(&of(100), &of(104)));
        assert!(compare(&Counts::new(), &of(104)));
    }
}
