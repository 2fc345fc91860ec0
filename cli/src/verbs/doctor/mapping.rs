//! The job mapping: whether its programs exist.

use std::path::Path;

use redcall_client::Settings;
use redcall_common::finding::{Finding, Level};
use redcall_common::program;
use redcall_common::settings::HandlerSettings;

const CHECK: &str = "mapping";

/// Checks every job on this machine, without running a program.
pub(super) fn check(settings: &Settings) -> Vec<Finding> {
    let dir = settings.base_dir();
    let (mut compiled, mut findings) = (Vec::new(), Vec::new());
    for (name, job) in &settings.jobs {
        let (key, command) = match &job.kind {
            HandlerSettings::Compiled(_) => {
                compiled.push(name.as_str());
                continue;
            }
            // A failing server shows only at a call.
            HandlerSettings::Http(http) => {
                findings.push(Finding::ok(CHECK, format!("{name}: {} by HTTP", http.method)));
                continue;
            }
            HandlerSettings::Command(command) => (format!("jobs.{name}.command"), command),
            HandlerSettings::Process(process) => (format!("jobs.{name}.process"), &process.command),
            // Checked once, with the pools.
            HandlerSettings::Pool(pool) => {
                findings.push(Finding::ok(CHECK, format!("{name}: pool {pool}")));
                continue;
            }
        };
        findings.push(program(name, &key, command, &dir));
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
