//! Where processes run.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use miette::{IntoDiagnostic as _, WrapErr as _, miette};
use rustix::process::Pid;

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

    /// The CPU of callers and workers. Redis has the first.
    fn others(self) -> usize {
        usize::from(self == Self::Own)
    }

    /// That the machine has the CPUs.
    pub(super) fn check(self) -> miette::Result<()> {
        let cpus = std::thread::available_parallelism().into_diagnostic()?.get();
        match cpus > self.others() {
            true => Ok(()),
            false => Err(miette!("{} needs two CPUs", self.text())),
        }
    }

    pub(super) fn pin_redis(pid: u32) -> miette::Result<()> {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        pin(pid, 0).into_diagnostic().wrap_err("pinning Redis")
    }

    /// A program that runs where callers and workers do.
    pub(super) fn pinned(self, program: &Path) -> miette::Result<Command> {
        pinned(self.others(), program)
    }
}

/// A program that runs on that CPU.
pub(crate) fn pinned(cpu: usize, program: &Path) -> miette::Result<Command> {
    let mut command = Command::new(std::env::current_exe().into_diagnostic()?);
    command.arg("pin").arg(cpu.to_string()).arg("--").arg(program);
    Ok(command)
}

/// Restricts a process, or this one, to that CPU.
#[cfg(target_os = "linux")]
pub(crate) fn pin(pid: Option<Pid>, cpu: usize) -> io::Result<()> {
    let mut cpus = rustix::thread::CpuSet::new();
    cpus.set(cpu);
    Ok(rustix::thread::sched_setaffinity(pid, &cpus)?)
}

/// Restricts a process, or this one, to that CPU.
#[cfg(not(target_os = "linux"))]
pub(crate) fn pin(_: Option<Pid>, _: usize) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "only Linux can restrict a process to a CPU"))
}

/// Returns an unused loopback address.
pub(crate) fn free_address() -> miette::Result<SocketAddr> {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).into_diagnostic()?;
    free.local_addr().into_diagnostic()
}

/// The programs of one build: a folder with `redcall`, `redcall-bench` and `redcall-worker`.
#[derive(Debug, Clone)]
pub(crate) struct Build(PathBuf);

impl Build {
    /// The build of this program.
    pub(crate) fn own() -> miette::Result<Self> {
        let own = std::env::current_exe().into_diagnostic()?;
        Ok(Self(own.parent().unwrap_or(Path::new(".")).to_owned()))
    }

    /// The build in `folder`.
    pub(crate) fn of(folder: &Path) -> miette::Result<Self> {
        // Programs run in other folders.
        let folder = folder.canonicalize().into_diagnostic();
        let build = Self(folder.wrap_err("the folder of the other build")?);
        for name in ["redcall", "redcall-bench", "redcall-worker"] {
            build.program(name)?;
        }
        Ok(build)
    }

    pub(super) fn program(&self, name: &str) -> miette::Result<PathBuf> {
        let path = self.0.join(name);
        match path.exists() {
            true => Ok(path),
            false => Err(miette!(
                help = "build it: cargo build --profile dist -p redcall-cli -p redcall-bench \
                        -p redcall-worker; `cargo xtask bench` builds those of this tree",
                "{} is missing",
                path.display()
            )),
        }
    }
}
