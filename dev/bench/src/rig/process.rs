//! Processes, and their time and memory as the system reports them.

use std::process::{Child, Command};
use std::sync::LazyLock;

use miette::{IntoDiagnostic as _, WrapErr as _, miette};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use redcall_common::leash::{Held, Leash};
use serde::de::DeserializeOwned;

/// Ends all of them with the bench, also if that is killed.
static LEASH: LazyLock<Leash> = LazyLock::new(Leash::default);

/// Ends with this.
pub(crate) struct Process(Child, #[expect(dead_code, reason = "it is dropped")] Held);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    pub(crate) fn of(child: Child) -> Self {
        LEASH.prepare();
        let held = LEASH.hold_process(child.id());
        Self(child, held)
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn memory(&self) -> Option<Memory> {
        Memory::of(self.0.id())
    }

    /// Returns `true` if it has ended successfully, `false` if it has failed; `None` while it runs.
    pub(crate) fn ended(&mut self) -> miette::Result<Option<bool>> {
        Ok(self.0.try_wait().into_diagnostic()?.map(|status| status.success()))
    }
}

/// How much of a process is in memory, kB.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    /// At present.
    pub(crate) now: u64,
    /// At most so far.
    pub(crate) max: u64,
}

impl Memory {
    /// None when the process is gone.
    fn of(pid: u32) -> Option<Self> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let kb = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim_start_matches(':').split_whitespace().next()?.parse().ok()
        };
        Some(Self { now: kb("VmRSS")?, max: kb("VmHWM")? })
    }
}

/// How much memory the machine has left, bytes.
pub(crate) fn memory_left() -> Option<u64> {
    let info = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = info.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kb| kb * 1024)
}

/// Runs a command and returns its output, parsed as JSON.
pub(super) fn printed<T: DeserializeOwned>(command: &mut Command) -> miette::Result<T> {
    let output = command.stderr(std::process::Stdio::inherit()).output().into_diagnostic()?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        return Err(miette!("{command:?} ended with {}: {stdout}", output.status));
    }
    serde_json::from_str(stdout.trim()).into_diagnostic().wrap_err_with(|| stdout.into_owned())
}

/// Of all its threads, as the scheduler counts it: to the ns, unlike the ticks of /proc/PID/stat.
pub(super) fn cpu_us(pid: u32) -> u64 {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let ran = threads.filter_map(|thread| {
        let times = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        times.split_whitespace().next()?.parse::<u64>().ok()
    });
    ran.sum::<u64>() / 1000
}

/// Of all children that have ended and been waited for.
pub(super) fn children_cpu_us() -> u64 {
    used_us(UsageWho::RUSAGE_CHILDREN)
}

/// Of this process: where a relay runs in it, that one's.
pub(super) fn own_cpu_us() -> u64 {
    used_us(UsageWho::RUSAGE_SELF)
}

fn used_us(of: UsageWho) -> u64 {
    let Ok(usage) = getrusage(of) else { return 0 };
    let us = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    us.unsigned_abs()
}
