//! The program behind a command or a process, and how it is started.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;

use redcall_common::leash::Leash;
use redcall_common::settings::ProgramEnv;
use tokio::process::{Child, Command};

use super::Place;
use super::group::Group;

/// A program with its arguments, and where it runs.
pub(super) struct Program {
    path: PathBuf,
    args: Vec<String>,
    dir: PathBuf,
    /// All of its environment, but for what a launch adds.
    env: Vec<(OsString, OsString)>,
    leash: Leash,
}

/// A program about to be started.
pub(super) struct Launch {
    command: Command,
    leash: Leash,
}

impl Program {
    /// `command` is program and arguments; the program is looked for like a shell does, but
    /// relative to the folder of `place`, in which it also runs. `env` says what it gets of the
    /// worker's environment.
    ///
    /// # Errors
    ///
    /// What to do when there is no such program, or `env` names a secret.
    pub(super) fn find(
        command: &[String],
        env: &ProgramEnv,
        place: &Place<'_>,
    ) -> Result<Self, String> {
        let (name, args) = command.split_first().ok_or("the command is empty")?;
        let path = redcall_common::program::find(name, place.dir)?;
        let env = place.environment.admitted(env)?;
        let (args, dir, leash) = (args.to_vec(), place.dir.to_owned(), place.leash.clone());
        Ok(Self { path, args, dir, env, leash })
    }

    /// It with its arguments, for people.
    pub(super) fn describe(&self) -> String {
        format!("{} {}", self.path.display(), self.args.join(" ")).trim_end().to_owned()
    }

    /// To be started as the leader of a process group, with pipes for all that it says and hears.
    pub(super) fn launch(&self) -> Launch {
        let mut command = Command::new(&self.path);
        command.args(&self.args).current_dir(&self.dir).process_group(0).kill_on_drop(true);
        command.env_clear().envs(self.env.iter().map(|(name, value)| (name, value)));
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
