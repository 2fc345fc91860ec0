//! The program of a command or a process, and its start.

pub(super) mod budget;
pub(crate) mod environment;
pub(super) mod group;
pub(crate) mod stderr;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use redcall_common::leash::Leash;
use redcall_common::settings::ProgramEnv;
use tokio::process::{Child, Command};

use self::environment::Environment;
use self::group::Group;
use super::bounds::Bounds;

/// The place where the programs of a mapping run, and their limits.
pub(crate) struct ProgramContext<'a> {
    /// The folder of the settings file.
    pub(crate) dir: &'a Path,
    pub(crate) bounds: Bounds,
    /// Ends the programs with this worker.
    pub(crate) leash: &'a Leash,
    /// The environment that programs may get.
    pub(crate) environment: &'a Environment,
}

/// A program with its arguments, and where it runs.
pub(super) struct Program {
    path: PathBuf,
    args: Vec<String>,
    dir: PathBuf,
    /// Its whole environment, except for additions of a launch.
    env: Vec<(OsString, OsString)>,
    leash: Leash,
}

/// A program about to be started.
pub(super) struct Launch {
    command: Command,
    leash: Leash,
}

impl Program {
    /// `command` is program and arguments. The program is searched for as a shell does, but
    /// relative to the folder of `context`, in which it also runs. `env` selects variables of the
    /// worker's environment.
    ///
    /// # Errors
    ///
    /// An error with its correction if the program does not exist, or `env` names a secret.
    pub(super) fn find(
        command: &[String],
        env: &ProgramEnv,
        context: &ProgramContext<'_>,
    ) -> Result<Self, String> {
        let (name, args) = command.split_first().ok_or("the command is empty")?;
        let path = redcall_common::program::find(name, context.dir)?;
        let env = context.environment.admitted(env)?;
        let (args, dir, leash) = (args.to_vec(), context.dir.to_owned(), context.leash.clone());
        Ok(Self { path, args, dir, env, leash })
    }

    /// Returns it with its arguments, for display.
    pub(super) fn describe(&self) -> String {
        format!("{} {}", self.path.display(), self.args.join(" ")).trim_end().to_owned()
    }

    /// Prepares a start as the leader of a process group, with pipes for stdin, stdout and stderr.
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

    /// Starts it. The group ends when the second value is dropped, and when this worker ends.
    ///
    /// # Errors
    ///
    /// The error of the operating system.
    pub(super) fn spawn(mut self) -> io::Result<(Child, Group)> {
        self.leash.prepare();
        let child = self.command.spawn()?;
        let group = Group::of(&child, &self.leash);
        Ok((child, group))
    }
}
