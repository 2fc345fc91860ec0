//! `cargo xtask fuzz`: the fuzz targets of `dev/fuzz/`, on stable Rust and without cargo-fuzz.
//!
//! Builds them with the flags of `cargo fuzz build --sanitizer none`, in a folder of their own, so
//! that the flags do not cause other rebuilds. All targets run at once: libFuzzer uses one thread
//! each.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode};

use miette::{IntoDiagnostic as _, WrapErr as _, miette};

use crate::checks::steps::Steps;
use crate::workspace::{Workspace, run as succeeds, runs};

/// The targets, `dev/fuzz/src/<name>.rs` each.
const TARGETS: &[&str] = &[
    "avro",
    "envelope",
    "frames",
    "gateway_bgpy",
    "gateway_pm",
    "pickle",
    "script_results",
    "settings",
    "zmtp",
];

/// The instrumentation by which libFuzzer learns the parts of the program that an input has
/// reached.
const FLAGS: &[&str] = &[
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// Longest input, in bytes: smaller inputs find the same sooner.
const LONGEST: u32 = 2048;

/// The most inputs that are kept per target: enough to begin with, and few to read and to replay.
/// Others are found again within seconds.
const KEPT: usize = 50;

/// The arguments of `fuzz`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long they run, in all.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Then keep a small choice of the inputs that reach most, in dev/fuzz/corpus.
    #[arg(long)]
    keep: bool,
    /// Run only these targets.
    targets: Vec<String>,
}

/// Builds the targets and runs them.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> miette::Result<ExitCode> {
    if let Some(unknown) = args.targets.iter().find(|name| !TARGETS.contains(&name.as_str())) {
        let help = format!("the targets are {}", TARGETS.join(", "));
        return Err(miette!(help = help, "unknown fuzz target `{unknown}`"));
    }
    if !runs("c++", "--version") {
        let help = "install one (Debian: apt install g++)";
        return Err(miette!(help = help, "libFuzzer needs a C++ compiler, and there is no `c++`"));
    }
    let folder = workspace.target_dir()?.join("fuzz");
    let triple = host()?;
    let mut steps = Steps::default();
    let mut built = false;
    steps.step("fuzz targets", || {
        let mut cargo = workspace.cargo();
        cargo.args(["build", "--quiet", "--package", "redcall-fuzz", "--bins"]);
        // With a target named, the flags are not for build scripts and procedural macros.
        cargo.args(["--profile", "fuzz", "--target", &triple, "--target-dir"]).arg(&folder);
        built = succeeds(cargo.env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}")))?;
        Ok(built)
    });
    if built {
        let programs = folder.join(&triple).join("fuzz");
        let wanted = |name: &str| args.targets.is_empty() || args.targets.iter().any(|t| t == name);
        let named = TARGETS.iter().filter(|name| wanted(name));
        let targets: Vec<Target> =
            named.map(|name| Target::new(name, workspace, &folder, &programs)).collect();
        let mut running = Vec::new();
        for target in &targets {
            running.push(target.start(args.seconds)?);
        }
        for (target, child) in targets.iter().zip(running) {
            steps.step(target.name, || target.passes(child));
        }
        if args.keep {
            for target in &targets {
                steps.step("corpus", || target.keep());
            }
        }
    }
    Ok(steps.finish())
}

/// One target and its files.
struct Target {
    name: &'static str,
    program: PathBuf,
    /// The inputs in the repository. Only read while the target runs.
    kept: PathBuf,
    /// The inputs that this and earlier runs have found.
    found: PathBuf,
    /// Inputs that failed.
    failed: PathBuf,
    /// The output of libFuzzer.
    log: PathBuf,
    words: PathBuf,
}

impl Target {
    fn new(name: &'static str, workspace: &Workspace, folder: &Path, programs: &Path) -> Self {
        let home = workspace.root().join("dev/fuzz");
        Self {
            name,
            program: programs.join(name),
            kept: home.join("corpus").join(name),
            found: folder.join("corpus").join(name),
            failed: folder.join("artifacts").join(name),
            log: folder.join(format!("{name}.log")),
            words: home.join("dict").join(format!("{name}.dict")),
        }
    }

