//! Ports for servers that cannot choose one themselves.

use std::net::{Ipv4Addr, TcpListener};

/// The number of starts: a port is free when it is chosen, but another process may take it before
/// the server does.
pub(crate) const TRIES: usize = 5;

/// Returns a loopback port that is free now.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}
