//! `cargo xtask long limits`: the cost of each kind of limit while it is on.
//!
//! One worker drains a backlog of no-ops, with each kind of limit in turn and without one, in
//! several interleaved rounds. The limits are too wide to delay a job: only their bookkeeping is
//! measured. The output are medians: Redis's own time in scripts per job, and jobs per second.

use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use miette::miette;
use redcall_common::keys::Keys;

use super::killed::Killed;
use crate::long::stage::server::{PATIENCE, Server};
use crate::workspace::{Workspace, run as succeeds};

const JOBS: usize = 50_000;
const ROUNDS: usize = 5;
/// How many values the key of a limit has.
const CUSTOMERS: usize = 1000;

/// A name, and the settings of the mapping.
const KINDS: [(&str, &[(&str, &str)]); 6] = [
    ("none", &[]),
    ("concurrency of this worker", &[("CONCURRENCY", "1000")]),
    ("limit.concurrency", &[("LIMIT__CONCURRENCY", "1000")]),
    ("limit.rate", &[("LIMIT__RATE", "1000000/s")]),
    ("limit.concurrency by key", &[("LIMIT__KEY", "c"), ("LIMIT__CONCURRENCY", "1000")]),
    (
        "both by key",
        &[("LIMIT__KEY", "c"), ("LIMIT__CONCURRENCY", "1000"), ("LIMIT__RATE", "1000000/s")],
    ),
];

/// Redis's time in scripts per job (us), and jobs per second.
type Figures = (f64, f64);

/// Measures all kinds and prints the table.
pub(super) fn run(workspace: &Workspace) -> miette::Result<ExitCode> {
    let mut build = workspace.cargo();
    if !succeeds(build.args(["build", "--quiet", "--release", "--package", "redcall-worker"]))? {
        return Err(miette!("the worker could not be built"));
    }
    let program = workspace.target_dir()?.join("release").join("redcall-worker");
    let mut measured = vec![Vec::new(); KINDS.len()];
    for round in 1..=ROUNDS {
        println!("round {round} of {ROUNDS}, {JOBS} jobs for each kind");
        for (figures, (_, settings)) in measured.iter_mut().zip(KINDS) {
            figures.push(drain(&program, settings)?);
        }
    }
    let median = |figures: &[Figures], of: fn(&Figures) -> f64| {
        let mut values: Vec<f64> = figures.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let none = median(&measured[0], |figures| figures.0);
    println!("{:<28} {:>12} {:>10} {:>10}", "limit", "us in Redis", "ratio", "jobs/s");
    for ((name, _), figures) in KINDS.iter().zip(&measured) {
        let us = median(figures, |figures| figures.0);
        let rate = median(figures, |figures| figures.1);
        println!("{name:<28} {us:>12.2} {:>10.2} {rate:>10.0}", us / none);
    }
    Ok(ExitCode::SUCCESS)
}

/// Drains a backlog with a worker whose mapping has `settings`.
fn drain(program: &std::path::Path, settings: &[(&str, &str)]) -> miette::Result<Figures> {
    let server = Server::start()?;
    let keys = Keys::new("redcall").of("default");
    let queue = keys.queue();
    let push = |n: usize| {
        let customer = n % CUSTOMERS;
        let request = format!(r#"{{"id":"r{n}","name":"echo","data":{{"c":{customer}}}}}"#);
        // Not in a line of its own, where quotes mean something.
        let words = ["RPUSH", &queue, &request];
        let words = words.map(|word| format!("${}\r\n{word}\r\n", word.len())).concat();
        format!("*3\r\n{words}")
    };
    server.run(&(0..JOBS).map(push).collect::<String>())?;
    let mut worker = Command::new(program);
    worker.env("REDIS_URL", server.url()).env("REDCALL__WORKER__QUEUES", "default");
    worker.env("REDCALL__WORKER__CONCURRENCY", "256").env("REDCALL__LOG__LEVEL", "off");
    worker.env("REDCALL__JOBS__ECHO__HANDLER", "builtin:echo");
    for (key, value) in settings {
        worker.env(format!("REDCALL__JOBS__ECHO__{key}"), value);
    }
    let since = Instant::now();
    let _worker = Killed::start(worker.stdin(Stdio::null()))?;
    let left = || -> miette::Result<bool> {
        let query = format!("EXISTS {queue} {} {}\r\n", keys.limited_names(), keys.live());
        Ok(!server.run(&query)?.starts_with(":0"))
    };
    while left()? {
        if since.elapsed() > PATIENCE {
            return Err(miette!("the backlog was not drained within {PATIENCE:?}"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let rate = JOBS as f64 / since.elapsed().as_secs_f64();
    let stats = server.run("INFO commandstats\r\n")?;
    let evalsha = stats.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:"));
    let us = evalsha.and_then(|line| line.split(',').find_map(|part| part.strip_prefix("usec=")));
    let us: f64 = us.and_then(|us| us.parse().ok()).ok_or_else(|| miette!("no EVALSHA was run"))?;
    Ok((us / JOBS as f64, rate))
}
