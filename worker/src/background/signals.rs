//! Stop signals: the first SIGTERM or SIGINT drains, the second ends the worker at once.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::Background;
use crate::stop::Stop;

/// Receives signals from now on.
///
/// # Errors
///
/// If the operating system refuses the signals.
pub(crate) fn spawn() -> io::Result<(Background, watch::Receiver<Stop>)> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (sender, stop) = watch::channel(Stop::No);
    let background = Background::spawn("signals", async move {
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
    Ok((background, stop))
}
