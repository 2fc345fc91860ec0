//! [`Protocol`]: a door, for both parts of the run.

use super::flood::Held;
use super::place::Place;
use super::program::Program;
use super::rig::{Rig, Settings};
use crate::long::stage::server::Server;

/// A door, the original system in its place, and its hostile inputs.
pub(crate) struct Protocol {
    /// As the settings name it.
    pub(crate) name: &'static str,
    /// The folder in `gateway/tests/` with the packages of its foreign programs, and the start of
    /// their files' names.
    pub(crate) folder: &'static str,
    /// Kinds of calls, each with the name of the original system.
    pub(crate) cases: &'static [(&'static str, &'static str)],
    /// `true` if the calls of several clients share one connection.
    pub(crate) shares_link: bool,
    pub(crate) settings: Settings,
    /// The address for clients.
    pub(crate) address: fn(&Rig) -> miette::Result<String>,
    /// Starts the original system for this case.
    pub(crate) original: fn(&Place, &Protocol, &str) -> miette::Result<Original>,
    /// Sends all hostile inputs; returns the connections that stay open.
    pub(crate) attack: fn(&Place, &Rig) -> miette::Result<Held>,
    /// By how much hostile inputs may raise the gateway's memory, MB: at least half more than they
    /// did when this was written, with default settings.
    pub(crate) bound: f64,
}

/// An original system. Ends with this.
pub(crate) struct Original {
    pub(crate) address: String,
    pub(crate) _programs: Vec<Program>,
    pub(crate) _redis: Option<Server>,
}

impl Original {
    /// Starts `<folder>_server.py`, which prints its address.
    pub(crate) fn start(place: &Place, protocol: &Protocol, args: &[&str]) -> miette::Result<Self> {
        let script = place.script(&format!("{}_server.py", protocol.folder));
        let mut program = Program::start(place.python(protocol.folder)?, &script, args, &[])?;
        Ok(Self { address: program.line()?, _programs: vec![program], _redis: None })
    }
}
