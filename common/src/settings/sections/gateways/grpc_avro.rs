//! The keys of `protocol = "grpc-avro"`: gRPC whose messages are Avro datums.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use config::Value;

use super::inward::job;
use super::listening::{self, ListeningSettings, Place, text};
use crate::rules::limits::TTL_RANGE_MS;
use crate::settings::source::entry::Entry;
use crate::settings::source::error::SettingsError;
use crate::settings::source::section::{LoadContext, Section};
use crate::settings::value::duration::DAY;

/// The default limit of a message, bytes: that of gRPC libraries.
pub(crate) const MESSAGE: usize = 4 << 20;

/// `protocol = "grpc-avro"`: gRPC whose messages are Avro datums.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrpcAvroSettings {
    /// `listen`: The address of the gRPC server; port 0 selects a free one, which the log names.
    pub listen: SocketAddr,
    /// `methods`: The methods. Never empty.
    pub methods: BTreeMap<String, GrpcMethod>,
    /// `registry`: The address of a schema registry over HTTP that answers from the schema files.
    /// Default none.
    pub registry: Option<SocketAddr>,
}

/// `[gateways.NAME.methods.X]`: one gRPC method. Paths of files are absolute; in the settings file
/// they may be relative to that file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrpcMethod {
    /// The path of the method, `/package.Service/method`.
    pub path: String,
    /// The effect of a call.
    pub does: GrpcDoes,
    /// The job's name. Default for `monitor` the only job of `init` methods; else required.
    pub job: String,
    /// The Avro schema of requests.
    pub request: PathBuf,
    /// The Avro schema of responses. Default that of requests.
    pub response: PathBuf,
    /// The field with the job's id. Default none; required for `init` and `monitor`.
    pub key: Option<String>,
    /// The field with the job's state. Default none; required for `init` and `monitor`.
    pub status: Option<String>,
    /// The field that requests a stream up to the end, with dots between nested names. Default
    /// none: one frame.
    pub follow: Option<String>,
    /// How long the state of a job is kept, 1 s to 7 days. Default 7 days.
    pub kept: Duration,
}

/// The effect of a call of a gRPC method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrpcDoes {
    /// `does = "init"`: Enqueues a job and returns its id.
    Init,
    /// `does = "monitor"`: Returns the state of a job.
    Monitor,
    /// `does = "call"`: Calls a job and returns its answer.
    Call,
}

const DOES: [(&str, GrpcDoes); 3] =
    [("init", GrpcDoes::Init), ("monitor", GrpcDoes::Monitor), ("call", GrpcDoes::Call)];

const EXAMPLE: &str = "[gateways.NAME.methods.init] with path, does, job and request below";

/// Reads the keys.
pub(crate) fn read(door: &mut Section<'_>) -> (Option<GrpcAvroSettings>, ListeningSettings) {
    let places = ["listen", "registry"].map(|key| Place::of(door, key));
    if door.origin("listen").is_none() {
        door.wrong("has no listen", "add listen = \"127.0.0.1:50051\"");
    }
    let listen = door.read("listen", listening::address);
    let registry = door.read("registry", listening::address);
    let settings = listening::read(door);
    let mut methods = BTreeMap::new();
    match door.table("methods", EXAMPLE) {
        None => door.wrong("has no methods", format!("add {EXAMPLE}")),
        Some(mut table) => {
            let values = table.take_all();
            if values.is_empty() {
                table.wrong("is empty", format!("add {EXAMPLE}"));
            }
            for (name, value) in values {
                let read = method(&table, &name, value);
                methods.extend(read.map(|method| (name, method)));
            }
            monitor_the_jobs_of_inits(&mut table, &mut methods);
        }
    }
    let mut paths = BTreeMap::new();
    for (name, method) in &methods {
        if let Some(first) = paths.insert(&method.path, name) {
            let problem = format!("has the path {} in the methods {first} and {name}", method.path);
            door.wrong(problem, "give each method a path of its own");
        }
    }
    for (place, address) in places.iter().zip([&listen, &registry]) {
        listening::protect(door, (place, address.as_slice()), &settings, false);
    }
    let own = listen.map(|listen| GrpcAvroSettings { listen, methods, registry });
    (own, settings)
}

/// Sets the job of each `monitor` method without one.
fn monitor_the_jobs_of_inits(table: &mut Section<'_>, methods: &mut BTreeMap<String, GrpcMethod>) {
    let inits = methods.values().filter(|method| method.does == GrpcDoes::Init);
    let jobs: BTreeSet<String> = inits.map(|method| method.job.clone()).collect();
    let mut jobs = jobs.into_iter();
    let only = jobs.next().filter(|_| jobs.next().is_none());
    methods.retain(|name, method| {
        if method.job.is_empty() {
            let Some(job) = &only else {
                let help = "add job = \"JOB\", the job that it monitors";
                table.wrong(format!("has no job in the method {name}"), help);
                return false;
            };
            method.job.clone_from(job);
        }
        true
    });
}

/// Reads one method; `None` if its mistakes leave nothing to serve. The job of a `monitor` method
/// is empty if it has none.
fn method(methods: &Section<'_>, name: &str, value: Value) -> Option<GrpcMethod> {
    let mut method = Section::at(methods.context(), methods.child(name), value, EXAMPLE)?;
    let LoadContext { base, .. } = method.context();
    let mut absent = vec!["path", "does", "job", "request"];
    absent.retain(|key| method.origin(key).is_none());
    let given = ["key", "status"].map(|key| method.origin(key).is_some());
    let path = method.read("path", path);
    let does = method.read("does", |entry| entry.choice(&DOES));
    let has_no_job = absent.contains(&"job") && does == Some(GrpcDoes::Monitor);
    absent.retain(|key| *key != "job" || !has_no_job);
    for key in absent {
        method.wrong(format!("has no {key}"), format!("a method is {EXAMPLE}"));
    }
    let job = method.read("job", job).or_else(|| has_no_job.then(String::new));
    let mut schema = |key| {
        let help = "write the path of a file with an Avro schema";
        method.read(key, |entry| Ok(base.join(entry.text(help)?)))
    };
    let (request, response) = (schema("request"), schema("response"));
    let mut field = |key| method.read(key, text);
    let (key, status, follow) = (field("key"), field("status"), field("follow"));
    let [shortest, longest] =
        [TTL_RANGE_MS.start(), TTL_RANGE_MS.end()].map(|ms| Duration::from_millis(*ms));
    let kept = method.read("kept", |entry| entry.duration(shortest..=longest));
    if matches!(does, Some(GrpcDoes::Init | GrpcDoes::Monitor)) {
        for (key, given) in ["key", "status"].into_iter().zip(given) {
            if !given {
                let help = format!("add {key} = \"FIELD\", a field of the response");
                method.wrong(format!("has no {key}"), help);
            }
        }
    }
    method.finish();
    let request = request?;
    Some(GrpcMethod {
        path: path?,
        does: does?,
        job: job?,
        response: response.unwrap_or_else(|| request.clone()),
        request,
        key,
        status,
        follow,
        kept: kept.unwrap_or(7 * DAY),
    })
}

fn path(entry: &Entry) -> Result<String, SettingsError> {
    let is_path = |text: &str| {
        let parts: Vec<&str> = text.split('/').collect();
        let form = |part: &str| {
            !part.is_empty()
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        };
        matches!(parts[..], ["", service, method] if form(service) && form(method))
    };
    entry.name(is_path, "a gRPC path such as \"/package.Service/method\"")
}
