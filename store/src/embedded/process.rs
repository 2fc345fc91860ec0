//! One server process under its supervising shell: start, readiness, end.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::error::EmbeddedError;
use super::folder::Folder;
use super::options::EmbeddedOptions;

/// The script that the shell runs, with the server and its arguments as arguments. It runs from a
/// file so that a process list shows a name, not the whole text.
const LAUNCH: &str = include_str!("launch.sh");

/// The time after which the whole group is killed: longer than the shell's own five seconds.
const KILL_AFTER: Duration = Duration::from_secs(7);

/// The shell that supervises the server, and the pipe that keeps both alive. Dropping ends them.
#[derive(Debug)]
pub(super) struct Process {
    /// Leader of its own process group: Ctrl-C in a terminal signals the foreground group. It must
    /// reach us, so that we end the server cleanly, but not the server.
    shell: Child,
    server_pid: u32,
}

impl Process {
    /// Starts the shell, which starts the server. Does not wait for either.
    pub(super) fn spawn(
        program: &Path,
        folder: &Folder,
        options: &EmbeddedOptions,
    ) -> Result<Self, EmbeddedError> {
        let program = absolute(program);
        let spawn = || -> io::Result<Child> {
            let script = folder.path().join("launch.sh");
            std::fs::write(&script, LAUNCH)?;
            // Remove a previous server's file: the id that we read must be this server's.
            _ = std::fs::remove_file(folder.pid_file());
            let log = File::options().create(true).append(true).open(folder.log())?;
            Command::new("/bin/sh")
                .args([&script, &program])
                .args(["--port", "0", "--unixsocketperm", "700"])
                .args([OsStr::new("--unixsocket"), folder.socket().as_os_str()])
                .args([OsStr::new("--dir"), folder.path().as_os_str()])
                .args([
                    "--save",
                    "",
                    "--appendonly",
                    if options.append_only { "yes" } else { "no" },
                ])
                .args(["--daemonize", "no"])
                .args(&options.extra_args)
                .current_dir(folder.path())
                .process_group(0)
                // The write end is close-on-exec, so no other child keeps it open.
                .stdin(Stdio::piped())
                .stdout(log.try_clone()?)
                .stderr(log)
                .spawn()
        };
        match spawn() {
            Ok(shell) => Ok(Self { shell, server_pid: 0 }),
            Err(source) => Err(EmbeddedError::Spawn { program, source }),
        }
    }

    /// Returns the server's exit status once it has ended.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.shell.try_wait().ok().flatten()
    }

    /// Reads the server's process id; returns `false` if the shell has not written it yet.
    pub(super) fn learn_pid(&mut self, folder: &Folder) -> bool {
        let noted = std::fs::read_to_string(folder.pid_file()).unwrap_or_default();
        // A number without a line end may be incomplete.
        let pid = noted.strip_suffix('\n').and_then(|pid| pid.parse().ok());
        self.server_pid = pid.unwrap_or_default();
        pid.is_some()
    }

    /// Returns the server's process id; 0 before [`Self::learn_pid`] succeeds.
    pub(super) fn server_pid(&self) -> u32 {
        self.server_pid
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The same path as when we die, so each test of one proves the other.
        drop(self.shell.stdin.take());
        self.end_within(KILL_AFTER);
    }
}

impl Process {
    /// Kills the server alone, and waits for the shell, which ends when the server is dead.
    pub(super) fn kill(&mut self) {
        // Kill with id 0 would signal our own process group.
        if self.ended().is_none() && self.server_pid > 0 {
            send_kill(&self.server_pid.to_string());
        }
        self.end_within(KILL_AFTER);
    }

    /// Waits for the shell, and kills the whole group at the time limit.
    fn end_within(&mut self, max: Duration) {
        let deadline = Instant::now() + max;
        while self.ended().is_none() {
            if Instant::now() >= deadline {
                self.kill_group();
                // Cannot block: the group was killed.
                _ = self.shell.wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// For a shell that was stopped or lost its supervisor. We have not waited for the shell yet,
    /// so its id, which is the group's, cannot have been reused.
    fn kill_group(&mut self) {
        send_kill(&format!("-{}", self.shell.id()));
        _ = self.shell.kill();
    }
}

/// Sends SIGKILL to a process, or with a minus to a group.
fn send_kill(to: &str) {
    // Without `--`, which some shells' own kill does not understand.
    let kill = "kill -KILL \"$1\"";
    _ = Command::new("/bin/sh").args(["-c", kill, "sh", to]).status();
}

/// The server runs in its folder, so a relative path would be resolved there. A bare name is left
/// to the shell, which searches PATH.
fn absolute(program: &Path) -> std::path::PathBuf {
    if program.components().count() > 1 {
        std::path::absolute(program).unwrap_or_else(|_| program.to_owned())
    } else {
        program.to_owned()
    }
}

/// Returns `true` if a server answers at `socket`, even if it demands a password.
pub(super) async fn answers_ping(socket: &Path) -> bool {
    let ping = async {
        let mut stream = UnixStream::connect(socket).await?;
        stream.write_all(b"PING\r\n").await?;
        let mut answer = [0; 7];
        stream.read_exact(&mut answer).await?;
        Ok::<_, io::Error>(answer)
    };
    // A server that still loads its data answers -LOADING: not ready.
    matches!(ping.await, Ok(answer) if &answer == b"+PONG\r\n" || &answer == b"-NOAUTH")
}
