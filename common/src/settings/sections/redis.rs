//! `[redis]`: the address of Redis and its connection options.
//!
//! No `Debug` and no message shows the password in the address.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::rules::durability::Durability;
use crate::settings::source::entry::Entry;
use crate::settings::source::error::SettingsError;
use crate::settings::source::section::{LoadContext, Section};
use crate::settings::value::duration::{HOUR, SHORTEST};
use crate::settings::value::forms::queue;
use crate::settings::value::url;

/// `[redis]`: the address of Redis and its connection options.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisSettings {
    /// The address: `redis://`, `rediss://` (TLS), `redis+sentinel://` (the primary that Sentinel
    /// names), `redis+unix://`, `unix://`, or `embedded`, which starts a private server. May contain
    /// a password. Default `redis://127.0.0.1:6379`.
    // Shown only through `redacted_url`.
    pub url: String,
    /// `true` if file or environment set `url`; if not, the example uses the embedded server.
    /// Default false.
    pub url_named: bool,
    /// The first part of every key, 1 to 64 characters of `[A-Za-z0-9_.-]`. Default `redcall`.
    /// Programs with different prefixes are isolated from each other.
    pub prefix: String,
    /// The durability that a request has to reach before its call returns. Default `memory`.
    pub durability: Durability,
    /// The PEM file of a private certificate authority for the server's certificate, with
    /// `rediss://`. Absolute; in the settings file it may be relative to that file. Default none:
    /// the well-known authorities.
    pub ca_file: Option<PathBuf>,
    /// The PEM file of our client certificate, with `rediss://`. Requires `key_file`. Default none.
    pub cert_file: Option<PathBuf>,
    /// The PEM file of the private key of `cert_file`. Default none.
    pub key_file: Option<PathBuf>,
    /// The timeout of one attempt to connect, 1 ms to 1 hour. Default 5 s.
    pub connect_timeout: Duration,
    /// The timeout of one command's reply, 1 ms to 1 hour; blocking commands are exempt. Default 5
    /// s.
    pub response_timeout: Duration,
    /// `true` to omit a worker's warnings about the server's persistence: the server was started
    /// for this program alone, or the warnings were given before. Not a key of the file; default
    /// false.
    pub skip_safety_warning: bool,
}

impl RedisSettings {
    /// Returns `true` if the address is `embedded`, a private server.
    #[must_use]
    pub fn is_embedded(&self) -> bool {
        self.url == url::EMBEDDED
    }

    /// Returns `true` if the connection leaves this machine without TLS.
    #[must_use]
    pub fn is_in_the_clear(&self) -> bool {
        url::is_in_the_clear(&self.url)
    }

    /// Returns the problem of the address, if it has one; repeats no part of it after the scheme.
    #[must_use]
    pub fn url_problem(&self) -> Option<String> {
        url::problem(&self.url)
    }

    /// Returns the address without its password, for logs and messages.
    #[must_use]
    pub fn redacted_url(&self) -> String {
        url::redacted(&self.url)
    }
}

impl Default for RedisSettings {
    fn default() -> Self {
        Self {
            url: "redis://127.0.0.1:6379".to_owned(),
            url_named: false,
            prefix: "redcall".to_owned(),
            durability: Durability::default(),
            ca_file: None,
            cert_file: None,
            key_file: None,
            connect_timeout: Duration::from_secs(5),
            response_timeout: Duration::from_secs(5),
            skip_safety_warning: false,
        }
    }
}

// By hand: the derived one would print the password in logs.
impl fmt::Debug for RedisSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisSettings")
            .field("url", &self.redacted_url())
            .field("url_named", &self.url_named)
            .field("prefix", &self.prefix)
            .field("durability", &self.durability)
            .field("ca_file", &self.ca_file)
            .field("cert_file", &self.cert_file)
            .field("key_file", &self.key_file)
            .field("connect_timeout", &self.connect_timeout)
            .field("response_timeout", &self.response_timeout)
            .field("skip_safety_warning", &self.skip_safety_warning)
            .finish()
    }
}

/// Reads the `[redis]` table.
pub(crate) fn read(mut section: Section<'_>) -> RedisSettings {
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

fn address(entry: &Entry) -> Result<String, SettingsError> {
    let text = entry.text(url::HELP)?;
    match url::problem(text) {
        None => Ok(text.to_owned()),
        Some(problem) => Err(entry.wrong(problem, url::HELP)),
    }
}
