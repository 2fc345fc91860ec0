//! A settings file and environment variables. The first character determines the rest: `t`, `y`,
//! `j` a file of that format (TOML, YAML, JSON), up to the first form feed; after each form feed a
//! variable, `NAME=VALUE`. In capitals: a letter for the key, then the text after a password there.
//!
//! - Every mistake is one line, with a remedy.
//!
//! - Settings that load and are printed load as the same, as JSON, as YAML, and from the
//!   environment.
//! - No error contains a password, whatever the position of the address and the text after it.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

use redcall_common::settings::{Settings, SettingsError};
use serde_json::Value;

use crate::printed::printed;

/// Part of no setting, and of no word of a message.
const PASSWORD: &str = "pa55w0rd";

/// Where an address can be put, rightly or by mistake: `a` is the first.
const KEYS: &[&[&str]] = &[
    &["redis", "url"],
    &["redis", "prefix"],
    &["redis", "connect_timeout"],
    &["redis"],
    &["client", "timeout"],
    &["worker", "name"],
    &["worker", "queues"],
    &["worker", "concurrency"],
    &["jobs", "a", "handler"],
    &["jobs", "a", "retries", "on"],
    &["jobs", "a", "limit", "rate"],
    &["jobs", "a", "on_worker_loss"],
    &["schedules", "a", "cron"],
    &["schedules", "a", "timezone"],
    &["schedules", "a", "job"],
    &["auth", "sign_with"],
    &["auth", "keys"],
    &["auth", "keys", "a"],
    &["auth", "keys", "a", "secret"],
    &["auth", "keys", "a", "secret_file"],
    &["auth", "keys", "a", "jobs"],
    &["gateways", "a", "url"],
    &["gateways", "a", "token"],
    &["gateways", "a", "connect"],
    &["gateways", "a"],
    &["limits", "request"],
    &["admin", "listen"],
    &["log", "level"],
    &["log", "format"],
    &["nowhere", "url"],
];

/// Variables by name.
type Variables = BTreeMap<String, String>;

/// Loads what `input` describes.
///
/// # Panics
///
/// If one of the module's assertions fails.
pub fn check(input: &[u8]) {
    let Ok(input) = std::str::from_utf8(input) else { return };
    let Some(first) = input.chars().next() else { return };
    let rest = &input[first.len_utf8()..];
    let format = match first.to_ascii_lowercase() {
        't' => "toml",
        'y' => "yaml",
        'j' => "json",
        _ => return,
    };
    if first.is_ascii_uppercase() {
        with_password(format, rest);
    } else {
        let mut parts = rest.split('\u{c}');
        let text = parts.next().unwrap_or_default();
        let variables = parts.filter_map(|part| part.split_once('='));
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        match load(format, text, &variables.collect()) {
            Ok(settings) => loads_again(&settings),
            Err(error) => mistakes(&error),
        }
    }
}

fn load(format: &str, text: &str, variables: &Variables) -> Result<Settings, SettingsError> {
    Settings::load_text(Path::new(&format!("/redcall.{format}")), text, variables)
}

fn mistakes(error: &SettingsError) {
    let all = error.mistakes();
    assert!(!all.is_empty());
    for mistake in all {
        let (message, help) = (mistake.to_string(), mistake.help());
        assert!(!message.is_empty() && !message.contains('\n'), "{message:?} is not one line");
        assert!(!help.is_empty() && !help.contains('\n'), "{help:?} is not one line");
    }
}

fn loads_again(settings: &Settings) {
    let settings = Settings { file: None, ..settings.clone() };
    let tree = printed(&settings);
    let text = tree.to_string();
    for format in ["json", "yaml"] {
        let again = load(format, &text, &Variables::new());
        let again = again.unwrap_or_else(|error| panic!("{format} {text}: {error}"));
        let again = Settings { file: None, ..again };
        assert_eq!(same(again), same(settings.clone()), "as {format}: {text}");
    }
    // Jobs, schedules and queues have names, which a variable cannot always spell.
    let (variables, named) = in_environment(tree);
    let again = load("json", &named, &variables);
    let again = again.unwrap_or_else(|error| panic!("{variables:?}: {error}"));
    assert_eq!(same(Settings { file: None, ..again }), same(settings), "{variables:?}");
}

