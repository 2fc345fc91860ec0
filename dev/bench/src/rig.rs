//! A private Redis, its workers, and where each process runs.
//!
//! | file | holds |
//! |---|---|
//! | `place.rs` | CPUs |
//! | `process.rs` | time and memory of processes |
//! | `commands.rs` | which commands Redis carries out |

mod commands;
mod place;
mod process;

use std::process::{Command, Stdio};
use std::time::Duration;

use miette::{IntoDiagnostic as _, miette};
use redcall_store::embedded::{Embedded, EmbeddedOptions};
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;

pub(crate) use commands::{Commands, Shares};
pub(crate) use place::{Build, Placement, free_address, pin, pinned};
pub(crate) use process::{Memory, Process, memory_left};
use process::{children_cpu_us, cpu_us, own_cpu_us, printed};

use crate::baseline::wire::Wire;
use crate::relay::Relay;

/// The persistence of Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Persistence {
    /// Nothing.
    None,
    /// An append-only file, written out each second.
    Everysec,
    /// An append-only file, written out before each answer.
    Always,
}

/// The network between Redis and its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Network {
    /// Nothing but loopback.
    Direct,
    /// A relay that delays everything by this time, in each direction.
    Delayed(Duration),
}

/// A Redis and its workers. Dropped, all end.
pub(crate) struct Rig {
    pub(crate) placement: Placement,
    /// The programs of workers and callers.
    build: Build,
    /// The address that callers and workers use.
    pub(crate) address: String,
    /// Of Redis itself.
    direct: String,
    workers: Vec<Process>,
    _relay: Option<Relay>,
    redis: Embedded,
    // After the server, which needs it.
    _runtime: Runtime,
}

/// The resources used up to an instant, or between two.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spent {
    pub(crate) commands: Commands,
    pub(crate) redis_us: u64,
    pub(crate) client_us: u64,
    pub(crate) workers_us: u64,
    pub(crate) relay_us: u64,
}

impl Rig {
    /// Starts a Redis on a TCP port, as in production, without a worker.
    pub(crate) fn bare(
        placement: Placement,
        persistence: Persistence,
        network: Network,
    ) -> miette::Result<Self> {
        placement.check()?;
        let runtime = Runtime::new().into_diagnostic()?;
        let direct = free_address()?;
        let (port, direct) = (direct.port().to_string(), direct.to_string());
        let sync = match persistence {
            Persistence::None | Persistence::Everysec => "everysec",
            Persistence::Always => "always",
        };
        let args = ["--bind", "127.0.0.1", "--port", &port, "--appendfsync", sync];
        let options = EmbeddedOptions {
            append_only: persistence != Persistence::None,
            extra_args: args.map(str::to_owned).to_vec(),
            ..Default::default()
        };
        let redis = runtime.block_on(Embedded::start(options)).into_diagnostic()?;
        Placement::pin_redis(redis.pid())?;
        let relay = match network {
            Network::Direct => None,
            Network::Delayed(delay) => Some(Relay::start(&direct, delay).into_diagnostic()?),
        };
        let address = relay.as_ref().map_or_else(|| direct.clone(), Relay::address);
        let (workers, build) = (Vec::new(), Build::own()?);
        Ok(Self {
            placement,
            build,
            address,
            direct,
            workers,
            _relay: relay,
            redis,
            _runtime: runtime,
        })
    }

    /// The same with a worker for the default queue.
    pub(crate) fn start(
        placement: Placement,
        persistence: Persistence,
        slots: usize,
    ) -> miette::Result<Self> {
        let mut rig = Self::bare(placement, persistence, Network::Direct)?;
        rig.worker("default", slots)?;
        Ok(rig)
    }

    /// Uses the programs of `build` from now on.
    pub(crate) fn with_build(mut self, build: Build) -> Self {
        self.build = build;
        self
    }

