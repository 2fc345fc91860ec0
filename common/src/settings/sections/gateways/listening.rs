//! The keys of doors that listen: connections, TLS, tokens, and the rule that protects open ports.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use config::Value;

pub(crate) use crate::settings::sections::admin::listen as address;
use crate::settings::sections::auth::Secret;
use crate::settings::source::entry::Entry;
use crate::settings::source::error::SettingsError;
use crate::settings::source::section::{LoadContext, Section};
use crate::settings::value::duration::{SHORTEST, YEAR};
use crate::settings::value::forms::{count, flag};

/// The longest token, bytes: it is read before the peer is trusted.
const MAX_TOKEN: usize = 1 << 10;

/// The keys of a door that listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListeningSettings {
    /// `connections`: The number of open connections, 1 to 65,536; the next one is closed at once.
    /// Default 1024.
    pub connections: usize,
    /// `idle`: How long a connection may be without a complete message, 1 ms to 1 year. Default
    /// 30 s for `bgpy`, none for the other protocols.
    pub idle: Option<Duration>,
    /// `tls`: The certificates of the door. Default none: connections are not encrypted.
    pub tls: Option<TlsSettings>,
    /// `token` or `token_file`: The token that a peer has to send. Default none. Only for `bgpy`.
    pub token: Option<Secret>,
    /// `open`: `true` to listen beyond loopback with neither token nor client certificates.
    /// Default false.
    pub open: bool,
}

/// `[gateways.NAME] tls`: the certificates of a door. Paths are absolute; in the settings file they
/// may be relative to that file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// The PEM file of the door's certificate chain.
    pub cert_file: PathBuf,
    /// The PEM file of its private key.
    pub key_file: PathBuf,
    /// The PEM file of the authority that signs client certificates; connections without one are
    /// then rejected. Default none.
    pub client_ca_file: Option<PathBuf>,
}

impl Default for ListeningSettings {
    fn default() -> Self {
        Self { connections: 1024, idle: None, tls: None, token: None, open: false }
    }
}

/// Reads the keys of a door without a token.
pub(crate) fn read(door: &mut Section<'_>) -> ListeningSettings {
    let default = ListeningSettings::default();
    ListeningSettings {
        connections: door
            .read("connections", |entry| count(entry, 65_536))
            .unwrap_or(default.connections),
        idle: door.read("idle", |entry| entry.duration(SHORTEST..=YEAR)),
        tls: tls(door),
        token: None,
        open: door.read("open", flag).unwrap_or_default(),
    }
}

/// Reads the keys of a door with a token.
pub(crate) fn with_token(door: &mut Section<'_>) -> ListeningSettings {
    let LoadContext { base, .. } = door.context();
    if door.origin("token").is_some() && door.origin("token_file").is_some() {
        door.wrong("has token and token_file", "keep one of them");
    }
    let written = door.read("token", |entry| checked(entry, entry.text(TOKEN)?));
    let filed = door.read("token_file", |entry| {
        let path = base.join(entry.text(TOKEN)?);
        let unreadable = |cause| entry.wrong_because("cannot be read", TOKEN, cause);
        // No devices and pipes: those may be endless.
        let about = std::fs::metadata(&path).map_err(unreadable)?;
        if !about.is_file() {
            return Err(entry.wrong("is not a file", TOKEN));
        }
        if about.len() > 2 * MAX_TOKEN as u64 {
            return Err(entry.wrong(format!("holds more than {MAX_TOKEN} bytes"), TOKEN));
        }
        let text = std::fs::read_to_string(&path).map_err(unreadable)?;
        checked(entry, text.trim_end_matches(['\r', '\n']))
    });
    ListeningSettings { token: written.or(filed), ..read(door) }
}

const TOKEN: &str = "write the token, or the path of a file that holds it and nothing else";

fn checked(entry: &Entry, token: &str) -> Result<Secret, SettingsError> {
    match token.len() {
        0 => Err(entry.wrong("must not be empty", TOKEN)),
        1..=MAX_TOKEN => Ok(Secret::new(token)),
        _ => Err(entry.wrong(format!("holds more than {MAX_TOKEN} bytes"), TOKEN)),
    }
}

