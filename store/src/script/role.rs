//! The kinds of programs that use Redis.

/// A kind of program, by its use of Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A worker, with its metrics and schedules. If its handlers make calls as the same user, it
    /// needs the rights of a client too.
    Worker,
    /// A client: calls, status, events, tokens.
    Client,
    /// The command line: the rights of a client, and those of inspection and administration.
    Admin,
}
