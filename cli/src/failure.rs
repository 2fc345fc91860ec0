//! The failure of a verb: its message and its exit code.

use std::process::ExitCode;

use redcall_client::StoreError;
use redcall_common::output::{self as out, Unwritten};
use redcall_common::report::Problem;

/// Why a verb failed, and the exit code for it.
pub(crate) struct Failure {
    /// Empty if there is no message.
    pub(crate) problems: Vec<Problem>,
    pub(crate) code: u8,
    /// The error as `--json` prints it.
    pub(crate) json: serde_json::Value,
}

/// The exit code of a verb that cannot reach Redis.
pub(crate) const UNREACHABLE: u8 = 3;

/// An error as `--json` prints it.
pub(crate) fn json(code: &str, message: &str) -> serde_json::Value {
    serde_json::json!({ "error": { "code": code, "message": message } })
}

impl Failure {
    pub(crate) fn of(problem: Problem, code: &str, exit_code: u8) -> Self {
        let json = json(code, &problem.to_string());
        Self { problems: vec![problem], code: exit_code, json }
    }

    /// An error of the operating system.
    pub(crate) fn system(error: &(dyn std::error::Error + 'static)) -> Self {
        Self::of(Problem::of(error), "internal", 1)
    }

    /// Returns `true` if standard output cannot be written, so that no output can follow.
    pub(crate) fn is_unwritten(&self) -> bool {
        [out::UNWRITTEN, out::CLOSED].contains(&self.code)
    }

    /// Prints the problems as text.
    pub(crate) fn explain(self) {
        for problem in self.problems {
            out::report(problem);
        }
    }

    /// Prints the failure and returns its exit code.
    pub(crate) fn end(self, as_json: bool) -> ExitCode {
        let code = ExitCode::from(self.code);
        match as_json && !self.problems.is_empty() {
            true => out::hint(&self.json),
            false => self.explain(),
        }
        code
    }

    /// Returns the exit code of an error of Redis.
    pub(crate) fn exit_code(error: &StoreError) -> u8 {
        if matches!(error, StoreError::Config { .. }) { 2 } else { UNREACHABLE }
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

fn with_cause(error: &Unwritten) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    format!("{error}{}", cause.unwrap_or_default())
}

/// The failure of a verb that cannot use Redis.
pub(crate) fn unreachable(error: &StoreError) -> Failure {
    let code = Failure::exit_code(error);
    let name = if code == 2 { "invalid_settings" } else { "unavailable" };
    let json = json(name, &error.to_string());
    Failure { problems: vec![Problem::from(error)], code, json }
}
