//! SIGINT and SIGTERM to the demo: whoever waits for anything here also waits for these.

use redcall_common::report::Problem;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::Failure;

/// Both signals, heard from the moment this is made.
pub(super) struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    /// Listens for the rest of the process's life.
    pub(super) fn listen() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(|error| Failure::new(Problem::of(&error)));
        let interrupt = listen(SignalKind::interrupt())?;
        Ok(Self { interrupt, terminate: listen(SignalKind::terminate())? })
    }

    /// Waits for one of them; gives what a process ends with that a signal has ended. Cancel safe.
    pub(super) async fn next(&mut self) -> Failure {
        tokio::select! {
            _ = self.interrupt.recv() => Failure::silent(128 + 2),
            _ = self.terminate.recv() => Failure::silent(128 + 15),
        }
    }
}
