//! The program behind a command or a process, and how it is started.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use redcall_common::leash::Leash;
use tokio::process::{Child, Command};

use super::group::Group;

/// A program with its arguments, and where it runs.
pub(super) struct Program {
    path: PathBuf,
    args: Vec<String>,
    dir: PathBuf,
    leash: Leash,
}

/// A program about to be started.
pub(super) struct Launch {
    command: Command,
    leash: Leash,
}

impl Program {
    /// `command` is program and arguments; the program is looked for like a shell does, but
    /// relative to `dir`, in which it also runs. `leash` holds what is started.
    ///
    /// # Errors
    ///
    /// What to do when there is no such program.
    pub(super) fn find(command: &[String], dir: &Path, leash: &Leash) -> Result<Self, String> {
        let (name, args) = command.split_first().ok_or("the command is empty")?;
        let path = redcall_common::program::find(name, dir)?;
        Ok(Self { path, args: args.to_vec(), dir: dir.to_owned(), leash: leash.clone() })
    }

    /// It with its arguments, for people.
    pub(super) fn describe(&self) -> String {
        format!("{} {}", self.path.display(), self.args.join(" ")).trim_end().to_owned()
    }

    /// To be started as the leader of a process group, with pipes for all that it says and hears.
    pub(super) fn launch(&self) -> Launch {
        let mut command = Command::new(&self.path);
        command.args(&self.args).current_dir(&self.dir).process_group(0).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Launch { command, leash: self.leash.clone() }
    }
}

impl Launch {
    /// Sets a variable of its environment.
    pub(super) fn env(&mut self, name: &str, value: &str) {
        self.command.env(name, value);
    }

    /// Starts it. Its group ends with the second value, and with this worker, however that ends.
    ///
    /// # Errors
    ///
    /// The system's.
    pub(super) fn spawn(mut self) -> io::Result<(Child, Group)> {
        self.leash.prepare();
        let child = self.command.spawn()?;
        let group = Group::of(&child, &self.leash);
        Ok((child, group))
    }
}
