//! `[redis]` as a struct. No reading and no checks, as in `parts.rs`; in its own file because it
//! contains a secret, the password in the address.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::url;
use crate::durability::Durability;

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
