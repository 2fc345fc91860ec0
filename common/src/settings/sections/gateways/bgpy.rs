//! The keys of `protocol = "bgpy"`.

use std::net::SocketAddr;
use std::time::Duration;

use super::listening::{self, ListeningSettings, Place, texts};
use crate::rules::name::{is_instance, is_plain};
use crate::settings::source::entry::Entry;
use crate::settings::source::error::SettingsError;
use crate::settings::source::section::Section;
use crate::settings::value::duration::{HOUR, SHORTEST};
use crate::settings::value::forms::QUEUE;

/// How long a connection may be silent.
const IDLE: Duration = Duration::from_secs(30);

/// `protocol = "bgpy"`: callers of bgpy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BgpySettings {
    /// `listen`: The address of the server; port 0 selects a free one, which the log names.
    pub listen: SocketAddr,
    /// `service`: The service that callers use.
    pub service: String,
    /// `instance`: Its instance. Default empty.
    pub instance: String,
    /// `tasks`: The names of the tasks that callers may initialise: init, execute, exit. Default
    /// none: any.
    pub tasks: Option<[String; 3]>,
    /// `pace`: The least time between the starts of two messages to one client, 1 ms to 1 hour.
    /// Default 200 ms.
    pub pace: Duration,
}

/// Reads the keys.
pub(crate) fn read(door: &mut Section<'_>) -> (Option<BgpySettings>, ListeningSettings) {
    let place = Place::of(door, "listen");
    for (key, example) in
        [("listen", "listen = \"127.0.0.1:54321\""), ("service", "service = \"counter\"")]
    {
        if door.origin(key).is_none() {
            door.wrong(format!("has no {key}"), format!("add {example}"));
        }
    }
    let listen = door.read("listen", listening::address);
    let service = door
        .read("service", |entry| entry.name(is_plain, &format!("the name of a service: {QUEUE}")));
    let instance = door.read("instance", instance).unwrap_or_default();
    let tasks = door.read("tasks", tasks);
    let pace = door.read("pace", |entry| entry.duration(SHORTEST..=HOUR));
    let settings = listening::with_token(door);
    let idle = settings.idle.or(Some(IDLE));
    let settings = ListeningSettings { idle, ..settings };
    listening::protect(door, (&place, listen.as_slice()), &settings, true);
    let pace = pace.unwrap_or(Duration::from_millis(200));
    let own = listen.zip(service);
    let own = own.map(|(listen, service)| BgpySettings { listen, service, instance, tasks, pace });
    (own, settings)
}

/// Reads an instance, which may be empty.
fn instance(entry: &Entry) -> Result<String, SettingsError> {
    const RULE: &str = "an instance: up to 64 characters of A-Z, a-z, 0-9, `_`, `.`, `@` and `-`";
    match &entry.value {
        config::ValueKind::String(text) if text.is_empty() => Ok(String::new()),
        _ => entry.name(is_instance, RULE),
    }
}

fn tasks(entry: &Entry) -> Result<[String; 3], SettingsError> {
    let names = texts(entry)?;
    names.try_into().map_err(|names: Vec<String>| {
        let problem = format!("must name three tasks, but names {}", names.len());
        entry.wrong(problem, "write the tasks for init, execute and exit, in this order")
    })
}
