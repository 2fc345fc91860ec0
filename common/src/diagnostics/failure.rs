//! The failure of a program: its message and its exit code. Used by the binaries.

use std::io;
use std::process::ExitCode;

use crate::diagnostics::output::{self as out, Unwritten};
use crate::diagnostics::report::Problem;
use crate::settings::SettingsError;

/// Why a program failed, and its exit code.
#[derive(Debug)]
pub struct Failure {
    /// Empty if there is no message.
    pub problems: Vec<Problem>,
    /// The exit code.
    pub code: u8,
    /// The error as `--json` prints it.
    pub json: serde_json::Value,
}

/// The exit code of a verb that cannot reach Redis.
pub const UNREACHABLE: u8 = 3;

/// Returns an error as `--json` prints it.
#[must_use]
pub fn json(code: &str, message: &str) -> serde_json::Value {
    serde_json::json!({ "error": { "code": code, "message": message } })
}

impl Failure {
    /// Creates a failure with the error `code` of the JSON output.
    #[must_use]
    pub fn of(problem: Problem, code: &str, exit_code: u8) -> Self {
        let json = json(code, &problem.to_string());
        Self { problems: vec![problem], code: exit_code, json }
    }

    /// Creates the failure of an error of the operating system.
    #[must_use]
    pub fn system(error: &(dyn std::error::Error + 'static)) -> Self {
        Self::of(Problem::of(error), "internal", 1)
    }

    /// Returns `true` if standard output cannot be written, so that no output can follow.
    #[must_use]
    pub fn is_unwritten(&self) -> bool {
        [out::UNWRITTEN, out::CLOSED].contains(&self.code)
    }

    /// Prints the problems as text.
    pub fn explain(self) {
        for problem in self.problems {
            out::report(problem);
        }
    }

    /// Prints the failure and returns its exit code.
    #[must_use]
    pub fn end(self, as_json: bool) -> ExitCode {
        let code = ExitCode::from(self.code);
        match as_json && !self.problems.is_empty() {
            true => out::hint(&self.json),
            false => self.explain(),
        }
        code
    }
}

impl From<Unwritten> for Failure {
    /// A closed pipe prints no error: its reader ended on purpose.
    fn from(error: Unwritten) -> Self {
        let code = error.exit_code();
        let problem = Problem::unwritten(&error);
        let mut json = json("output_failed", &with_cause(&error));
        if let Some(done) = error.done() {
            json["error"]["done"] = done.into();
        }
        let problems = if error.is_closed() { Vec::new() } else { vec![problem] };
        Self { problems, code, json }
    }
}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        let json = json("invalid_settings", &error.to_string());
        Self { problems: Problem::settings(&error), code: 2, json }
    }
}

/// Returns the exit code after a help text, a version or an error about flags. `printed` is the
/// result of writing it, to standard error if `is_error`; `code` is the exit code of the flags.
#[must_use]
pub fn help(printed: io::Result<()>, is_error: bool, code: i32) -> ExitCode {
    let printed = printed.map_err(Unwritten::from).and_then(|()| out::print(""));
    match printed {
        Err(unwritten) if !is_error => Failure::from(unwritten).end(false),
        _ => ExitCode::from(u8::try_from(code).unwrap_or(2)),
    }
}

fn with_cause(error: &Unwritten) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    format!("{error}{}", cause.unwrap_or_default())
}
