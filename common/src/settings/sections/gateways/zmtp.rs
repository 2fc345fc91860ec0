//! The keys of `protocol = "zmtp"`: the Autotrainer API over ZeroMQ.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::inward::{job, prefix};
use super::listening::{self, ListeningSettings, Place, text};
use super::outward::OutwardSettings;
use crate::settings::source::entry::Entry;
use crate::settings::source::error::SettingsError;
use crate::settings::source::section::Section;
use crate::settings::value::forms::number;

/// The default queue of a device's commands.
pub(crate) const QUEUE: &str = "device";

/// `protocol = "zmtp"`: the Autotrainer API over ZeroMQ.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ZmtpSettings {
    /// `listen_commands`: The addresses of the REP sockets that receive commands. Default none.
    pub listen_commands: Vec<SocketAddr>,
    /// `listen_events`: The addresses of the PUB sockets that publish events. Default none.
    pub listen_events: Vec<SocketAddr>,
    /// `connect_commands`: The addresses of devices that run the jobs in `serves`. Default none.
    pub connect_commands: Vec<String>,
    /// `connect_events`: The addresses of devices whose events are published in Redcall. Default
    /// none.
    pub connect_events: Vec<String>,
    /// `commands`: The job of each command's number. Default none.
    pub commands: BTreeMap<i64, String>,
    /// `others`: The text in front of the number of a command without an entry in `commands`; both
    /// form the job's name. Default none: such a command is unknown.
    pub others: Option<String>,
    /// The form of events. Default `0.12`.
    pub dialect: ZmtpDialect,
    /// `identifier`: The device's name in heartbeats. Default the worker's name.
    pub identifier: Option<String>,
    /// `topics`: The numbers of further topics whose events are published. Default none.
    pub topics: Vec<u32>,
}

/// The form of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ZmtpDialect {
    /// `dialect = "0.9"`: JSON inside a JSON text.
    V0_9,
    /// `dialect = "0.12"`: JSON.
    #[default]
    V0_12,
}

const DIALECTS: [(&str, ZmtpDialect); 2] =
    [("0.9", ZmtpDialect::V0_9), ("0.12", ZmtpDialect::V0_12)];

/// The keys of which a door has at least one.
const SOCKETS: [&str; 4] =
    ["listen_commands", "listen_events", "connect_commands", "connect_events"];

/// Reads the keys.
pub(crate) fn read(
    door: &mut Section<'_>,
    outward: &OutwardSettings,
) -> (Option<ZmtpSettings>, ListeningSettings) {
    let places = ["listen_commands", "listen_events"].map(|key| Place::of(door, key));
    if SOCKETS.iter().all(|key| door.origin(key).is_none()) {
        let problem = format!("has none of {}", SOCKETS.join(", "));
        door.wrong(problem, "add listen_commands = [\"127.0.0.1:5557\"] to be a device");
    }
    let runs = door.origin("connect_commands").is_some();
    match (runs, outward.serves.is_empty()) {
        (true, true) => door.wrong("has connect_commands without serves", "add serves = [\"JOB\"]"),
        (false, false) => {
            let help = "add connect_commands = [\"127.0.0.1:5557\"], or remove serves";
            door.wrong("has serves without connect_commands", help);
        }
        _ => {}
    }
    let mut listens = |key| door.read(key, listening::addresses).unwrap_or_default();
    let (listen_commands, listen_events) = (listens("listen_commands"), listens("listen_events"));
    let mut connects = |key| door.read(key, listening::targets).unwrap_or_default();
    let connect_commands = connects("connect_commands");
    let connect_events = connects("connect_events");
    let settings = match places.iter().any(Place::is_given) {
        true => listening::read(door),
        false => ListeningSettings::default(),
    };
    for (place, addresses) in places.iter().zip([&listen_commands, &listen_events]) {
        listening::protect(door, (place, addresses), &settings, false);
    }
    let commands = door.table("commands", "commands = { 100 = \"start_acquisition\" }");
    let own = ZmtpSettings {
        listen_commands,
        listen_events,
        connect_commands,
        connect_events,
        commands: commands.map(numbered).unwrap_or_default(),
        others: door.read("others", prefix),
        dialect: door.read("dialect", |entry| entry.choice(&DIALECTS)).unwrap_or_default(),
        identifier: door.read("identifier", text),
        topics: door.read("topics", topics).unwrap_or_default(),
    };
    check_numbers(door, &own, if runs { &outward.serves } else { &[] });
    (Some(own), settings)
}

/// Checks that a job has one number: a device is addressed by it, and a result carries it.
fn check_numbers(door: &mut Section<'_>, own: &ZmtpSettings, serves: &[String]) {
    let mut named = BTreeMap::new();
    for (number, job) in &own.commands {
        if let Some(first) = named.insert(job, number) {
            let problem = format!("has the commands {first} and {number} for the job `{job}`");
            door.wrong(problem, "keep one of them; another job may have the same handler");
        }
    }
    let is_other = |job: &str| {
        let number = own.others.as_ref().and_then(|others| job.strip_prefix(others.as_str()));
        number.is_some_and(|number| number.parse::<i64>().is_ok())
    };
    for job in serves {
        if !named.contains_key(job) && !is_other(job) {
            let help = "add it to commands, or set others to the beginning of its name";
            door.wrong(format!("has no command for the job `{job}` of serves"), help);
        }
    }
}

/// Reads the jobs of commands, by number.
fn numbered(mut table: Section<'_>) -> BTreeMap<i64, String> {
    let mut commands = BTreeMap::new();
    for (name, value) in table.take_all() {
        let read = table.convert(&name, value, |entry| {
            let number = name.parse::<i64>().map_err(|_| {
                entry.wrong("is not the number of a command", "write NUMBER = \"JOB\"")
            })?;
            Ok((number, job(entry)?))
        });
        commands.extend(read);
    }
    commands
}

fn topics(entry: &Entry) -> Result<Vec<u32>, SettingsError> {
    entry.list("[7, 8]")?.iter().map(|item| number(item, 1..=u32::MAX)).collect()
}
