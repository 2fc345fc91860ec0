//! `cargo xtask tidy`: the house rules that no compiler knows, each with its reason.

mod arrows;
pub(crate) mod files;
mod lua;
pub(crate) mod prose;
mod rules;

use std::fmt;
use std::process::ExitCode;

use crate::workspace::{Workspace, verdict};

/// Set to `true` when all folders are rewritten; until then `cargo xtask words` counts.
const PROSE_IS_CHECKED: bool = false;

/// One breach of a rule.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    /// Relative to the workspace's root.
    path: String,
    line: usize,
    what: String,
    /// The remedy.
    fix: &'static str,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {} – {}", self.path, self.line, self.what, self.fix)
    }
}

/// Checks and prints the findings, one line each.
pub(crate) fn run(workspace: &Workspace) -> miette::Result<ExitCode> {
    passes(workspace).map(verdict)
}

/// Prints the findings. Returns `true` if there are none.
pub(crate) fn passes(workspace: &Workspace) -> miette::Result<bool> {
    let metadata = workspace.metadata()?;
    let mut findings = arrows::check(&metadata);
    let files = files::read_all(workspace.root())?;
    for file in &files {
        findings.extend(rules::check(file));
        findings.extend(lua::check(file));
    }
    if PROSE_IS_CHECKED {
        findings.extend(prose::check(&files));
    }
    for finding in &findings {
        println!("{finding}");
    }
    Ok(findings.is_empty())
}
