//! `[admin]`: the address of a worker's probes and metrics.

use std::net::SocketAddr;

use crate::settings::source::entry::Entry;
use crate::settings::source::error::SettingsError;
use crate::settings::source::section::Section;

/// `[admin]`: a worker's HTTP server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AdminSettings {
    /// The address of probes and metrics; port 0 selects a free one, which the log names. Default
    /// none: no server.
    pub listen: Option<SocketAddr>,
}

/// Reads the `[admin]` table.
pub(crate) fn read(mut section: Section<'_>) -> AdminSettings {
    let settings = AdminSettings { listen: section.read("listen", listen) };
    section.finish();
    settings
}

/// Reads an address of this machine to listen on. Not a host name, which may change or have several
/// addresses.
pub(crate) fn listen(entry: &Entry) -> Result<SocketAddr, SettingsError> {
    const FORM: &str = "an IP address with a port";
    const HELP: &str = "write this machine's address and a port, such as \"127.0.0.1:9090\", \
                        \"[::1]:9090\", or \"0.0.0.0:9090\" for all of its addresses";
    entry.text(HELP)?.trim().parse().map_err(|_| entry.not_a(FORM, HELP))
}
