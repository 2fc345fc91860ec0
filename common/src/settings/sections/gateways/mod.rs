//! `[gateways.NAME]`: the doors of `redcall-gateway`, one per entry.
//!
//! | file | holds |
//! |---|---|
//! | `mod.rs` | the keys of all protocols; reading an entry |
//! | `inward.rs`, `outward.rs` | the keys of calls that come in; of jobs that the other side runs |
//! | `listening.rs` | the keys of doors that listen: connections, TLS, tokens |
//! | `rq.rs`, `pm.rs`, `grpc_avro.rs`, `zmtp.rs`, `bgpy.rs` | the keys of one protocol each |
//!
//! Every program checks the section; only `redcall-gateway` acts on it.

pub(crate) mod bgpy;
pub(crate) mod grpc_avro;
pub(crate) mod inward;
pub(crate) mod listening;
pub(crate) mod outward;
pub(crate) mod pm;
pub(crate) mod rq;
pub(crate) mod zmtp;

use std::collections::BTreeMap;
use std::time::Duration;

use config::Value;

use self::bgpy::BgpySettings;
use self::grpc_avro::GrpcAvroSettings;
use self::inward::InwardSettings;
use self::listening::ListeningSettings;
use self::outward::OutwardSettings;
use self::pm::PmSettings;
use self::rq::RqSettings;
use self::zmtp::ZmtpSettings;
use super::auth::AuthSettings;
use super::client::ClientSettings;
use super::limits::{LARGEST, SMALLEST};
use crate::rules::limits::Limits;
use crate::rules::name::is_plain;
use crate::settings::source::section::Section;
use crate::settings::value::duration::{SHORTEST, YEAR};
use crate::settings::value::forms::QUEUE;

/// `[gateways.NAME]`: one door of the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewaySettings {
    /// The protocol; its own keys are below.
    pub protocol: ProtocolSettings,
    /// The keys of calls that come in.
    pub inward: InwardSettings,
    /// The keys of jobs that the other side runs.
    pub outward: OutwardSettings,
    /// The keys of doors that listen.
    pub listening: ListeningSettings,
    /// How long a foreign caller waits for its answer, and the upper bound of a foreign worker's
    /// answer, 1 ms to 1 year. Default `client.timeout`.
    pub timeout: Duration,
    /// The largest foreign message, bytes, 1 KiB to 512 MiB; rejected before it is allocated.
    /// Default `limits.request`; for `grpc-avro` 4 MiB.
    pub message: usize,
}

/// The protocol of a door, with its own keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProtocolSettings {
    /// `protocol = "rq"`: python-rpc on rq.
    Rq(RqSettings),
    /// `protocol = "pm"`: Pipeline Manager.
    Pm(PmSettings),
    /// `protocol = "grpc-avro"`: gRPC whose messages are Avro datums.
    GrpcAvro(GrpcAvroSettings),
    /// `protocol = "zmtp"`: the Autotrainer API over ZeroMQ.
    Zmtp(ZmtpSettings),
    /// `protocol = "bgpy"`: bgpy.
    Bgpy(BgpySettings),
}

impl ProtocolSettings {
    /// Returns the protocol's name in the settings.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Rq(_) => "rq",
            Self::Pm(_) => "pm",
            Self::GrpcAvro(_) => "grpc-avro",
            Self::Zmtp(_) => "zmtp",
            Self::Bgpy(_) => "bgpy",
        }
    }
}

/// A protocol as it is chosen, before its keys are read.
#[derive(Debug, Clone, Copy)]
enum Protocol {
    Rq,
    Pm,
    GrpcAvro,
    Zmtp,
    Bgpy,
}

const PROTOCOLS: [(&str, Protocol); 5] = [
    ("rq", Protocol::Rq),
    ("pm", Protocol::Pm),
    ("grpc-avro", Protocol::GrpcAvro),
    ("zmtp", Protocol::Zmtp),
    ("bgpy", Protocol::Bgpy),
];

/// The settings outside of `[gateways]` that give defaults and known names.
pub(crate) struct Others<'a> {
    pub(crate) client: &'a ClientSettings,
    pub(crate) limits: &'a Limits,
    pub(crate) auth: Option<&'a AuthSettings>,
}

