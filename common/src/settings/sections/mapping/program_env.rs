//! `env` and `inherit_env`: the environment variables that a program inherits from the worker.

use serde_json::{Map, Value, json};

use crate::rules::pattern::matches;
use crate::settings::source::entry::Entry;
use crate::settings::source::error::SettingsError;
use crate::settings::source::section::Section;
use crate::settings::value::forms::flag;

/// The variables that a program inherits besides the common ones.
///
/// Redcall's own variables (`REDIS_URL`, `REDCALL_…`) are never inherited: they contain the address
/// of Redis with its password, signing secrets, and other settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProgramEnv {
    /// `env`: Further variables for its programs: names, or prefixes of names followed by `*`.
    /// Default none.
    pub names: Vec<String>,
    /// `inherit_env`: `true` passes all of the worker's variables, except those of Redcall.
    /// Default false.
    pub inherit: bool,
}

/// The variables that every program inherits.
const ALWAYS: [&str; 11] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LANGUAGE",
    "LC_*",
    "TZ",
    "TMPDIR",
    "LD_LIBRARY_PATH",
];

impl ProgramEnv {
    /// Returns `true` if a program inherits the variable `name`.
    #[must_use]
    pub fn admits(&self, name: &str) -> bool {
        let named = ALWAYS.into_iter().chain(self.names.iter().map(String::as_str));
        !is_redcalls(name) && (self.inherit || named.into_iter().any(|rule| matches(rule, name)))
    }

    /// Returns its keys, as they are read, for fuzzing; none that has its default.
    #[doc(hidden)]
    #[must_use]
    pub fn keys(&self) -> Map<String, Value> {
        let Self { names, inherit } = self;
        let mut keys = Map::new();
        if !names.is_empty() {
            keys.insert("env".to_owned(), json!(names));
        }
        if *inherit {
            keys.insert("inherit_env".to_owned(), json!(inherit));
        }
        keys
    }

    /// Returns `true` if `env` has exactly this name.
    #[must_use]
    pub fn names_itself(&self, name: &str) -> bool {
        self.names.iter().any(|one| one == name)
    }
}

/// Returns `true` for Redcall's own variables, which no program inherits.
fn is_redcalls(name: &str) -> bool {
    name == "REDIS_URL" || name.starts_with("REDCALL_")
}

/// Reads `env` and `inherit_env` of a job or a service. `runs_program`: it has a program.
pub(crate) fn read(section: &mut Section<'_>, runs_program: bool) -> ProgramEnv {
    for key in ["env", "inherit_env"] {
        if !runs_program && section.origin(key).is_some() {
            let problem = format!("has {key} without a command or a process");
            section.wrong(problem, "remove it: only programs inherit variables");
        }
    }
    ProgramEnv {
        names: section.read("env", names).unwrap_or_default(),
        inherit: section.read("inherit_env", flag).unwrap_or_default(),
    }
}

fn names(entry: &Entry) -> Result<Vec<String>, SettingsError> {
    let items = entry.list("[\"DATABASE_URL\", \"AWS_*\"]")?;
    items.iter().map(name).collect()
}

fn name(item: &Entry) -> Result<String, SettingsError> {
    const RULE: &str = "the name of a variable, or a prefix of names followed by `*`";
    let is_name = |text: &str| {
        let start = text.strip_suffix('*').unwrap_or(text);
        !start.is_empty() && !start.contains(['=', '\0', '*'])
    };
    let name = item.name(is_name, RULE)?;
    let start = name.strip_suffix('*').unwrap_or(&name);
    let of_ours = is_redcalls(start)
        || (name.ends_with('*')
            && ["REDIS_URL", "REDCALL_"].iter().any(|own| own.starts_with(start)));
    if of_ours {
        let help = "remove it: programs get neither REDIS_URL nor REDCALL_ variables, which hold \
                    secrets; one that calls jobs itself has a settings file of its own";
        return Err(item.wrong("names variables of Redcall's own", help));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_inherits_named_variables_and_never_a_secret() {
        let env = |names: &[&str], inherit| ProgramEnv {
            names: names.iter().map(ToString::to_string).collect(),
            inherit,
        };
        let (none, some, all) = (env(&[], false), env(&["MINE", "AWS_*"], false), env(&[], true));
        for name in ["PATH", "HOME", "LC_ALL", "TZ"] {
            assert!([&none, &some, &all].iter().all(|env| env.admits(name)), "{name}");
        }
        assert!(some.admits("MINE") && some.admits("AWS_REGION") && !some.admits("MINES"));
        assert!(!none.admits("MINE") && all.admits("MINE"));
        for name in ["REDIS_URL", "REDCALL__AUTH__KEYS__A__SECRET", "REDCALL_TOKEN"] {
            let env = env(&[name, "R*"], true);
            assert!(!env.admits(name), "{name}");
        }
    }
}
