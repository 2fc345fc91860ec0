//! Single values from the environment: `REDCALL__SECTION__KEY` and `REDIS_URL`.
//!
//! They are written into the file's tree with the variable as their origin, so that a mistake names
//! it. This module does not know which keys exist.

use std::collections::BTreeMap;
use std::ffi::OsString;

use config::{Map, Value, ValueKind};

use super::error::SettingsError;
use super::file;
use super::section::LoadContext;

const PREFIX: &str = "REDCALL__";
const REDIS_URL: &str = "REDIS_URL";

/// Returns our variables among those of the process.
///
/// # Errors
///
/// If one of them is not Unicode. Other variables are ignored.
pub(crate) fn ours(
    all: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<BTreeMap<String, String>, SettingsError> {
    let named = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value));
    let ours = |name: &str| name.starts_with(PREFIX) || name == REDIS_URL || name == file::VARIABLE;
    all.into_iter()
        .filter_map(named)
        .filter(|(name, _)| ours(name))
        .map(|(name, value)| match value.into_string() {
            Ok(value) => Ok((name, value)),
            Err(_) => {
                let help = "give it a value in UTF-8, or unset it";
                Err(SettingsError::invalid(&name, "", "is not valid Unicode", help))
            }
        })
        .collect()
}

/// Overrides the values of `tree` with those of `env`, `REDIS_URL` first, because the longer name
/// of the same value is more specific.
pub(crate) fn apply(
    tree: &mut Map<String, Value>,
    env: &BTreeMap<String, String>,
    context: &LoadContext,
) {
    if let Some(url) = env.get(REDIS_URL) {
        put(tree, &["redis", "url"], &REDIS_URL.to_owned(), url);
    }
    for (variable, value) in env {
        let Some(rest) = variable.strip_prefix(PREFIX) else {
            continue;
        };
        match path(tree, rest) {
            Ok(path) => {
                let path: Vec<&str> = path.iter().map(String::as_str).collect();
                put(tree, &path, variable, value);
            }
            Err((problem, help)) => {
                context.report(SettingsError::invalid(variable, "", problem, help));
            }
        }
    }
}

/// Sections of tables that have user-defined names.
const NAMED: [&str; 6] = ["jobs", "pools", "services", "schedules", "queues", "gateways"];

/// Tables within those tables.
const INNER: [&str; 3] = ["retries", "limit", "tls"];

/// Returns the path of a variable's value, from the rest of its name: section and key, or section,
/// name and key, with an inner table before the key if there is one.
fn path(tree: &Map<String, Value>, rest: &str) -> Result<Vec<String>, (String, String)> {
    let parts: Vec<&str> = rest.split("__").collect();
    let lower = |part: &&str| part.to_lowercase();
    let names_nothing = || {
        let help = "write REDCALL__SECTION__KEY; for jobs, pools, services, schedules, queues and \
                    gateways REDCALL__SECTION__NAME__KEY";
        ("is not the name of a single value".to_owned(), help.to_owned())
    };
    if parts.iter().any(|part| part.is_empty()) {
        return Err(names_nothing());
    }
    let (section, rest) = match parts.as_slice() {
        [section, keys, rest @ ..] if lower(section) == "auth" && lower(keys) == "keys" => {
            return match rest {
                [name @ .., key] if !name.is_empty() => {
                    let name = meant(tree, "auth", &name.join("__"))?;
                    Ok(vec!["auth".to_owned(), "keys".to_owned(), name, lower(key)])
                }
                _ => Err(names_nothing()),
            };
        }
        [section, rest @ ..] if NAMED.contains(&lower(section).as_str()) => (lower(section), rest),
        [section, key] => return Ok(vec![lower(section), lower(key)]),
        _ => return Err(names_nothing()),
    };
    // A name may contain two underscores, or even end like an inner table: then it is known.
    let outer = match rest {
        [name @ .., inner, key] if !name.is_empty() && INNER.contains(&lower(inner).as_str()) => {
            let whole = [name, &[*inner]].concat().join("__");
            let is_name = !known(tree, &section, &whole).is_empty();
            (!is_name).then(|| (name, vec![lower(inner), lower(key)]))
        }
        _ => None,
    };
    let (name, keys) = match (outer, rest) {
        (Some(split), _) => split,
        (None, [name @ .., key]) if !name.is_empty() => (name, vec![lower(key)]),
        (None, _) => return Err(names_nothing()),
    };
    let name = meant(tree, &section, &name.join("__"))?;
    Ok([vec![section, name], keys].concat())
}

/// Returns the name in that section of the tree that equals `wanted` in any case; otherwise
/// `wanted` in lower case, which is a new name if its other keys are given.
fn meant(
    tree: &Map<String, Value>,
    section: &str,
    wanted: &str,
) -> Result<String, (String, String)> {
    match known(tree, section, wanted).as_slice() {
        [] => Ok(wanted.to_lowercase()),
        [name] => Ok((*name).to_owned()),
        several => {
            let problem = format!("could mean any of the {section} {}", several.join(", "));
            Err((problem, "set the value in the settings file".to_owned()))
        }
    }
}

/// Returns the names in that section of the tree that equal `wanted` in any case, in order.
fn known<'t>(tree: &'t Map<String, Value>, section: &str, wanted: &str) -> Vec<&'t str> {
    let wanted = wanted.to_lowercase();
    let table = match tree.get(section).map(|section| &section.kind) {
        // The names of keys are one table deeper.
        Some(ValueKind::Table(auth)) if section == "auth" => auth.get("keys"),
        _ => tree.get(section),
    };
    let mut known = match table.map(|table| &table.kind) {
        Some(ValueKind::Table(named)) => named.keys().map(String::as_str).collect(),
        _ => Vec::new(),
    };
    known.retain(|name| name.to_lowercase() == wanted);
    known.sort_unstable();
    known
}

/// Sets the value at `path`, and creates tables on the way. If the file has another value than a
/// table there, it stays: that mistake is reported.
fn put(table: &mut Map<String, Value>, path: &[&str], variable: &String, value: &str) {
    match path {
        [] => {}
        [key] => {
            table.insert((*key).to_owned(), Value::new(Some(variable), value));
        }
        [key, rest @ ..] => {
            let new = || Value::new(Some(variable), Map::<String, Value>::new());
            let inner = table.entry((*key).to_owned()).or_insert_with(new);
            if inner.kind == ValueKind::Nil {
                *inner = new();
            }
            if let ValueKind::Table(inner) = &mut inner.kind {
                put(inner, rest, variable, value);
            }
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    #[test]
    fn only_our_own_variables_have_to_be_unicode() {
        let garbage = || OsString::from_vec(vec![0xff]);
        let var = |name: &str, value: OsString| (OsString::from(name), value);
        let env = ours([
            var("PATH", garbage()),
            (garbage(), garbage()),
            var("REDIS_URL", "redis://h".into()),
            var("REDCALL__LOG__LEVEL", "warn".into()),
            var("REDCALL_SETTINGS", "x.toml".into()),
        ]);
        let names: Vec<String> = env.unwrap().into_keys().collect();
        assert_eq!(names, ["REDCALL_SETTINGS", "REDCALL__LOG__LEVEL", "REDIS_URL"]);

        let bad = ours([var("REDCALL__LOG__LEVEL", garbage())]).unwrap_err();
        assert_eq!(bad.to_string(), "REDCALL__LOG__LEVEL: is not valid Unicode");
    }
}