/// Reads all doors of the `[gateways]` table.
pub(crate) fn read(
    mut section: Section<'_>,
    others: &Others<'_>,
) -> BTreeMap<String, GatewaySettings> {
    let values = section.take_all();
    let names: Vec<String> = values.keys().cloned().collect();
    let mut gateways = BTreeMap::new();
    for (name, value) in values {
        if let Some(gateway) = gateway(&section, &name, value, (&names, others)) {
            gateways.insert(name, gateway);
        }
    }
    gateways
}

/// Reads one door; `None` if its mistakes leave nothing to open.
fn gateway(
    gateways: &Section<'_>,
    name: &str,
    value: Value,
    (names, others): (&[String], &Others<'_>),
) -> Option<GatewaySettings> {
    const EXAMPLE: &str = "protocol = \"rq\", \"pm\", \"grpc-avro\", \"zmtp\" or \"bgpy\"";
    let example = format!("[gateways.{}] with {EXAMPLE} below", name.escape_debug());
    let mut door = Section::at(gateways.context(), gateways.child(name), value, &example)?;
    if !is_plain(name) {
        door.wrong("is not the name of a gateway", format!("a gateway's name is {QUEUE}"));
    }
    if door.origin("protocol").is_none() {
        if door.is_from_env() {
            door.overrides_nothing("gateway", name, names);
        } else {
            door.wrong("has no protocol", format!("add {EXAMPLE}"));
        }
        return None;
    }
    // Without a protocol, no other key can be judged.
    let protocol = door.read("protocol", |entry| entry.choice(&PROTOCOLS))?;
    let timeout = door.read("timeout", |entry| entry.duration(SHORTEST..=YEAR));
    let message = door.read("message", |entry| entry.size(SMALLEST..=LARGEST));
    let default_message = match protocol {
        Protocol::GrpcAvro => grpc_avro::MESSAGE,
        Protocol::Rq | Protocol::Pm | Protocol::Zmtp | Protocol::Bgpy => others.limits.request,
    };
    let (inward, outward, listening, protocol) = parts(&mut door, protocol, others);
    door.finish();
    Some(GatewaySettings {
        protocol: protocol?,
        inward,
        outward,
        listening,
        timeout: timeout.unwrap_or(others.client.timeout),
        message: message.unwrap_or(default_message),
    })
}

type Parts = (InwardSettings, OutwardSettings, ListeningSettings, Option<ProtocolSettings>);

/// Reads the keys that a protocol has. A key that none of these readers reads is reported as
/// unknown, so that no key is set without an effect.
fn parts(door: &mut Section<'_>, protocol: Protocol, others: &Others<'_>) -> Parts {
    let auth = others.auth;
    match protocol {
        Protocol::Rq => {
            let (inward, outward) = (inward::named(door, auth), outward::read(door));
            let own = rq::read(door, &outward);
            (inward, outward, ListeningSettings::default(), own.map(ProtocolSettings::Rq))
        }
        Protocol::Pm => {
            let (inward, outward) = (inward::named(door, auth), outward::read(door));
            let (own, listening) = pm::read(door);
            (inward, outward, listening, own.map(ProtocolSettings::Pm))
        }
        Protocol::GrpcAvro => {
            let inward = inward::read(door, auth);
            let (own, listening) = grpc_avro::read(door);
            let own = own.map(ProtocolSettings::GrpcAvro);
            (inward, OutwardSettings::default(), listening, own)
        }
        Protocol::Zmtp => {
            let (inward, outward) = (inward::read(door, auth), outward::read(door));
            let (own, listening) = zmtp::read(door, &outward);
            let queue = inward.queue.or_else(|| Some(zmtp::QUEUE.to_owned()));
            let inward = InwardSettings { queue, ..inward };
            (inward, outward, listening, own.map(ProtocolSettings::Zmtp))
        }
        Protocol::Bgpy => {
            let inward = inward::signed(door, auth);
            let (own, listening) = bgpy::read(door);
            let own = own.map(ProtocolSettings::Bgpy);
            (inward, OutwardSettings::default(), listening, own)
        }
    }
}
