//! `cargo xtask tidy`: the house rules that no compiler knows, each with its reason.

mod arrows;
mod circles;
mod constants;
mod documents;
pub(crate) mod files;
mod imports;
mod lua;
pub(crate) mod prose;
mod rules;
mod types;

use std::fmt;
use std::process::ExitCode;

use crate::workspace::{Workspace, verdict};

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
    findings.extend(circles::check(&files));
    findings.extend(constants::check(&files));
    findings.extend(types::check(&files));
    findings.extend(documents::check(&files));
    findings.extend(prose::check(&files));
    for finding in &findings {
        println!("{finding}");
    }
    Ok(findings.is_empty())
}
