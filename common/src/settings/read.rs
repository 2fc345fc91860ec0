//! The keys of each section, with their valid values. `[jobs]`, `[schedules]` and `[log]` have
//! their own files.
//!
//! One function per section, one line per key: name, type, range. Defaults come from the structs.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::time::Duration;

use super::duration::{HOUR, SHORTEST, YEAR};
use super::entry::Entry;
use super::error::SettingsError;
use super::forms::{QUEUE, count, number, queue};
use super::parts::{
    AdminSettings, ClientSettings, DeadSettings, EventSettings, QueueSettings, WorkerSettings,
};
use super::redis::RedisSettings;
use super::section::{LoadContext, Section};
use super::{Settings, auth, jobs, log, pools, schedules, services, url};
use crate::durability::Durability;
use crate::limits::Limits;
use crate::name::is_queue;

/// The longest list that Redis can hold.
const LONGEST_LIST: u64 = u32::MAX as u64;

/// The smallest limit that leaves room for an error with its message.
const SMALLEST: u64 = 1 << 10;

/// The largest value that Redis can hold.
const LARGEST: u64 = 512 << 20;

/// Reads the settings of the tree at `root`; mistakes go to its context.
pub(super) fn settings(mut root: Section<'_>) -> Settings {
    let redis = redis(root.section("redis"));
    let client = client(root.section("client"));
    let worker = worker(root.section("worker"));
    let pools = pools::read(root.section("pools"));
    let jobs = jobs::read(root.section("jobs"), &pools);
    let limits = limits(root.section("limits"));
    let services = services::read(root.section("services"), &jobs);
    let settings = Settings {
        redis,
        client,
        worker,
        jobs,
        pools,
        services,
        schedules: schedules::read(root.section("schedules"), &limits),
        queues: queues_of(root.section("queues")),
        auth: root.table("auth", "[auth] and its keys below").map(auth::read),
        limits,
        dead: dead(root.section("dead")),
        events: events(root.section("events")),
        admin: admin(root.section("admin")),
        log: log::read(root.section("log")),
        file: None,
    };
    root.finish();
    settings
}

fn redis(mut section: Section<'_>) -> RedisSettings {
    let default = RedisSettings::default();
    let LoadContext { base, .. } = section.context();
    one_without_the_other(&section, "cert_file", "key_file");
    one_without_the_other(&section, "key_file", "cert_file");
    let named = section.read("url", address);
    let settings = RedisSettings {
        url_named: named.is_some(),
        url: named.unwrap_or(default.url),
        prefix: section.read("prefix", queue).unwrap_or(default.prefix),
        durability: section
            .read("durability", |entry| entry.choice(&Durability::NAMES))
            .unwrap_or(default.durability),
        ca_file: section.read("ca_file", |entry| entry.path(base)),
        cert_file: section.read("cert_file", |entry| entry.path(base)),
        key_file: section.read("key_file", |entry| entry.path(base)),
        connect_timeout: section
            .read("connect_timeout", |entry| entry.duration(SHORTEST..=HOUR))
            .unwrap_or(default.connect_timeout),
        response_timeout: section
            .read("response_timeout", |entry| entry.duration(SHORTEST..=HOUR))
            .unwrap_or(default.response_timeout),
        skip_safety_warning: default.skip_safety_warning,
    };
    section.finish();
    settings
}

fn one_without_the_other(section: &Section<'_>, given: &str, missing: &str) {
    if let (Some(origin), None) = (section.origin(given), section.origin(missing)) {
        section.context().report(SettingsError::invalid(
            &origin,
            &section.child(given),
            format!("is given without {}", section.child(missing)),
            format!("a client certificate needs both: add {missing}, or remove {given}"),
        ));
    }
}

fn client(mut section: Section<'_>) -> ClientSettings {
    let default = ClientSettings::default();
    let settings = ClientSettings {
        timeout: section
            .read("timeout", |entry| entry.duration(SHORTEST..=YEAR))
            .unwrap_or(default.timeout),
        no_workers_grace: section
            .read("no_workers_grace", |entry| entry.duration(Duration::ZERO..=YEAR))
            .unwrap_or(default.no_workers_grace),
    };
    section.finish();
    settings
}

fn worker(mut section: Section<'_>) -> WorkerSettings {
    let default = WorkerSettings::default();
    let settings = WorkerSettings {
        name: section.read("name", queue),
        queues: section.read("queues", queues).unwrap_or(default.queues),
        concurrency: section
            .read("concurrency", |entry| count(entry, 65_536))
            .unwrap_or(default.concurrency),
        lease: section
            .read("lease", |entry| entry.duration(Duration::from_millis(100)..=HOUR))
            .unwrap_or(default.lease),
        drain_timeout: section
            .read("drain_timeout", |entry| entry.duration(Duration::ZERO..=YEAR))
            .unwrap_or(default.drain_timeout),
        cancel_grace: section
            .read("cancel_grace", |entry| entry.duration(Duration::ZERO..=HOUR))
            .unwrap_or(default.cancel_grace),
        idempotency_ttl: section
            .read("idempotency_ttl", |entry| entry.duration(Duration::from_secs(1)..=YEAR))
            .unwrap_or(default.idempotency_ttl),
    };
    section.finish();
    settings
}

