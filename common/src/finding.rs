//! What an examination finds: how bad it is, what it means, what to do.
//!
//! `redcall doctor` prints them; a worker logs some of them when it starts.

use std::fmt;

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Worth knowing; nothing need be done.
    Note,
    /// It works, and may not for ever.
    Warning,
    /// Something does not work, or work will be lost.
    Problem,
}

impl Level {
    /// Whether somebody should do something about it.
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

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which check it is of; programs go by it.
    pub check: &'static str,
    /// How bad it is.
    pub level: Level,
    /// What was found.
    pub what: String,
    /// What that leads to; none if all is well.
    pub means: Option<String>,
    /// What helps; none if nothing has to be done.
    #[serde(rename = "do")]
    pub cure: Option<String>,
}

impl Finding {
    /// All is well.
    #[must_use]
    pub fn ok(check: &'static str, what: impl Into<String>) -> Self {
        Self { check, level: Level::Ok, what: what.into(), means: None, cure: None }
    }

    /// Something else.
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

    /// Worth knowing, and what it leads to.
    #[must_use]
    pub fn note(check: &'static str, what: impl Into<String>, means: impl Into<String>) -> Self {
        let means = Some(means.into());
        Self { check, level: Level::Note, what: what.into(), means, cure: None }
    }
}
