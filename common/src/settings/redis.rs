//! `[redis]` as a struct. No reading and no checking here, as in `parts.rs`; apart from there
//! because it alone holds a secret, the password in the address.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::url;
use crate::durability::Durability;

/// `[redis]`: where Redis is and how to reach it.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisSettings {
    /// Address: `redis://`, `rediss://` (TLS), `redis+unix://`, `unix://`, or `embedded`, which
    /// starts a private server. Default `redis://127.0.0.1:6379`. May hold a password: show it
    /// only through [`RedisSettings::redacted_url`].
    pub url: String,
    /// Whether file or environment named `url`. The example uses the embedded server when none
    /// did. Default false.
    pub url_named: bool,
    /// First part of every key, 1 to 64 characters of `[A-Za-z0-9_.-]`. Default `redcall`.
    /// Programs with different prefixes do not see each other.
    pub prefix: String,
    /// How safe a request has to be before its caller is told that it is queued. Default `memory`.
    pub durability: Durability,
    /// PEM file of a private certificate authority that signs the server's certificate, for
    /// `rediss://`. Absolute; in the file it may be relative to the file. Default none: the
    /// well-known authorities.
    pub ca_file: Option<PathBuf>,
    /// PEM file of the certificate by which we show who we are, for `rediss://`. Given with
    /// `key_file` or not at all. Default none.
    pub cert_file: Option<PathBuf>,
    /// PEM file of the private key to `cert_file`. Default none.
    pub key_file: Option<PathBuf>,
    /// How long one attempt to connect may take, 1 ms to 1 hour. Default 5 s.
    pub connect_timeout: Duration,
    /// How long one command may wait for its reply, 1 ms to 1 hour; blocking commands are exempt.
    /// Default 5 s.
    pub response_timeout: Duration,
    /// Whether a worker says nothing about what that server keeps: it was started for this program
    /// alone, or somebody else has said it. No key of the file; default false.
    pub skip_safety_warning: bool,
}

impl RedisSettings {
    /// Whether what is sent can be read on the way: not within this machine, and without TLS.
    #[must_use]
    pub fn is_in_the_clear(&self) -> bool {
        url::is_in_the_clear(&self.url)
    }

    /// What is wrong with the form of the address, if anything; no part of it behind its scheme is
    /// repeated.
    #[must_use]
    pub fn url_problem(&self) -> Option<String> {
        url::problem(&self.url)
    }

    /// The address with its password left out, for logs and messages.
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

// By hand: the derived one would print the password wherever settings are logged.
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