    fn start(&self, seconds: u32) -> miette::Result<Child> {
        for folder in [&self.found, &self.failed] {
            fs::create_dir_all(folder).into_diagnostic()?;
        }
        let log = File::create(&self.log).into_diagnostic().wrap_err("no log can be written")?;
        let mut command = Command::new(&self.program);
        command.arg(format!("-max_total_time={seconds}")).arg(format!("-max_len={LONGEST}"));
        // Seconds for one input: a slower reader stalls its caller.
        command.args(["-timeout=10", "-rss_limit_mb=1024", "-print_final_stats=1"]);
        command.arg(format!("-artifact_prefix={}/", self.failed.display()));
        command.arg(format!("-dict={}", self.words.display()));
        command.arg(&self.found).arg(&self.kept);
        let command = command.stdout(log.try_clone().into_diagnostic()?).stderr(log);
        command.spawn().into_diagnostic().wrap_err_with(|| format!("{} does not run", self.name))
    }

    /// Returns `true` if no input has failed.
    fn passes(&self, mut child: Child) -> miette::Result<bool> {
        let passed = child.wait().into_diagnostic()?.success();
        let log = fs::read(&self.log).into_diagnostic()?;
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        // Where it failed, the whole story; else how far it came.
        let shown = |line: &&&str| line.starts_with("Done ") || (!passed && !line.starts_with('#'));
        let shown: Vec<&str> = lines.iter().filter(shown).copied().collect();
        for line in &shown[shown.len().saturating_sub(60)..] {
            eprintln!("{line}");
        }
        if !passed {
            eprintln!(
                "The input lies in {}; the log is {}.",
                self.failed.display(),
                self.log.display()
            );
            eprintln!("Again: cargo run -p redcall-fuzz --bin {} -- FILE", self.name);
        }
        Ok(passed)
    }

    /// Replaces the kept inputs by a small choice of them and of the found ones.
    fn keep(&self) -> miette::Result<bool> {
        let chosen = self.failed.with_file_name(format!("{}.chosen", self.name));
        if chosen.exists() {
            fs::remove_dir_all(&chosen).into_diagnostic()?;
        }
        fs::create_dir_all(&chosen).into_diagnostic()?;
        let mut merge = Command::new(&self.program);
        // By the places that are reached, not by how often or with which values: that is too many.
        merge.args(["-set_cover_merge=1", "-use_counters=0", "-use_cmp=0"]);
        merge.args([&chosen, &self.kept, &self.found]);
        let log = File::create(&self.log).into_diagnostic()?;
        if !succeeds(merge.stderr(log))? {
            return Ok(false);
        }
        for entry in fs::read_dir(&self.kept).into_diagnostic()? {
            let entry = entry.into_diagnostic()?;
            // libFuzzer names inputs by their digest; another name was given on purpose.
            if entry.file_name().len() == 40 {
                fs::remove_file(entry.path()).into_diagnostic()?;
            }
        }
        let mut inputs = Vec::new();
        for entry in fs::read_dir(&chosen).into_diagnostic()? {
            let entry = entry.into_diagnostic()?;
            let size = entry.metadata().into_diagnostic()?.len();
            inputs.push((size, entry.file_name()));
        }
        // Small ones and large ones alike.
        inputs.sort();
        for (_, name) in inputs.iter().step_by(inputs.len().div_ceil(KEPT).max(1)) {
            fs::copy(chosen.join(name), self.kept.join(name)).into_diagnostic()?;
        }
        Ok(true)
    }
}

/// The platform that the compiler builds for.
fn host() -> miette::Result<String> {
    let output = Command::new("rustc").arg("-vV").output().into_diagnostic();
    let output = output.wrap_err("rustc could not be run")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| miette!("`rustc -vV` prints no host"))
}
