//! Stop signals: the first SIGTERM or SIGINT drains, the second ends the worker at once.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::stop::Stop;

/// Receives signals from now on, until the process ends.
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