/// The compared form: the printed text always names the address.
fn same(mut settings: Settings) -> (Settings, String) {
    settings.redis.url_named = true;
    // Not shown where settings are compared and differ.
    let url = settings.redis.url.clone();
    (settings, url)
}

/// Sections of plain keys as variables, and the others as they were.
fn in_environment(tree: Value) -> (Variables, String) {
    let (mut variables, mut named) = (Variables::new(), serde_json::Map::new());
    let Value::Object(sections) = tree else { return (variables, "{}".to_owned()) };
    for (section, keys) in sections {
        if ["jobs", "schedules", "queues", "auth", "gateways"].contains(&&*section) {
            named.insert(section, keys);
            continue;
        }
        for (key, value) in keys.as_object().into_iter().flatten() {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            variables.insert(format!("REDCALL__{section}__{key}").to_uppercase(), text);
        }
    }
    (variables, Value::Object(named).to_string())
}

/// Puts an address with a password and the fuzzer's text at a key, in three forms: unchanged, which
/// may end the text and begin another key; quoted for the format; and in a variable.
fn with_password(format: &str, rest: &str) {
    let Some(letter) = rest.chars().next() else { return };
    let place = (u32::from(letter) - u32::from('a').min(u32::from(letter))) as usize;
    let keys = KEYS[place % KEYS.len()];
    let rest = &rest[letter.len_utf8()..];
    let address = format!("redis://:{PASSWORD}{rest}");
    // The rest is a part of the password here, with any separator that a parser may split at.
    let suffixed = format!("redis://:{rest}{PASSWORD}@h");
    let quoted = [&address, &suffixed].map(|address| Value::from(&**address).to_string());
    let raw = [format!("\"{address}"), format!("\"{address}\"")];
    for value in raw.into_iter().chain(quoted) {
        let text = match format {
            "toml" => format!("{} = {value}", keys.join(".")),
            "yaml" => {
                let nested = keys.iter().enumerate();
                let nested = nested.map(|(depth, key)| format!("{}{key}:", " ".repeat(depth)));
                format!("{} {value}", nested.collect::<Vec<_>>().join("\n"))
            }
            _ => {
                let nested: String = keys.iter().map(|key| format!("{{\"{key}\":")).collect();
                format!("{nested}{value}{}", "}".repeat(keys.len()))
            }
        };
        shows_no_secret(load(format, &text, &Variables::new()), keys, &text);
    }
    let name = format!("REDCALL__{}", keys.join("__").to_uppercase());
    for (name, address) in [(&*name, &address), (&*name, &suffixed), ("REDIS_URL", &suffixed)] {
        let variables = [(name.to_owned(), address.clone())].into();
        shows_no_secret(load("toml", "", &variables), keys, address);
    }
}

fn shows_no_secret(loaded: Result<Settings, SettingsError>, keys: &[&str], from: &str) {
    let message = match loaded {
        // The log's form of settings. The arguments of a job are the user's own.
        Ok(settings) => {
            let keys = settings.auth.iter().flat_map(|auth| auth.keys.values());
            // The list of jobs that a key may call is not a secret.
            let secrets = keys.map(|key| format!("{:?}", key.secret)).collect::<String>();
            format!("{:?}{}{secrets}", settings.redis, settings.redis.redacted_url())
        }
        Err(error) => {
            mistakes(&error);
            let mut message = format!("{error}{error:?}{}", error.help());
            for mistake in error.mistakes() {
                let mut cause = mistake.source();
                while let Some(why) = cause {
                    message += &why.to_string();
                    cause = why.source();
                }
            }
            message
        }
    };
    assert!(!message.contains(PASSWORD), "{} of {from:?} is shown: {message}", keys.join("."));
}
