//! SIGTERM and SIGINT: the first drains, the second ends at once.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::stop::Stop;

/// Listens from now on, for the rest of the process's life.
pub(crate) fn listen() -> io::Result<watch::Receiver<Stop>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (sender, stop) = watch::channel(Stop::No);
    tokio::spawn(async move {
        for level in [Stop::Drain, Stop::Now] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                () = sender.closed() => return,
            }
            tracing::info!(stop = ?level, "signal received");
            sender.send_replace(level);
        }
        sender.closed().await;
    });
    Ok(stop)
}
