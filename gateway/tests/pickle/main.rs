//! The pickle reader against pickles of real Python programs, and against hostile ones.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

mod bounds;
mod python;
mod python_rules;
mod random;
mod vectors;

/// Counts what each test needs: every test has a process of its own.
#[global_allocator]
static ALLOCATOR: cap::Cap<std::alloc::System> = cap::Cap::new(std::alloc::System, usize::MAX);

/// The bounds of a gateway with default settings.
const BOUNDS: redcall_gateway::pickle::Bounds =
    redcall_gateway::pickle::Bounds { bytes: 2 << 20, depth: 64 };

/// Returns the time that `work` takes on this thread's processor, which other processes do not
/// lengthen.
fn processor_time(work: impl FnOnce()) -> std::time::Duration {
    use rustix::time::{ClockId, clock_gettime};
    let now = || std::time::Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap();
    let start = now();
    work();
    now() - start
}
