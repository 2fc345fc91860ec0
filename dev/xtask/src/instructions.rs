//! `cargo xtask instructions`: how many instructions the inner parts of a call are, against the
//! counts that were committed.
//!
//! Callgrind counts them, one part in one process. It gives programs the same simple CPU wherever
//! it runs, so that counts agree between machines and runs far better than times do. It is called
//! directly: docs/internals/decisions/0011 explains why not through a library.

pub(crate) mod baseline;

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use baseline::{Baseline, Counts};
use miette::{IntoDiagnostic as _, WrapErr as _, miette};

use crate::programs::valgrind;
use crate::workspace::{Workspace, output, run as succeeds, verdict};

/// The measured crates. Only they are optimised: all other crates are shared with the tests'
/// builds, so that CI builds little.
const OPTIMISED: &[&str] = &[
    "redcall-bench-inner",
    "redcall-client",
    "redcall-common",
    "redcall-store",
    "bytes",
    "combine",
    "itoa",
    "memchr",
    "redis",
    "serde",
    "serde_core",
    "serde_json",
    "tokio",
];

/// How. One unit each, or counts would change with how a crate happens to be cut up.
const PROFILE: &[&str] =
    &["opt-level=3", "codegen-units=1", "debug-assertions=false", "overflow-checks=false"];

/// Keeps the C library from choosing by the CPU how it copies and compares bytes.
pub(crate) const PLAIN_CPU: &str = "glibc.cpu.hwcaps=-AVX2,-AVX2_Usable,\
    -AVX_Fast_Unaligned_Load,-AVX512F,-AVX512VL,-ERMS,-FSRM,-SSSE3,-SSE4_1,-SSE4_2,-BMI2,\
    -MOVBE,-RTM";

/// The measured function, by its name in the program.
const MEASURED: &str = "redcall_instructions::measured*";

/// The arguments of `instructions`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Write the counts into dev/bench/instructions.json, instead of comparing with it.
    #[arg(long)]
    update: bool,
    /// Count only the parts with one of these in their names.
    #[arg(conflicts_with = "update")]
    filters: Vec<String>,
}

/// Builds the parts, counts, and compares.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> miette::Result<ExitCode> {
    let file = workspace.root().join("dev/bench/instructions.json");
    let baseline = if args.update { None } else { Some(Baseline::read(&file)?) };
    let valgrind = valgrind::ensure()?;
    let program = build(workspace)?;
    let profiles = workspace.target_dir()?.join("instructions");
    fs::create_dir_all(&profiles).into_diagnostic()?;

    let mut counts = Counts::new();
    for part in output(&mut Command::new(&program))?.lines() {
        if args.filters.is_empty() || args.filters.iter().any(|filter| part.contains(filter)) {
            let profile = profiles.join(format!("{}.callgrind", part.replace('/', ".")));
            counts.insert(part.to_owned(), count(&valgrind, &program, part, &profile)?);
        }
    }
    let Some(baseline) = baseline else {
        Baseline::of_here(counts)?.write(&file)?;
        eprintln!("Written to {}. State in the commit why counts have changed.", file.display());
        return Ok(ExitCode::SUCCESS);
    };
    let comparison = baseline.compare(&counts, args.filters.is_empty());
    print!("{}", comparison.table);
    for remark in &comparison.remarks {
        eprintln!("{remark}");
    }
    if !comparison.passed {
        eprintln!("Where they go: callgrind_annotate {}/NAME.callgrind", profiles.display());
    }
    Ok(verdict(comparison.passed))
}

/// The program that runs the parts.
fn build(workspace: &Workspace) -> miette::Result<std::path::PathBuf> {
    let mut cargo = workspace.cargo();
    // The whole workspace, so that features are those of the tests' builds, and their parts fit.
    cargo.args(["build", "--quiet", "--workspace", "--bin", "redcall-instructions"]);
    for name in OPTIMISED {
        for setting in PROFILE {
            cargo.args(["--config", &format!("profile.dev.package.{name}.{setting}")]);
        }
    }
    // Incremental builds cut crates up as well.
    if !succeeds(cargo.env("CARGO_INCREMENTAL", "0").env_remove("RUSTFLAGS"))? {
        return Err(miette!("the parts could not be built"));
    }
    Ok(workspace.target_dir()?.join("debug").join("redcall-instructions"))
}

/// Counts one part. Callgrind writes its profile to `profile`.
fn count(valgrind: &Path, program: &Path, part: &str, profile: &Path) -> miette::Result<u64> {
    let mut command = Command::new(valgrind);
    command.args(["--tool=callgrind", "--collect-atstart=no"]);
    command.arg(format!("--toggle-collect={MEASURED}"));
    command.arg(format!("--callgrind-out-file={}", profile.display()));
    output(command.arg(program).arg(part).env("GLIBC_TUNABLES", PLAIN_CPU))?;
    counted(profile).wrap_err_with(|| part.to_owned())
}

/// Returns the instructions in a profile of callgrind.
pub(crate) fn counted(profile: &Path) -> miette::Result<u64> {
    let text = fs::read_to_string(profile).into_diagnostic()?;
    // Nothing counted is a part that was not found, not a fast one.
    let count = total(&text).filter(|count| *count > 0);
    count.ok_or_else(|| miette!("callgrind has counted nothing ({})", profile.display()))
}

/// The sum of a profile with instructions as its only event.
fn total(profile: &str) -> Option<u64> {
    profile.lines().find_map(|line| line.strip_prefix("summary: "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_of_a_profile_is_found() {
        let profile = "events: Ir\nfn=(1) x\n12 30\nsummary: 96312\ntotals: 96312\n";
        assert_eq!(total(profile), Some(96_312));
        assert_eq!(total("events: Ir\nsummary: \n"), None);
    }
}
