//! Single values from the environment: `REDCALL__SECTION__KEY` and `REDIS_URL`.
//!
//! They are put into the file's tree with the variable as their origin, so that a mistake names
//! it. What keys exist is not known here.

use std::collections::BTreeMap;
use std::ffi::OsString;

use config::{Map, Value, ValueKind};

use super::section::Context;
use super::{SettingsError, file};

const PREFIX: &str = "REDCALL__";
const REDIS_URL: &str = "REDIS_URL";

/// The variables of ours among those of the process.
///
/// # Errors
///
/// If one of them is not Unicode. Others may be what they like.
pub(super) fn ours(
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

/// Puts the values of `env` over those of `tree`, `REDIS_URL` first, because the longer name of
/// the same value is the more particular one.
pub(super) fn apply(
    tree: &mut Map<String, Value>,
    env: &BTreeMap<String, String>,
    context: &Context,
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

/// Path of the value that the rest of a variable's name means: section and key, or `jobs`, job
/// name and key.
fn path(tree: &Map<String, Value>, rest: &str) -> Result<Vec<String>, (String, String)> {
    let parts: Vec<&str> = rest.split("__").collect();
    let lower = |part: &&str| part.to_lowercase();
    let names_nothing = || {
        let help = "write REDCALL__SECTION__KEY or REDCALL__JOBS__NAME__KEY";
        ("does not name a single value".to_owned(), help.to_owned())
    };
    if parts.iter().any(|part| part.is_empty()) {
        return Err(names_nothing());
    }
    match parts.as_slice() {
        // A job's name may itself hold two underscores.
        [jobs, name @ .., key] if lower(jobs) == "jobs" && !name.is_empty() => {
            Ok(vec!["jobs".to_owned(), job_name(tree, &name.join("__"))?, lower(key)])
        }
        [jobs, _] if lower(jobs) == "jobs" => Err(names_nothing()),
        [section, key] => Ok(vec![lower(section), lower(key)]),
        _ => Err(names_nothing()),
    }
}

/// The job of the tree that `wanted` means, whatever its case; else `wanted` in lower case, which
/// is a new job if its other keys say so.
fn job_name(tree: &Map<String, Value>, wanted: &str) -> Result<String, (String, String)> {
    let wanted = wanted.to_lowercase();
    let jobs = tree.get("jobs").map(|jobs| &jobs.kind);
    let Some(ValueKind::Table(jobs)) = jobs else {
        return Ok(wanted);
    };
    let mut matching: Vec<&str> =
        jobs.keys().map(String::as_str).filter(|name| name.to_lowercase() == wanted).collect();
    matching.sort_unstable();
    match matching.as_slice() {
        [] => Ok(wanted),
        [name] => Ok((*name).to_owned()),
        several => {
            let problem = format!("could mean any of the jobs {}", several.join(", "));
            Err((problem, "set the value in the settings file".to_owned()))
        }
    }
}

/// Sets the value at `path`, making tables on the way. Where the file has something else than a
/// table, it stays: that mistake is the one to report.
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
