//! `env` and `inherit_env`: which variables of the worker's environment a program gets.

use super::SettingsError;
use super::entry::Entry;
use super::read::flag;
use super::section::Section;
use crate::auth::matches;

/// Variables that programs get beside those that every one gets.
///
/// None of them is one of Redcall's own (`REDIS_URL`, `REDCALL_…`): those hold the address of Redis
/// with its password, signing secrets, and whatever else is set by the environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProgramEnv {
    /// `env`: by name, or all whose names begin so, with a `*` behind. Default none.
    pub names: Vec<String>,
    /// `inherit_env`: all that the worker has. Default false.
    pub inherit: bool,
}

/// What every program gets, if the worker has it.
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
    /// Whether a program gets the variable `name`.
    #[must_use]
    pub fn admits(&self, name: &str) -> bool {
        let named = ALWAYS.into_iter().chain(self.names.iter().map(String::as_str));
        !is_redcalls(name) && (self.inherit || named.into_iter().any(|rule| matches(rule, name)))
    }

    /// Whether `env` names this variable itself.
    #[must_use]
    pub fn names_itself(&self, name: &str) -> bool {
        self.names.iter().any(|one| one == name)
    }
}

/// Whether a variable is one of Redcall's own, which no program gets from the worker.
fn is_redcalls(name: &str) -> bool {
    name == "REDIS_URL" || name.starts_with("REDCALL_")
}

/// `env` and `inherit_env` of a job or a service. `runs_program`: whether it has a program at all.
pub(super) fn read(section: &mut Section<'_>, runs_program: bool) -> ProgramEnv {
    for key in ["env", "inherit_env"] {
        if !runs_program && section.origin(key).is_some() {
            let problem = format!("has {key} without a command or a process");
            section.wrong(problem, "only programs have it: remove it");
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
    const RULE: &str = "the name of a variable, or how names begin with a `*` behind";
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
    fn program_gets_what_is_named_and_never_a_secret() {
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
