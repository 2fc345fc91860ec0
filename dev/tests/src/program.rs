//! Real programs of this workspace, run as users run them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// Returns the path of the binary `name` of this workspace: in the folder of the tests that cargo
/// has built.
///
/// # Panics
///
/// When it has not been built: `cargo xtask test` does that, or `cargo build --workspace`.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the path of this test");
    let target = test.parent().and_then(|deps| deps.parent()).expect("target/<profile>");
    let path = target.join(name);
    assert!(path.exists(), "{} is missing; run `cargo build --workspace` first", path.display());
    path
}

/// A program that runs during the test. Killed when dropped.
pub struct Program {
    child: Child,
}

impl Program {
    /// Starts `name` with no other environment than `PATH`, `HOME` and `variables`.
    #[must_use]
    pub fn start(name: &str, args: &[&str], variables: &BTreeMap<String, String>) -> Self {
        let child = command(name, args, variables).stdout(Stdio::null()).spawn();
        Self { child: child.expect("start the program") }
    }

    /// As [`Self::start`]; its output is kept for [`Self::output`].
    #[must_use]
    pub fn start_to_read(name: &str, args: &[&str], variables: &BTreeMap<String, String>) -> Self {
        let mut command = command(name, args, variables);
        let child = command.stdout(Stdio::piped()).spawn();
        Self { child: child.expect("start the program") }
    }

    /// Runs `name` to its end.
    #[must_use]
    pub fn run(name: &str, args: &[&str], variables: &BTreeMap<String, String>) -> Output {
        command(name, args, variables).output().expect("run the program")
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a pid");
        kill_process(pid, signal).expect("signal the program");
    }

    /// Waits for its end, and returns its stdout. Blocks.
    #[must_use]
    pub fn output(mut self) -> Output {
        use std::io::Read as _;
        let mut stdout = Vec::new();
        let mut printed = self.child.stdout.take().expect("it was started to be read");
        printed.read_to_end(&mut stdout).expect("read its output");
        let status = self.child.wait().expect("wait for the program");
        Output { status, stdout, stderr: Vec::new() }
    }

    /// Waits for its end. Blocks.
    pub fn wait(mut self) -> ExitStatus {
        self.child.wait().expect("wait for the program")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(name: &str, args: &[&str], variables: &BTreeMap<String, String>) -> Command {
    let mut command = Command::new(binary(name));
    command.args(args).env_clear().envs(variables).stdin(Stdio::null());
    for kept in ["PATH", "HOME", "LD_LIBRARY_PATH", "REDCALL_REDIS_SERVER"] {
        if let (Some(value), false) = (std::env::var_os(kept), variables.contains_key(kept)) {
            command.env(kept, value);
        }
    }
    // An empty working directory: no settings file by accident.
    command.current_dir(std::env::temp_dir());
    command
}
