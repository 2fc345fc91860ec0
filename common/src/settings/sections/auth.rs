//! `[auth]`: the keys that sign requests, as structs, and their reader.
//!
//! No message and no `Debug` shows a secret, or a value in the place of one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use config::{Value, ValueKind};

use crate::rules::name::is_id;
use crate::rules::pattern::is_pattern;
use crate::settings::source::entry::Entry;
use crate::settings::source::error::SettingsError;
use crate::settings::source::section::{LoadContext, Section};
use crate::settings::value::forms::flag;

/// `[auth]`: the callers' keys. If it is absent, requests are neither signed nor refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthSettings {
    /// The accepted keys, by name (1 to 64 characters of `[A-Za-z0-9_-]`). Never empty.
    pub keys: BTreeMap<String, AuthKey>,
    /// The key that signs our own requests, one of `keys`. Default none: they are not signed.
    pub sign_with: Option<String>,
    /// `true` if workers refuse unsigned requests. Default true; use false only while callers are
    /// being given their keys.
    pub required: bool,
}

/// `[auth.keys.NAME]`: one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthKey {
    /// The shared secret of caller and worker, 32 bytes to 4 KiB: `secret`, or the content of
    /// `secret_file` without trailing line ends. Never a repeated short text.
    pub secret: Secret,
    /// The jobs that it may call: names, or prefixes of names followed by `*`. Default `*`: all.
    pub jobs: Vec<String>,
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps `text`.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the text. Not for logs and messages.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The minimum length of a secret, bytes: that of the hash.
const MIN_LENGTH: usize = 32;
/// The maximum length of a secret, bytes.
const MAX_LENGTH: usize = 4096;

/// The minimum number of different bytes in a secret. One of ten million texts of 32 random decimal
/// digits has fewer.
const MIN_DIFFERENT: usize = 6;
/// The longest text that stays too weak when it is repeated, bytes.
const MAX_WEAK_UNIT: usize = 15;

const HELP: &str =
    "write a random text of at least 32 bytes, such as `openssl rand -hex 32` prints";

/// Reads the `[auth]` table.
pub(crate) fn read(mut section: Section<'_>) -> AuthSettings {
    let has_keys = section.origin("keys").is_some();
    let mut keys = BTreeMap::new();
    if let Some(mut table) = section.table("keys", "[auth.keys.NAME] and its keys below") {
        let values = table.take_all();
        if values.is_empty() {
            table.wrong("is empty", "add [auth.keys.NAME], or remove [auth]");
        }
        for (name, value) in values {
            if let Some(key) = key(&table, &name, value) {
                keys.insert(name, key);
            }
        }
    }
    let signs = section.origin("sign_with");
    let sign_with = section.read("sign_with", key_name);
    let required = section.read("required", flag);
    if let (Some(origin), Some(name)) = (signs, &sign_with)
        && !keys.contains_key(name)
    {
        let known = keys.keys().cloned().collect::<Vec<_>>().join(", ");
        let help = format!("write the name of one of auth.keys: {known}");
        let path = section.child("sign_with");
        section.context().report(SettingsError::invalid(
            &origin,
            &path,
            "is not the name of a key in auth.keys",
            help,
        ));
    }
    // Without keys no request could be called: the setting is a mistake.
    if !has_keys && !section.has_unread() {
        section.wrong("has no keys", "add [auth.keys.NAME], or remove [auth]");
    }
    section.finish();
    AuthSettings { keys, sign_with, required: required.unwrap_or(true) }
}

/// Reads one key; `None` if its mistakes were reported.
fn key(keys: &Section<'_>, name: &str, value: Value) -> Option<AuthKey> {
    let example = "secret_file = \"key.txt\" or secret = \"…\" below it";
    let mut section = Section::at(keys.context(), keys.child(name), value, example)?;
    if !is_id(name) {
        section.wrong("is not the name of a key", format!("it is {NAME}"));
    }
    let LoadContext { base, .. } = section.context();
    let given = ["secret", "secret_file"].map(|key| section.origin(key).is_some());
    let written = section.read("secret", secret);
    let filed = section.read("secret_file", |entry| from_file(entry, base));
    let jobs = section.read("jobs", patterns);
    match given {
        [true, true] => section.wrong("has secret and secret_file", "keep one of them"),
        [false, false] if !section.has_unread() => {
            section.wrong("has neither secret nor secret_file", format!("add {example}"));
        }
        _ => {}
    }
    section.finish();
    let secret = written.or(filed)?;
    Some(AuthKey { secret, jobs: jobs.unwrap_or_else(|| vec!["*".to_owned()]) })
}

/// The form of the name of a key.
pub(crate) const NAME: &str = "1 to 64 characters of A-Z, a-z, 0-9, `_` and `-`";

fn key_name(entry: &Entry) -> Result<String, SettingsError> {
    entry.name(is_id, NAME)
}

fn secret(entry: &Entry) -> Result<Secret, SettingsError> {
    let ValueKind::String(text) = &entry.value else {
        return Err(entry.wrong("must be text", HELP));
    };
    checked(entry, text)
}

fn checked(entry: &Entry, text: &str) -> Result<Secret, SettingsError> {
    let problem = match text.len() {
        ..MIN_LENGTH => format!("is shorter than {MIN_LENGTH} bytes"),
        MIN_LENGTH..=MAX_LENGTH if varied(text) < MIN_DIFFERENT => {
            format!("has fewer than {MIN_DIFFERENT} different bytes")
        }
        MIN_LENGTH..=MAX_LENGTH if repeats(text.as_bytes()) => "repeats a short text".to_owned(),
        MIN_LENGTH..=MAX_LENGTH => return Ok(Secret::new(text)),
        _ => format!("is longer than {MAX_LENGTH} bytes"),
    };
    Err(entry.wrong(problem, HELP))
}

/// Counts the different bytes of `text`.
fn varied(text: &str) -> usize {
    text.bytes().collect::<BTreeSet<u8>>().len()
}

/// Returns `true` if the secret is one short text repeated, cut anywhere.
fn repeats(secret: &[u8]) -> bool {
    (1..=MAX_WEAK_UNIT)
        .any(|unit| secret.iter().zip(&secret[unit..]).all(|(one, next)| one == next))
}

fn from_file(entry: &Entry, base: &Path) -> Result<Secret, SettingsError> {
    let help = "write the path of a file that holds the secret and nothing else";
    let path = base.join(entry.text(help)?);
    let unreadable = |cause| entry.wrong_because("cannot be read", help, cause);
    // No devices and pipes: those may be endless.
    let about = std::fs::metadata(&path).map_err(unreadable)?;
    if !about.is_file() {
        return Err(entry.wrong("is not a file", help));
    }
    if about.len() > 2 * MAX_LENGTH as u64 {
        return Err(entry.wrong(format!("holds more than {MAX_LENGTH} bytes"), HELP));
    }
    let text = std::fs::read_to_string(&path).map_err(unreadable)?;
    checked(entry, text.trim_end_matches(['\r', '\n']))
}

/// Reads patterns of jobs.
pub(crate) fn patterns(entry: &Entry) -> Result<Vec<String>, SettingsError> {
    let items = entry.list("[\"add\", \"index.*\"]")?;
    let rule = "a job's name, or a prefix of names followed by `*`";
    items.iter().map(|item| item.name(is_pattern, rule)).collect()
}
