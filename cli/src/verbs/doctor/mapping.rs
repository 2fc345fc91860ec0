//! The job mapping: whether its programs exist.

use std::path::Path;

use redcall_client::Settings;
use redcall_common::finding::{Finding, Level};
use redcall_common::program;
use redcall_common::settings::HandlerPlace;

const CHECK: &str = "mapping";

/// Checks every job on this machine, without running a program.
pub(super) fn check(settings: &Settings) -> Vec<Finding> {
    let dir = settings.base_dir();
    let (mut compiled, mut findings) = (Vec::new(), Vec::new());
    for (name, job) in &settings.jobs {
        match job.kind.place() {
            HandlerPlace::Worker => compiled.push(name.as_str()),
            HandlerPlace::Program(command) => {
                let key = format!("jobs.{name}.{}", job.kind.key());
                findings.push(program(name, &key, command, &dir));
            }
            // A failing server shows only at a call; pools are checked once, below.
            HandlerPlace::Elsewhere(place) => {
                findings.push(Finding::ok(CHECK, format!("{name}: {place}")));
            }
        }
    }
    for (name, pool) in &settings.pools {
        let key = format!("pools.{name}.process");
        findings.push(program(&format!("pool {name}"), &key, &pool.process.command, &dir));
    }
    if !compiled.is_empty() {
        let what = format!("compiled into the workers: {}", compiled.join(", "));
        findings.push(Finding::ok(CHECK, what));
    }
    if findings.is_empty() {
        let means = "Workers with these settings run only compiled-in jobs. Add a [jobs.NAME] \
                     section for each job.";
        findings.push(Finding::note(CHECK, "no job is mapped", means));
    }
    findings
}

/// Checks that the program of `command` exists.
fn program(name: &str, key: &str, command: &[String], dir: &Path) -> Finding {
    let found = command.first().map(|first| program::find(first, dir));
    let found = found.unwrap_or_else(|| Err("the command is empty".to_owned()));
    match found {
        Ok(path) => Finding::ok(CHECK, format!("{name}: {}", path.display())),
        Err(problem) => missing(name, key, &problem),
    }
}

fn missing(name: &str, key: &str, problem: &str) -> Finding {
    let what = format!("{name}: {problem}");
    let means = "A worker with these settings does not start on this machine.";
    let cure = format!(
        "Install the program or correct `{key}`; paths are relative to the settings file, and \
                 the worker's PATH applies."
    );
    Finding::new(CHECK, Level::Problem, what, means, cure)
}
