//! How a worker is told to stop; sent by signals or whoever embeds it, heard by the dispatcher.

use tokio::sync::watch;

/// How far a worker is asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// Not at all.
    No,
    /// Takes nothing new; ends when its jobs have ended, at the latest after `drain_timeout`.
    Drain,
    /// Gives its jobs back and ends.
    Now,
}

impl Stop {
    /// Waits until more is asked for than `level`. A sender that has gone asks for nothing.
    pub(crate) async fn above(level: Self, stop: &mut watch::Receiver<Self>) -> Self {
        match stop.wait_for(|asked| *asked > level).await {
            Ok(asked) => *asked,
            Err(_) => std::future::pending().await,
        }
    }
}
