//! How a worker is told to stop; sent by signals or whoever embeds it, heard by the dispatcher.

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