    /// Starts a further worker for one queue, with this capacity.
    pub(crate) fn worker(&mut self, queue: &str, slots: usize) -> miette::Result<()> {
        let mut worker = self.command("redcall-worker")?;
        worker.args(["--concurrency", &slots.to_string(), "--queues", queue]);
        worker.env("REDCALL__LOG__LEVEL", "error");
        for job in ["add", "echo", "sleep", "count"] {
            let variable = format!("REDCALL__JOBS__{}__HANDLER", job.to_uppercase());
            worker.env(variable, format!("builtin:{job}"));
        }
        worker.current_dir(self.redis.dir());
        self.workers.push(Process::of(worker.stdin(Stdio::null()).spawn().into_diagnostic()?));
        // A listed worker polls.
        let began = std::time::Instant::now();
        loop {
            let listed: serde_json::Value = self.redcall(&["workers", "--json"])?;
            if listed["workers"].as_array().is_some_and(|all| all.len() == self.workers.len()) {
                return Ok(());
            }
            if began.elapsed() > Duration::from_secs(20) {
                return Err(miette!("a worker did not start: {listed}"));
            }
        }
    }

    fn command(&self, name: &str) -> miette::Result<Command> {
        let mut command = self.placement.pinned(&self.build.program(name)?)?;
        command.env("REDIS_URL", format!("redis://{}", self.address));
        // The number of queued jobs is a subject of the measurement. Without any cap the scripts
        // would not check lengths, which would measure something else.
        command.env("REDCALL__LIMITS__MAX_LENGTH", "1000000000");
        Ok(command)
    }

    /// Runs `redcall` and returns its output, parsed as JSON.
    pub(crate) fn redcall<T: DeserializeOwned>(&self, args: &[&str]) -> miette::Result<T> {
        printed(self.command("redcall")?.args(args))
    }

    /// `redcall`, in the background.
    pub(crate) fn start_redcall(&self, args: &[&str]) -> miette::Result<Process> {
        let mut command = self.command("redcall")?;
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null());
        Ok(Process::of(command.spawn().into_diagnostic()?))
    }

    /// Runs a caller of a baseline, while `answer` answers, and returns its output.
    pub(crate) fn baseline<T: DeserializeOwned>(
        &self,
        answer: &[&str],
        call: &[&str],
    ) -> miette::Result<T> {
        let own = std::env::current_exe().into_diagnostic()?;
        let side = |args: &[&str]| -> miette::Result<Command> {
            let [verb, rest @ ..] = args else { return Err(miette!("which side?")) };
            let mut side = self.placement.pinned(&own)?;
            side.args(["baseline", verb, &self.address]).args(rest);
            Ok(side)
        };
        let mut answering = side(answer)?;
        let _answering = Process::of(answering.stderr(Stdio::null()).spawn().into_diagnostic()?);
        printed(&mut side(call)?)
    }

    /// A connection to Redis itself.
    pub(crate) fn wire(&self) -> miette::Result<Wire> {
        Wire::connect(&self.direct).into_diagnostic()
    }

    pub(crate) fn workers(&self) -> &[Process] {
        &self.workers
    }

    /// Observes Redis while `during` runs.
    pub(crate) fn watch<T>(
        &self,
        during: impl FnOnce() -> miette::Result<T>,
    ) -> miette::Result<(T, Shares)> {
        Shares::watch(&self.direct, during)
    }

    /// Returns the resources that `during` uses.
    pub(crate) fn spend<T>(
        &self,
        during: impl FnOnce() -> miette::Result<T>,
    ) -> miette::Result<(T, Spent)> {
        let before = self.spent()?;
        let done = during()?;
        let after = self.spent()?;
        let spent = Spent {
            commands: after.commands.since(&before.commands),
            redis_us: after.redis_us - before.redis_us,
            client_us: after.client_us - before.client_us,
            workers_us: after.workers_us - before.workers_us,
            relay_us: after.relay_us - before.relay_us,
        };
        Ok((done, spent))
    }

    fn spent(&self) -> miette::Result<Spent> {
        Ok(Spent {
            commands: Commands::read(&mut self.wire()?).into_diagnostic()?,
            redis_us: cpu_us(self.redis.pid()),
            client_us: children_cpu_us(),
            workers_us: self.workers.iter().map(|worker| cpu_us(worker.id())).sum(),
            relay_us: own_cpu_us(),
        })
    }
}

impl Spent {
    pub(crate) fn add(&mut self, more: Self) {
        self.commands.add(more.commands);
        self.redis_us += more.redis_us;
        self.client_us += more.client_us;
        self.workers_us += more.workers_us;
        self.relay_us += more.relay_us;
    }
}
