//! Options of an embedded server.

use std::path::PathBuf;

/// Options of an embedded server. The default uses [`super::find_server`] and keeps nothing on
/// disk.
#[derive(Debug, Clone, Default)]
pub struct EmbeddedOptions {
    /// The server program; `None` to search for one.
    pub program: Option<PathBuf>,
    /// Keeps an append-only file, as production should. It is in the server's folder and removed
    /// with it. Use it for `WAITAOF`, or to restart the server in place.
    pub append_only: bool,
    /// Further arguments, after ours, so that they take precedence: `["--maxmemory", "10mb"]`.
    pub extra_args: Vec<String>,
}
