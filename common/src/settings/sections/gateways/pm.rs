//! The keys of `protocol = "pm"`: Pipeline Manager.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::listening::{self, ListeningSettings, Place, text_by_text};
use crate::settings::source::section::Section;

/// `protocol = "pm"`: Pipeline Manager, or an application of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PmSettings {
    /// `listen` or `connect`: exactly one.
    pub role: PmRole,
    /// The form of results. Default `typed` with `connect`, `plain` with `listen`.
    pub answers: PmAnswers,
    /// `cancels`: The method whose running requests of the same session a method cancels. Default
    /// none.
    pub cancels: BTreeMap<String, String>,
}

/// The side of the link that the gateway is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PmRole {
    /// `listen = "IP:PORT"`: Applications connect to the gateway.
    Listen(SocketAddr),
    /// `connect = "HOST:PORT"`: The gateway is the application that connects to Pipeline Manager.
    Connect(String),
}

/// The form of results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PmAnswers {
    /// `answers = "typed"`: An object with `type` and `content`, of the methods for which Pipeline
    /// Manager expects it.
    Typed,
    /// `answers = "plain"`: The data as they are.
    Plain,
}

const ANSWERS: [(&str, PmAnswers); 2] = [("typed", PmAnswers::Typed), ("plain", PmAnswers::Plain)];

/// Reads the keys.
pub(crate) fn read(door: &mut Section<'_>) -> (Option<PmSettings>, ListeningSettings) {
    let place = Place::of(door, "listen");
    let given = ["listen", "connect"].map(|key| door.origin(key).is_some());
    let listen = door.read("listen", listening::address);
    let connect = door.read("connect", listening::target);
    // A door that connects has none of the keys of doors that listen.
    let listens = given != [false, true];
    let settings = if listens {
        listening::read(door)
    } else {
        listening::without_tls(door, "remove tls: Pipeline Manager has no TLS");
        ListeningSettings::default()
    };
    let answers = door.read("answers", |entry| entry.choice(&ANSWERS));
    let cancels = door.table("cancels", "cancels = { dataflow_stop = \"dataflow_run\" }");
    let cancels = cancels.map(text_by_text).unwrap_or_default();
    match given {
        [true, true] => door.wrong("has listen and connect", "keep one of them"),
        [false, false] => door.wrong(
            "has neither listen nor connect",
            "add connect = \"127.0.0.1:9000\" to be an application of Pipeline Manager, or listen \
             for applications",
        ),
        _ => {}
    }
    listening::protect(door, (&place, listen.as_slice()), &settings, false);
    let (role, default) = match (listen, connect) {
        (Some(address), _) => (PmRole::Listen(address), PmAnswers::Plain),
        (None, Some(target)) => (PmRole::Connect(target), PmAnswers::Typed),
        (None, None) => return (None, settings),
    };
    (Some(PmSettings { role, answers: answers.unwrap_or(default), cancels }), settings)
}
