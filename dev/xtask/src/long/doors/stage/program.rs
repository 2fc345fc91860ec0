//! [`Program`]: a Python program that answers lines with lines.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use miette::{IntoDiagnostic as _, miette};

use crate::long::killed::Killed;

/// A running program. Killed when dropped.
pub(crate) struct Program {
    process: Killed,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    name: String,
}

impl Program {
    /// Starts `script` with these arguments and further variables.
    pub(crate) fn start(
        python: &Path,
        script: &Path,
        args: &[&str],
        variables: &[(&str, &str)],
    ) -> miette::Result<Self> {
        let mut command = Command::new(python);
        command.arg(script).args(args).env("PYTHONDONTWRITEBYTECODE", "1");
        command.envs(variables.iter().copied());
        let mut process = Killed::start(command.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
        let (input, output) = (process.child.stdin.take(), process.child.stdout.take());
        let (Some(input), Some(output)) = (input, output) else {
            return Err(miette!("{} has no pipes", script.display()));
        };
        let name = script.display().to_string();
        Ok(Self { process, input, output: BufReader::new(output), name })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.child.id()
    }

    /// Writes a line.
    pub(crate) fn send(&mut self, line: &str) -> miette::Result<()> {
        writeln!(self.input, "{line}").into_diagnostic()
    }

    /// Waits for its next line.
    pub(crate) fn line(&mut self) -> miette::Result<String> {
        let mut line = String::new();
        match self.output.read_line(&mut line).into_diagnostic()? {
            0 => Err(miette!("{} has ended", self.name)),
            _ => Ok(line.trim_end().to_owned()),
        }
    }
}
