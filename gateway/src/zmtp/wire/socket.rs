//! Socket types, and the types that may be connected to each.

use std::fmt;

/// The socket types of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketType {
    /// Answers commands.
    Rep,
    /// Publishes events.
    Pub,
    /// Sends commands to a device.
    Req,
    /// Receives the events of a device.
    Sub,
}

impl SocketType {
    /// Returns its name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rep => "REP",
            Self::Pub => "PUB",
            Self::Req => "REQ",
            Self::Sub => "SUB",
        }
    }

    /// Returns `true` if a socket of the type `peer` may be at the other end.
    #[must_use]
    pub fn talks_to(self, peer: &[u8]) -> bool {
        match self {
            Self::Rep => matches!(peer, b"REQ" | b"DEALER"),
            Self::Pub => matches!(peer, b"SUB" | b"XSUB"),
            Self::Req => matches!(peer, b"REP" | b"ROUTER"),
            Self::Sub => matches!(peer, b"PUB" | b"XPUB"),
        }
    }
}

impl fmt::Display for SocketType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
