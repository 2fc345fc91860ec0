//! The program behind a command or a process, and how it is started.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

/// A program with its arguments, and where it runs.
pub(super) struct Program {
    path: PathBuf,
    args: Vec<String>,
    dir: PathBuf,
}

impl Program {
    /// `command` is program and arguments; the program is looked for like a shell does, but
    /// relative to `dir`, in which it also runs.
    ///
    /// # Errors
    ///
    /// What to do when there is no such program.
    pub(super) fn find(command: &[String], dir: &Path) -> Result<Self, String> {
        let (name, args) = command.split_first().ok_or("the command is empty")?;
        let path = redcall_common::program::find(name, dir)?;
        Ok(Self { path, args: args.to_vec(), dir: dir.to_owned() })
    }

    /// It with its arguments, for people.
    pub(super) fn describe(&self) -> String {
        format!("{} {}", self.path.display(), self.args.join(" ")).trim_end().to_owned()
    }

    /// To be started as the leader of a process group, with pipes for all that it says and hears.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.args(&self.args).current_dir(&self.dir).process_group(0).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}
