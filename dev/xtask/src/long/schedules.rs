//! `cargo xtask long schedules`: a minute of ticks while the workers that make them are killed.
//!
//! Real workers are killed at random, now and then all of them for longer than a tick may be late.
//! A queue without workers shows afterwards whether each tick was enqueued exactly once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use miette::{IntoDiagnostic as _, WrapErr as _, miette};
use redcall_common::keys::{Keys, QueueKeys};

use super::killed::Killed;
use crate::long::stage::server::Server;
use crate::workspace::{Workspace, run as succeeds, verdict};

const LASTS: Duration = Duration::from_secs(60);
const WORKERS: usize = 3;
/// How long the last ticks may take, from the end until they are given up as missing.
const PATIENCE: Duration = Duration::from_secs(10);
const NAME: &str = "second";
const QUEUE: &str = "aside";

/// Kills workers for a minute, then counts.
pub(super) fn run(workspace: &Workspace) -> miette::Result<ExitCode> {
    let mut build = workspace.cargo();
    if !succeeds(build.args(["build", "--quiet", "--package", "redcall-worker"]))? {
        return Err(miette!("the worker could not be built"));
    }
    let program = workspace.target_dir()?.join("debug").join("redcall-worker");
    let server = Server::start()?;
    let redis = Redis { server: &server, keys: Keys::new("redcall").of(QUEUE) };
    let mut crew = Crew { program, url: server.url(), workers: Vec::new() };

    let seed = SystemTime::now().duration_since(UNIX_EPOCH).into_diagnostic()?.subsec_nanos();
    let mut random = Random(seed.into());
    println!("{} s, {WORKERS} workers, seed {seed}", LASTS.as_secs());
    // As if it had just ticked: the first expected tick is known before a worker makes one.
    let from = unix_ms()? / 1000 * 1000;
    server.run(&format!("HSET {} {NAME} {from}\r\n", redis.keys.ticks()))?;
    crew.fill()?;
    let since = Instant::now();
    let (mut killed, mut alone) = (0, 0);
    while since.elapsed() < LASTS {
        std::thread::sleep(Duration::from_millis(100 + random.below(1400)));
        if random.below(8) == 0 {
            killed += crew.workers.len();
            alone += 1;
            crew.workers.clear();
            std::thread::sleep(Duration::from_millis(1000 + random.below(3000)));
        } else {
            killed += 1;
            let victim = random.below(crew.workers.len() as u64);
            drop(crew.workers.swap_remove(victim as usize));
        }
        crew.fill()?;
    }
    // Up to here every tick must come.
    let until = unix_ms()?;
    let waiting = Instant::now();
    let last = || redis.ticks().map(|ticks| ticks.keys().last().copied().unwrap_or(0));
    while last()? + 1000 <= until && waiting.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(100));
    }
    crew.workers.clear();
    println!("{killed} workers killed, {alone} times all of them");
    redis.judge(from, until).map(verdict)
}

/// The workers that live. Dropped, they are killed.
struct Crew {
    program: PathBuf,
    url: String,
    workers: Vec<Killed>,
}

impl Crew {
    /// Starts as many as are missing.
    fn fill(&mut self) -> miette::Result<()> {
        while self.workers.len() < WORKERS {
            let mut worker = Command::new(&self.program);
            worker
                .env("REDIS_URL", &self.url)
                .env("REDCALL__WORKER__LEASE", "500ms")
                .env("REDCALL__LOG__LEVEL", "off")
                .env(format!("REDCALL__SCHEDULES__{NAME}__JOB"), "absent")
                .env(format!("REDCALL__SCHEDULES__{NAME}__CRON"), "* * * * * *")
                .env(format!("REDCALL__SCHEDULES__{NAME}__QUEUE"), QUEUE)
                // While no worker lives, ticks are missed.
                .env(format!("REDCALL__SCHEDULES__{NAME}__MISSED"), "all")
                .current_dir(self.program.parent().unwrap_or(Path::new(".")))
                .stdin(Stdio::null());
            let started = Killed::start(&mut worker);
            self.workers
                .push(started.wrap_err_with(|| {
                    format!("{} could not be started", self.program.display())
                })?);
        }
        Ok(())
    }
}

/// Reads Redis past the store: the judge shares no code with the product.
struct Redis<'a> {
    server: &'a Server,
    keys: QueueKeys,
}

impl Redis<'_> {
    /// The ticks that were enqueued, by their time (ms), with how often each was.
    fn ticks(&self) -> miette::Result<BTreeMap<u64, usize>> {
        let mut ticks = BTreeMap::new();
        for element in self.server.query(&format!("LRANGE {} 0 -1", self.keys.queue()))? {
            let element: serde_json::Value = serde_json::from_str(&element).into_diagnostic()?;
            let time = element["id"].as_str().and_then(|id| id.rsplit('-').next()?.parse().ok());
            let time = time.ok_or_else(|| miette!("this is not a tick: {element}"))?;
            *ticks.entry(time).or_default() += 1;
        }
        Ok(ticks)
    }

    /// Prints the count; returns `true` if each tick after `from` up to `until` was enqueued
    /// exactly once.
    fn judge(&self, from: u64, until: u64) -> miette::Result<bool> {
        let ticks = self.ticks()?;
        let expected = (from + 1000..=until).step_by(1000);
        let missing: Vec<u64> = expected.filter(|tick| !ticks.contains_key(tick)).collect();
        let doubles: Vec<u64> =
            ticks.iter().filter(|(_, count)| **count > 1).map(|(tick, _)| *tick).collect();
        let strays = ticks.keys().filter(|tick| **tick % 1000 != 0 || **tick <= from).count();
        println!(
            "{} ticks, {} doubles, {} missing, {strays} strays",
            ticks.len(),
            doubles.len(),
            missing.len(),
        );
        for (what, ticks) in [("double", doubles.as_slice()), ("missing", missing.as_slice())] {
            ticks.iter().for_each(|tick| println!("{what}: {tick}"));
        }
        Ok(doubles.is_empty() && missing.is_empty() && strays == 0)
    }
}

/// Knuth's MMIX generator, as in the tests.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// The machine's time, which is that of the private Redis.
fn unix_ms() -> miette::Result<u64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).into_diagnostic()?;
    u64::try_from(since.as_millis()).into_diagnostic()
}
