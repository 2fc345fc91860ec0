//! A private Redis, a worker, and where each process runs.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use miette::{IntoDiagnostic as _, WrapErr as _, miette};
use redcall_common::store::embedded::{Embedded, EmbeddedOptions};
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_setaffinity};
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;

/// On which CPUs the processes run. Figures of one caller move more with that than with code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placement {
    /// All on one.
    One,
    /// Redis on the first, callers and workers on the second.
    Own,
}

impl Placement {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::One => "all on CPU 0",
            Self::Own => "Redis on CPU 0, client and worker on CPU 1",
        }
    }

    fn redis(self) -> usize {
        0
    }

    fn others(self) -> usize {
        usize::from(self == Self::Own)
    }
}

/// What Redis keeps on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Persistence {
    /// Nothing.
    None,
    /// An append-only file, written out each second.
    Everysec,
    /// An append-only file, written out before each answer.
    Always,
}

/// A Redis and its worker. Dropped, both end.
pub(crate) struct Rig {
    pub(crate) placement: Placement,
    pub(crate) address: String,
    worker: Process,
    redis: Embedded,
    // After the server, which needs it.
    _runtime: Runtime,
}

/// Ends with this.
pub(crate) struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Rig {
    /// Starts a Redis on a TCP port, as in production, and a worker with so many slots.
    pub(crate) fn start(
        placement: Placement,
        persistence: Persistence,
        concurrency: usize,
    ) -> miette::Result<Self> {
        if placement == Placement::Own
            && std::thread::available_parallelism().into_diagnostic()?.get() < 2
        {
            return Err(miette!("{} needs two CPUs", placement.text()));
        }
        let runtime = Runtime::new().into_diagnostic()?;
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).into_diagnostic()?;
        let address = free.local_addr().into_diagnostic()?.to_string();
        let port = address.rsplit(':').next().unwrap_or_default().to_owned();
        drop(free);
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
        let pid = i32::try_from(redis.pid()).ok().and_then(Pid::from_raw);
        let mut cpus = CpuSet::new();
        cpus.set(placement.redis());
        sched_setaffinity(pid, &cpus).into_diagnostic().wrap_err("pinning Redis")?;
        let mut worker = pinned(placement, &program("redcall-worker")?)?;
        worker
            .args(["--concurrency", &concurrency.to_string(), "--queues", "default"])
            .env("REDIS_URL", format!("redis://{address}"))
            .env("REDCALL__LOG__LEVEL", "error")
            .env("REDCALL__JOBS__ADD__HANDLER", "builtin:add")
            .current_dir(redis.dir());
        let worker = Process(worker.stdin(Stdio::null()).spawn().into_diagnostic()?);
        let rig = Self { placement, address, worker, redis, _runtime: runtime };
        // Whoever has been answered once has a worker.
        rig.redcall::<serde_json::Value>(&["call", "add", r#"{"a":1,"b":2}"#, "--wait"])?;
        Ok(rig)
    }

    /// What `redcall` prints, as JSON.
    pub(crate) fn redcall<T: DeserializeOwned>(&self, args: &[&str]) -> miette::Result<T> {
        let mut command = pinned(self.placement, &program("redcall")?)?;
        command.args(args).env("REDIS_URL", format!("redis://{}", self.address));
        printed(&mut command)
    }

    /// What a caller of a floor prints, while `answer` answers.
    pub(crate) fn floor<T: DeserializeOwned>(
        &self,
        answer: &str,
        call: &[&str],
    ) -> miette::Result<T> {
        let own = std::env::current_exe().into_diagnostic()?;
        let mut answering = pinned(self.placement, &own)?;
        answering.args(["floor", answer, &self.address]).stderr(Stdio::null());
        let _answering = Process(answering.spawn().into_diagnostic()?);
        let [verb, rest @ ..] = call else { return Err(miette!("call what?")) };
        let mut calling = pinned(self.placement, &own)?;
        calling.args(["floor", verb, &self.address]).args(rest);
        printed(&mut calling)
    }

    /// How much CPU time Redis and the worker have used so far, µs.
    pub(crate) fn cpu_us(&self) -> (u64, u64) {
        (cpu_us(self.redis.pid()), cpu_us(self.worker.0.id()))
    }
}

fn printed<T: DeserializeOwned>(command: &mut Command) -> miette::Result<T> {
    let output = command.stderr(Stdio::inherit()).output().into_diagnostic()?;
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        return Err(miette!("{command:?} ended with {}: {said}", output.status));
    }
    serde_json::from_str(said.trim()).into_diagnostic().wrap_err_with(|| said.into_owned())
}

/// A program that lies beside this one.
fn program(name: &str) -> miette::Result<PathBuf> {
    let own = std::env::current_exe().into_diagnostic()?;
    let path = own.parent().unwrap_or(Path::new(".")).join(name);
    match path.exists() {
        true => Ok(path),
        false => Err(miette!(help = "run `cargo xtask bench`", "{} is missing", path.display())),
    }
}

/// A program that runs where callers and workers do.
fn pinned(placement: Placement, program: &Path) -> miette::Result<Command> {
    let mut command = Command::new(std::env::current_exe().into_diagnostic()?);
    command.arg("pin").arg(placement.others().to_string()).arg("--").arg(program);
    Ok(command)
}

/// Of all its threads, as the scheduler counts it: to the ns, unlike the ticks of /proc/PID/stat.
fn cpu_us(pid: u32) -> u64 {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let ran = threads.filter_map(|thread| {
        let times = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        times.split_whitespace().next()?.parse::<u64>().ok()
    });
    ran.sum::<u64>() / 1000
}
