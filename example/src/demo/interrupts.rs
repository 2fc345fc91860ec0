//! SIGINT and SIGTERM: every wait of the demo also waits for these.

use redcall_common::report::Problem;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::Failure;

/// Both signals, received from creation on.
pub(super) struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    /// Receives the signals until the process ends.
    pub(super) fn listen() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(|error| Failure::new(Problem::of(&error)));
        let interrupt = listen(SignalKind::interrupt())?;
        Ok(Self { interrupt, terminate: listen(SignalKind::terminate())? })
    }

    /// Waits for a signal; returns the exit code of a process that it ends. Cancel safe.
    pub(super) async fn next(&mut self) -> Failure {
        tokio::select! {
            _ = self.interrupt.recv() => Failure::silent(128 + 2),
            _ = self.terminate.recv() => Failure::silent(128 + 15),
        }
    }
}
