//! The findings of a check: severity, meaning, fix.
//!
//! `redcall doctor` prints them; a worker logs some of them when it starts.

use std::fmt;

use serde::Serialize;

/// The severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// No action is needed.
    Ok,
    /// Useful information; no action is needed.
    Note,
    /// It works now, and may fail later.
    Warning,
    /// Something does not work, or jobs will be lost.
    Problem,
}

impl Level {
    /// Returns `true` if an operator should act.
    #[must_use]
    pub fn is_bad(self) -> bool {
        match self {
            Self::Ok | Self::Note => false,
            Self::Warning | Self::Problem => true,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Problem => "problem",
        })
    }
}

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The check's name, for programs.
    pub check: &'static str,
    /// Its severity.
    pub level: Level,
    /// The finding.
    pub what: String,
    /// Its consequence; `None` if there is none.
    pub means: Option<String>,
    /// Its fix; `None` if no action is needed.
    #[serde(rename = "do")]
    pub cure: Option<String>,
}

impl Finding {
    /// Creates a finding without a problem.
    #[must_use]
    pub fn ok(check: &'static str, what: impl Into<String>) -> Self {
        Self { check, level: Level::Ok, what: what.into(), means: None, cure: None }
    }

    /// Creates a finding of any level.
    #[must_use]
    pub fn new(
        check: &'static str,
        level: Level,
        what: impl Into<String>,
        means: impl Into<String>,
        cure: impl Into<String>,
    ) -> Self {
        let (means, cure) = (Some(means.into()), Some(cure.into()));
        Self { check, level, what: what.into(), means, cure }
    }

    /// Creates a note with its consequence.
    #[must_use]
    pub fn note(check: &'static str, what: impl Into<String>, means: impl Into<String>) -> Self {
        let means = Some(means.into());
        Self { check, level: Level::Note, what: what.into(), means, cure: None }
    }
}
