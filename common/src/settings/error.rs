//! What can be wrong with the settings, told so that it can be put right.
//!
//! Display is one line per mistake (`FILE: KEY: problem`), [`SettingsError::help`] the remedy.
//! Made by the modules beside this one, printed by the binaries.

use std::error::Error;
use std::io;
use std::path::PathBuf;

/// One mistake in the settings, or several. Never holds a password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// The file cannot be read: it is missing, a directory, forbidden, not UTF-8.
    #[error("{}: {}", one_line(&file.display().to_string()), one_line(problem))]
    Unreadable {
        /// The file as it was looked for, absolute.
        file: PathBuf,
        /// What stands in the way.
        problem: String,
        /// What to do.
        help: String,
        /// The cause.
        source: io::Error,
    },
    /// The file is of no known kind, or its text is not well formed.
    ///
    /// Without a source on purpose: the parsers' errors quote the faulty line, which may be the
    /// one with the password.
    #[error("{}: {}", one_line(&file.display().to_string()), one_line(problem))]
    Syntax {
        /// The file, absolute.
        file: PathBuf,
        /// What is malformed, with its line where the parser tells one.
        problem: String,
        /// What to do.
        help: String,
    },
    /// A key that is not known, or a value that cannot be.
    #[error("{}: {}", place(origin, key), one_line(problem))]
    Invalid {
        /// Who said so: the file, absolute, or the name of the environment variable.
        origin: String,
        /// Path of the key, such as `jobs.word_count.timeout`. Empty if it concerns none.
        key: String,
        /// What is wrong with it.
        problem: String,
        /// What to do: the allowed values or keys, and the nearest known one.
        help: String,
        /// The cause, where another crate found the fault.
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// More than one mistake; none of them is itself `Several`.
    #[error("{}", lines(.0.iter().map(ToString::to_string)))]
    Several(Vec<SettingsError>),
}

impl SettingsError {
    /// What to do about it. One line per mistake, in the order of Display.
    #[must_use]
    pub fn help(&self) -> String {
        match self {
            Self::Unreadable { help, .. }
            | Self::Syntax { help, .. }
            | Self::Invalid { help, .. } => one_line(help),
            Self::Several(all) => lines(all.iter().map(Self::help)),
        }
    }

    /// The single mistakes, for printing each with its help. Never empty.
    #[must_use]
    pub fn mistakes(&self) -> &[SettingsError] {
        match self {
            Self::Several(all) => all,
            one => std::slice::from_ref(one),
        }
    }

    /// Nothing, the one mistake, or all of them.
    pub(super) fn of(mut mistakes: Vec<Self>) -> Result<(), Self> {
        match (mistakes.pop(), mistakes.is_empty()) {
            (None, _) => Ok(()),
            (Some(only), true) => Err(only),
            (Some(last), false) => {
                mistakes.push(last);
                Err(Self::Several(mistakes))
            }
        }
    }

    /// A mistake that no other crate's error stands behind.
    pub(super) fn invalid(
        origin: &str,
        key: &str,
        problem: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self::Invalid {
            origin: origin.to_owned(),
            key: key.to_owned(),
            problem: problem.into(),
            help: help.into(),
            source: None,
        }
    }
}

fn place(origin: &str, key: &str) -> String {
    let origin = one_line(origin);
    if key.is_empty() { origin } else { format!("{origin}: {key}") }
}

/// Names of files, variables and jobs may hold a line feed, and a mistake is one line.
fn one_line(text: &str) -> String {
    let escaped = |c: char| if c.is_control() { c.escape_debug().to_string() } else { c.into() };
    text.chars().map(escaped).collect()
}

fn lines(all: impl Iterator<Item = String>) -> String {
    all.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_one_line_whatever_variables_and_jobs_are_called() {
        let (problem, help) = ("could be \n or \u{8}", "jobs: a\n[b]");
        let mistake = SettingsError::invalid("REDCALL__A\nB__\u{17}C\\", "a.c", problem, help);
        let told = "REDCALL__A\\nB__\\u{17}C\\: a.c: could be \\n or \\u{8}";
        assert_eq!(mistake.to_string(), told);
        assert_eq!(mistake.help(), "jobs: a\\n[b]");
    }
}
