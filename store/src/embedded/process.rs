//! One server process under its watching shell: start, readiness, end.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::folder::Folder;
use super::{EmbeddedError, EmbeddedOptions};

/// The script that the shell runs; the server and its arguments are its arguments. It is run from
/// a file, so that a list of processes shows a name and not the whole text.
const LAUNCH: &str = include_str!("launch.sh");

/// When the whole group is killed at last: more than the shell's own five seconds.
const KILL_AFTER: Duration = Duration::from_secs(7);

/// The shell that watches over the server, and the pipe that keeps both alive. Dropping ends them.
#[derive(Debug)]
pub(super) struct Process {
    /// Leader of a process group of its own: Ctrl-C in a terminal goes to the foreground group and
    /// must reach us, who end the server in good order, but not the server.
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
            // Of a server that was here before: what is read there must be this one's.
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
                // The write end is close-on-exec, so no other child of ours keeps it open.
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

    /// How the server ended, if it has.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.shell.try_wait().ok().flatten()
    }

    /// Reads the server's process id where the shell noted it; false when it has not yet.
    pub(super) fn learn_pid(&mut self, folder: &Folder) -> bool {
        let noted = std::fs::read_to_string(folder.pid_file()).unwrap_or_default();
        // A number without the line's end may be half of one.
        let pid = noted.strip_suffix('\n').and_then(|pid| pid.parse().ok());
        self.server_pid = pid.unwrap_or_default();
        pid.is_some()
    }

    /// The server's process id; 0 before [`Self::learn_pid`] succeeded.
    pub(super) fn server_pid(&self) -> u32 {
        self.server_pid
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The same way as when we die: one path, so each test of one proves the other.
        drop(self.shell.stdin.take());
        self.end_within(KILL_AFTER);
    }
}

impl Process {
    /// Kills the server alone, and waits for the shell, which ends when the server is dead.
    pub(super) fn kill(&mut self) {
        // An id that is not known yet would be the group of whoever asks.
        if self.ended().is_none() && self.server_pid > 0 {
            send_kill(&self.server_pid.to_string());
        }
        self.end_within(KILL_AFTER);
    }

    /// Waits for the shell, and kills the whole group when that takes too long.
    fn end_within(&mut self, most: Duration) {
        let deadline = Instant::now() + most;
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

    /// For a shell that was stopped or lost its watcher. We have not waited for the shell yet, so
    /// its id, which is the group's, cannot belong to anybody else.
    fn kill_group(&mut self) {
        send_kill(&format!("-{}", self.shell.id()));
        _ = self.shell.kill();
    }
}

/// SIGKILL to a process, or with a minus to a group.
fn send_kill(to: &str) {
    // Without `--`, which not every shell's own kill understands.
    let kill = "kill -KILL \"$1\"";
    _ = Command::new("/bin/sh").args(["-c", kill, "sh", to]).status();
}

/// The server runs in its folder, so a relative path would be looked up there. A bare name is left
/// to the shell, which searches PATH.
fn absolute(program: &Path) -> std::path::PathBuf {
    if program.components().count() > 1 {
        std::path::absolute(program).unwrap_or_else(|_| program.to_owned())
    } else {
        program.to_owned()
    }
}

/// Whether a server answers at `socket`. A server that demands a password is up, too.
pub(super) async fn answers_ping(socket: &Path) -> bool {
    let ping = async {
        let mut stream = UnixStream::connect(socket).await?;
        stream.write_all(b"PING\r\n").await?;
        let mut answer = [0; 7];
        stream.read_exact(&mut answer).await?;
        Ok::<_, io::Error>(answer)
    };
    // While it still loads its data the answer is -LOADING: not ready.
    matches!(ping.await, Ok(answer) if &answer == b"+PONG\r\n" || &answer == b"-NOAUTH")
}