fn queues_of(mut section: Section<'_>) -> BTreeMap<String, QueueSettings> {
    let mut queues = BTreeMap::new();
    for (name, value) in section.take_all() {
        let example = format!("[queues.{}] with max_length below", name.escape_debug());
        let path = section.child(&name);
        let Some(mut queue) = Section::at(section.context(), path, value, &example) else {
            continue;
        };
        if !is_queue(&name) {
            queue.wrong("is not a queue name", format!("a queue name is {QUEUE}"));
        }
        let bounds = QueueSettings {
            max_length: queue.read("max_length", max_length),
            answers_max_bytes: queue.read("answers_max_bytes", Entry::bound),
        };
        if bounds != QueueSettings::default() {
            queues.insert(name, bounds);
        }
        queue.finish();
    }
    queues
}

fn max_length(entry: &Entry) -> Result<u64, SettingsError> {
    entry.whole(0..=LONGEST_LIST)
}

fn limits(mut section: Section<'_>) -> Limits {
    let default = Limits::default();
    let size = |entry: &Entry| entry.size(SMALLEST..=LARGEST);
    let settings = Limits {
        request: section.read("request", size).unwrap_or(default.request),
        answer: section.read("answer", size).unwrap_or(default.answer),
        frame: section.read("frame", size).unwrap_or(default.frame),
        depth: section.read("depth", |entry| count(entry, 128)).unwrap_or(default.depth),
        max_length: section.read("max_length", max_length).unwrap_or(default.max_length),
        answers_max_bytes: section
            .read("answers_max_bytes", Entry::bound)
            .unwrap_or(default.answers_max_bytes),
    };
    section.finish();
    settings
}

fn dead(mut section: Section<'_>) -> DeadSettings {
    let default = DeadSettings::default();
    let settings = DeadSettings {
        // Not zero: a request that ends here would then be lost without a trace.
        max: section.read("max", |entry| entry.whole(1..=LONGEST_LIST)).unwrap_or(default.max),
        max_bytes: section.read("max_bytes", Entry::bound).unwrap_or(default.max_bytes),
        age: section
            .read("age", |entry| entry.duration(Duration::from_secs(1)..=YEAR * 10))
            .unwrap_or(default.age),
    };
    section.finish();
    settings
}

fn events(mut section: Section<'_>) -> EventSettings {
    let default = EventSettings::default();
    let second = Duration::from_secs(1);
    let settings = EventSettings {
        max: section.read("max", |entry| entry.whole(1..=LONGEST_LIST)).unwrap_or(default.max),
        max_bytes: section.read("max_bytes", Entry::bound).unwrap_or(default.max_bytes),
        age: section.read("age", |entry| entry.duration(second..=YEAR)).unwrap_or(default.age),
        emergency: section.read("emergency", kinds).unwrap_or(default.emergency),
        heartbeat: section.read("heartbeat", |entry| entry.duration(second..=HOUR)),
    };
    section.finish();
    settings
}

fn kinds(entry: &Entry) -> Result<Vec<u32>, SettingsError> {
    let items = entry.list("[101, 102, 2001]")?;
    items.iter().map(|item| number(item, 0..=u32::MAX)).collect()
}

fn admin(mut section: Section<'_>) -> AdminSettings {
    let settings = AdminSettings { listen: section.read("listen", listen) };
    section.finish();
    settings
}

/// Reads an address of this machine. Not a host name, which may change, or have several addresses.
fn listen(entry: &Entry) -> Result<SocketAddr, SettingsError> {
    const FORM: &str = "an IP address with a port";
    const HELP: &str = "write this machine's address and a port, such as \"127.0.0.1:9090\", \
                        \"[::1]:9090\", or \"0.0.0.0:9090\" for all of its addresses";
    entry.text(HELP)?.trim().parse().map_err(|_| entry.not_a(FORM, HELP))
}

fn queues(entry: &Entry) -> Result<Vec<String>, SettingsError> {
    let mut seen = HashSet::new();
    let items = entry.list("[\"high\", \"default\", \"low\"]")?;
    items
        .iter()
        .map(|item| {
            let name = queue(item)?;
            if seen.insert(name.clone()) {
                return Ok(name);
            }
            Err(item.wrong(format!("names the queue `{name}` again"), "name each queue once"))
        })
        .collect()
}

fn address(entry: &Entry) -> Result<String, SettingsError> {
    let text = entry.text(url::HELP)?;
    match url::problem(text) {
        None => Ok(text.to_owned()),
        Some(problem) => Err(entry.wrong(problem, url::HELP)),
    }
}
