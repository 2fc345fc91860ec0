//! Several checks, one verdict.

use std::process::ExitCode;

use crate::workspace::verdict;

/// Runs checks one after the other. A failed one does not stop the rest, so that one run lists all
/// failures.
#[derive(Default)]
pub(crate) struct Steps {
    failed: Vec<&'static str>,
}

impl Steps {
    /// Runs one check; its output follows its name.
    pub(crate) fn step(
        &mut self,
        name: &'static str,
        check: impl FnOnce() -> miette::Result<bool>,
    ) {
        eprintln!("── {name}");
        let passed = check().unwrap_or_else(|error| {
            eprintln!("{error:?}");
            false
        });
        if !passed {
            self.failed.push(name);
        }
    }

    /// Prints the failed checks.
    pub(crate) fn finish(self) -> ExitCode {
        match self.failed.as_slice() {
            [] => eprintln!("── all passed"),
            failed => eprintln!("── failed: {}", failed.join(", ")),
        }
        verdict(self.failed.is_empty())
    }
}