fn tls(door: &mut Section<'_>) -> Option<TlsSettings> {
    const EXAMPLE: &str = "tls = { cert_file = \"cert.pem\", key_file = \"key.pem\" }";
    let mut tls = door.table("tls", EXAMPLE)?;
    let LoadContext { base, .. } = tls.context();
    for key in ["cert_file", "key_file"] {
        if tls.origin(key).is_none() {
            tls.wrong(format!("has no {key}"), format!("write {EXAMPLE}"));
        }
    }
    let mut file = |key| tls.read(key, |entry| entry.path(base));
    let (cert_file, key_file) = (file("cert_file"), file("key_file"));
    let client_ca_file = file("client_ca_file");
    tls.finish();
    Some(TlsSettings { cert_file: cert_file?, key_file: key_file?, client_ca_file })
}

/// Reports `tls` of a door that does not listen: its connections would not be encrypted.
pub(crate) fn without_tls(door: &mut Section<'_>, help: &str) {
    if door.origin("tls").is_some() {
        let wrong = |entry: &Entry| Err(entry.wrong("is set, but the door does not listen", help));
        door.read::<()>("tls", wrong);
    }
}

/// Reads several addresses to listen on.
pub(crate) fn addresses(entry: &Entry) -> Result<Vec<SocketAddr>, SettingsError> {
    entry.list("[\"127.0.0.1:5557\"]")?.iter().map(address).collect()
}

/// Reads the address of another program.
pub(crate) fn target(entry: &Entry) -> Result<String, SettingsError> {
    let is_target = |text: &str| {
        let parts = text.rsplit_once(':');
        parts.is_some_and(|(host, port)| {
            let form = |c: char| !c.is_whitespace() && !c.is_control() && c != '/';
            let port = port.parse::<u16>().is_ok_and(|port| port > 0);
            !host.is_empty() && host.chars().all(form) && port
        })
    };
    entry.name(is_target, "a host and a port, such as \"127.0.0.1:9000\"")
}

/// Reads several addresses of other programs.
pub(crate) fn targets(entry: &Entry) -> Result<Vec<String>, SettingsError> {
    entry.list("[\"127.0.0.1:5557\"]")?.iter().map(target).collect()
}

/// Where a listening key was set, to report a mistake in it later.
pub(crate) struct Place {
    key: &'static str,
    origin: Option<String>,
}

impl Place {
    /// Notes the origin of `key`, which is not read yet.
    pub(crate) fn of(door: &Section<'_>, key: &'static str) -> Self {
        Self { key, origin: door.origin(key) }
    }

    /// Returns `true` if the key is set.
    pub(crate) fn is_given(&self) -> bool {
        self.origin.is_some()
    }
}

/// Reports an address beyond loopback that any machine may use. `has_tokens`: the protocol has
/// tokens.
pub(crate) fn protect(
    door: &Section<'_>,
    (place, addresses): (&Place, &[SocketAddr]),
    settings: &ListeningSettings,
    has_tokens: bool,
) {
    let tls = settings.tls.as_ref();
    let certificates = tls.is_some_and(|tls| tls.client_ca_file.is_some());
    if settings.open || settings.token.is_some() || certificates {
        return;
    }
    let beyond = addresses.iter().find(|address| !address.ip().to_canonical().is_loopback());
    if let (Some(address), Some(origin)) = (beyond, &place.origin) {
        let token = if has_tokens { "token_file, " } else { "" };
        door.context().report(SettingsError::invalid(
            origin,
            &door.child(place.key),
            format!("lets other machines in without credentials ({address})"),
            format!("add {token}tls.client_ca_file or open = true, or listen on 127.0.0.1"),
        ));
    }
}

/// Reads text that is not blank.
pub(crate) fn text(entry: &Entry) -> Result<String, SettingsError> {
    entry.text("write text").map(str::to_owned)
}

/// Reads a list of texts, none of them blank.
pub(crate) fn texts(entry: &Entry) -> Result<Vec<String>, SettingsError> {
    entry.list("[\"a\", \"b\"]")?.iter().map(text).collect()
}

/// Reads a table of texts.
pub(crate) fn text_by_text(mut table: Section<'_>) -> BTreeMap<String, String> {
    let values = table.take_all().into_iter();
    let read = |(name, value): (String, Value)| {
        let text = table.convert(&name, value, text)?;
        Some((name, text))
    };
    values.filter_map(read).collect()
}
