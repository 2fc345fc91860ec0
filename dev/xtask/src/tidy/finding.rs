//! [`Finding`]: the report of a rule.

use std::fmt;

/// One breach of a rule.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// Relative to the workspace's root.
    pub(super) path: String,
    pub(super) line: usize,
    pub(super) what: String,
    /// The remedy.
    pub(super) fix: &'static str,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {} – {}", self.path, self.line, self.what, self.fix)
    }
}
