//! Processes that a long run starts: killed when it drops them, and when it is killed itself.

use std::process::{Child, Command};
use std::sync::LazyLock;

use miette::IntoDiagnostic as _;
use redcall_common::leash::{Held, Leash};

static LEASH: LazyLock<Leash> = LazyLock::new(Leash::default);

/// A process, killed when dropped.
pub(super) struct Killed {
    pub(super) child: Child,
    _held: Held,
}

impl Killed {
    pub(super) fn start(command: &mut Command) -> miette::Result<Self> {
        LEASH.prepare();
        let child = command.spawn().into_diagnostic()?;
        let held = LEASH.hold_process(child.id());
        Ok(Self { child, _held: held })
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
