//! `cargo xtask long refusals`: how fast a worker ends requests that it refuses.
//!
//! For each kind of refusal, at concurrency 64 and 1: a backlog of it, in requests per second; ten
//! that are pushed together into an idle worker, in milliseconds to the end of the last one; and
//! 3,000 expired calls in front of a fresh one, in milliseconds to its answer.

use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use miette::{IntoDiagnostic as _, miette};
use redcall_common::keys::Keys;

use crate::long::stage::server::{PATIENCE, Server};
use crate::workspace::{Workspace, run as succeeds};

/// The concurrency, the length of the backlog, and the goal, requests per second.
const BACKLOGS: [(usize, usize, f64); 2] = [(64, 60_000, 20_000.0), (1, 15_000, 5_000.0)];
const TOGETHER: usize = 10;
const EXPIRED: usize = 3000;

/// A worker that takes no unsigned request.
const SIGNED: &[(&str, &str)] =
    &[("REDCALL__AUTH__KEYS__WEB__SECRET", "0123456789abcdef0123456789abcdef")];

/// One kind: its name, the fields of its elements after the id, and the worker's settings.
struct Kind {
    name: &'static str,
    rest: String,
    settings: &'static [(&'static str, &'static str)],
}

fn kinds() -> Vec<Kind> {
    let kind = |name, rest: &str| Kind { name, rest: rest.to_owned(), settings: &[] };
    let deep = format!(r#""name":"echo","data":{}1{}"#, "[".repeat(80), "]".repeat(80));
    vec![
        kind("budget over", EXPIRED_REST),
        kind("unknown_job", r#""name":"absent","data":1"#),
        kind("bad name", r#""name":"two words","data":1"#),
        kind("no data", r#""name":"echo""#),
        kind("wrong v", r#""name":"echo","data":1,"v":2"#),
        kind("too deep", &deep),
        Kind { settings: SIGNED, ..kind("unsigned", r#""name":"echo","data":1"#) },
    ]
}

const EXPIRED_REST: &str = r#""name":"echo","data":1,"enqueued_at":1,"budget_ms":1"#;

/// Measures all kinds and prints the table.
pub(super) fn run(workspace: &Workspace) -> miette::Result<ExitCode> {
    let mut build = workspace.cargo();
    if !succeeds(build.args(["build", "--quiet", "--release", "--package", "redcall-worker"]))? {
        return Err(miette!("the worker could not be built"));
    }
    let program = workspace.target_dir()?.join("release").join("redcall-worker");
    println!(
        "{:<14} {:<8} {:>11} {:>10} {:>10} {:>12}",
        "refused", "answer", "concurrency", "requests/s", "goal", "ten, ms"
    );
    for kind in kinds() {
        for answered in [true, false] {
            for (concurrency, count, goal) in BACKLOGS {
                let bench = Bench { program: &program, kind: &kind, answered, concurrency };
                let (rate, together) = (bench.backlog(count)?, bench.together()?);
                let (name, reply) = (kind.name, if answered { "yes" } else { "no" });
                print!("{name:<14} {reply:<8} {concurrency:>11} ");
                println!("{rate:>10.0} {goal:>10.0} {together:>12.1}");
            }
        }
    }
    let kind = &kinds()[0];
    for (concurrency, ..) in BACKLOGS {
        let bench = Bench { program: &program, kind, answered: true, concurrency };
        let fresh = bench.fresh()?;
        println!("{EXPIRED} expired calls in front, concurrency {concurrency}: {fresh:.0} ms");
    }
    Ok(ExitCode::SUCCESS)
}

struct Bench<'a> {
    program: &'a std::path::Path,
    kind: &'a Kind,
    /// `true` if its requests have response keys.
    answered: bool,
    concurrency: usize,
}

impl Bench<'_> {
    /// How many of a backlog end per second.
    fn backlog(&self, count: usize) -> miette::Result<f64> {
        let server = Server::start()?;
        server.run(&self.push(0, count))?;
        let since = Instant::now();
        let _worker = self.worker(&server)?;
        wait_until(since, || is_over(&server))?;
        Ok(count as f64 / since.elapsed().as_secs_f64())
    }

    /// How long ten take that are pushed together, ms: the median of several times.
    fn together(&self) -> miette::Result<f64> {
        let server = Server::start()?;
        let _worker = self.worker(&server)?;
        let idle = || Ok(server.run("CLIENT LIST\r\n")?.contains("cmd=blmove"));
        let mut took = Vec::new();
        for round in 0..9 {
            wait_until(Instant::now(), idle)?;
            let push = self.push(round * TOGETHER, TOGETHER);
            let since = Instant::now();
            server.run(&push)?;
            wait_until(since, || is_over(&server))?;
            took.push(since.elapsed().as_secs_f64() * 1000.0);
        }
        took.sort_by(f64::total_cmp);
        Ok(took[took.len() / 2])
    }

    /// How long a fresh call takes after expired ones, ms.
    fn fresh(&self) -> miette::Result<f64> {
        let server = Server::start()?;
        server.run(&self.push(0, EXPIRED))?;
        let fresh = r#""name":"echo","data":1"#;
        server.run(&element("fresh", fresh, true))?;
        let since = Instant::now();
        let _worker = self.worker(&server)?;
        let key = Keys::new("redcall").of("default").response("fresh");
        wait_until(since, || Ok(server.run(&format!("EXISTS {key}\r\n"))?.starts_with(":1")))?;
        Ok(since.elapsed().as_secs_f64() * 1000.0)
    }

    fn push(&self, first: usize, count: usize) -> String {
        let element = |n| element(&format!("r{n}"), &self.kind.rest, self.answered);
        (first..first + count).map(element).collect()
    }

    fn worker(&self, server: &Server) -> miette::Result<Worker> {
        let mut worker = Command::new(self.program);
        worker.env("REDIS_URL", server.url()).env("REDCALL__WORKER__QUEUES", "default");
        worker.env("REDCALL__WORKER__CONCURRENCY", self.concurrency.to_string());
        worker.env("REDCALL__LOG__LEVEL", "off");
        worker.env("REDCALL__JOBS__ECHO__HANDLER", "builtin:echo");
        worker.envs(self.kind.settings.iter().copied());
        Ok(Worker(worker.stdin(Stdio::null()).spawn().into_diagnostic()?))
    }
}

/// The command that pushes one request.
fn element(id: &str, rest: &str, answered: bool) -> String {
    let keys = Keys::new("redcall").of("default");
    let reply = match answered {
        true => format!(r#","response_key":"{}""#, keys.response(id)),
        false => String::new(),
    };
    let request = format!(r#"{{"id":"{id}",{rest}{reply}}}"#);
    let queue = keys.queue();
    // Not in a line of its own, where quotes mean something.
    let words = ["RPUSH", &queue, &request];
    let words = words.map(|word| format!("${}\r\n{word}\r\n", word.len())).concat();
    format!("*3\r\n{words}")
}

/// Returns `true` if no request is queued or leased.
fn is_over(server: &Server) -> miette::Result<bool> {
    let keys = Keys::new("redcall").of("default");
    Ok(server.run(&format!("EXISTS {} {}\r\n", keys.queue(), keys.live()))?.starts_with(":0"))
}

fn wait_until(
    since: Instant,
    mut done: impl FnMut() -> miette::Result<bool>,
) -> miette::Result<()> {
    while !done()? {
        if since.elapsed() > PATIENCE {
            return Err(miette!("the run did not end within {PATIENCE:?}"));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Killed when dropped.
struct Worker(Child);

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
