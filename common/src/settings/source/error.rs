//! The mistakes in the settings, each with its fix.
//!
//! Display is one line per mistake (`FILE: KEY: problem`), [`SettingsError::help`] the fix. Created
//! by the other modules of the settings, printed by the binaries.

use std::error::Error;
use std::io;
use std::path::PathBuf;

/// One or several mistakes in the settings. Never contains a password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// The file cannot be read: it is missing, a directory, forbidden, not UTF-8.
    #[error("{}: {}", one_line(&file.display().to_string()), one_line(problem))]
    Unreadable {
        /// The file, absolute.
        file: PathBuf,
        /// The reason.
        problem: String,
        /// The fix.
        help: String,
        /// The cause.
        source: io::Error,
    },
    /// The file's format is unknown, or its text is malformed.
    ///
    /// Without a source on purpose: the parsers' errors quote the faulty line, which may have the
    /// password.
    #[error("{}: {}", one_line(&file.display().to_string()), one_line(problem))]
    Syntax {
        /// The file, absolute.
        file: PathBuf,
        /// The problem, with its line if the parser reports one.
        problem: String,
        /// The fix.
        help: String,
    },
    /// An unknown key or an invalid value.
    #[error("{}: {}", place(origin, key), one_line(problem))]
    Invalid {
        /// The origin: the file, absolute, or the name of the environment variable.
        origin: String,
        /// The path of the key, such as `jobs.word_count.timeout`. Empty if it concerns no single
        /// key.
        key: String,
        /// The problem.
        problem: String,
        /// The fix: the allowed values or keys, and the nearest known one.
        help: String,
        /// The cause, if another crate reported it.
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// More than one mistake; none of them is itself `Several`.
    #[error("{}", lines(.0.iter().map(ToString::to_string)))]
    Several(Vec<SettingsError>),
}

impl SettingsError {
    /// Returns the fixes. One line per mistake, in the order of Display.
    #[must_use]
    pub fn help(&self) -> String {
        match self {
            Self::Unreadable { help, .. }
            | Self::Syntax { help, .. }
            | Self::Invalid { help, .. } => one_line(help),
            Self::Several(all) => lines(all.iter().map(Self::help)),
        }
    }

    /// Returns the single mistakes, for printing each with its fix. Never empty.
    #[must_use]
    pub fn mistakes(&self) -> &[SettingsError] {
        match self {
            Self::Several(all) => all,
            one => std::slice::from_ref(one),
        }
    }

    /// Returns `Ok`, the one mistake, or all of them.
    pub(crate) fn of(mut mistakes: Vec<Self>) -> Result<(), Self> {
        match (mistakes.pop(), mistakes.is_empty()) {
            (None, _) => Ok(()),
            (Some(only), true) => Err(only),
            (Some(last), false) => {
                mistakes.push(last);
                Err(Self::Several(mistakes))
            }
        }
    }

    /// Creates a mistake without a cause.
    pub(crate) fn invalid(
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

/// Names of files, variables and jobs may contain a line feed, and a mistake is one line.
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
    fn mistake_with_line_feed_in_name_is_one_line() {
        let (problem, help) = ("could be \n or \u{8}", "jobs: a\n[b]");
        let mistake = SettingsError::invalid("REDCALL__A\nB__\u{17}C\\", "a.c", problem, help);
        let expected = "REDCALL__A\\nB__\\u{17}C\\: a.c: could be \\n or \\u{8}";
        assert_eq!(mistake.to_string(), expected);
        assert_eq!(mistake.help(), "jobs: a\\n[b]");
    }
}
