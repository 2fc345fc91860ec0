//! One worker as a child process: this program again, as `example worker`.
//!
//! It ends with this process: at an orderly end it gets SIGTERM and drains; when dropped it is
//! killed; after a SIGKILL of this process its standard input closes, and it drains.

use std::env;
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use redcall_common::settings::Settings;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;

use crate::root::Root;
use crate::worker::{SKIP_SAFETY_WARNING, UNTIL_STDIN_CLOSES, WITHOUT_PYTHON};

/// Environment variable of the log level.
pub(super) const LOG_LEVEL: &str = "REDCALL__LOG__LEVEL";
/// Time to end beyond the worker's own drain timeout.
const GRACE: Duration = Duration::from_secs(5);

/// A worker process.
pub(super) struct Process {
    child: Child,
    /// Never written to: it closes when this process ends, which ends the worker.
    _lifeline: Option<ChildStdin>,
    patience: Duration,
}

impl Process {
    /// Starts a worker for `root` at the Redis of `settings`.
    pub(super) fn start(
        settings: &Settings,
        root: &Root,
        without_python: bool,
    ) -> io::Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        command.arg("worker").arg(UNTIL_STDIN_CLOSES).args(["--root", root.dir()]);
        if let Some(file) = &settings.file {
            command.arg("--settings").arg::<&Path>(file);
        }
        if without_python {
            command.arg(WITHOUT_PYTHON);
        }
        if settings.redis.skip_safety_warning {
            command.arg(SKIP_SAFETY_WARNING);
        }
        // The longer name would take precedence.
        command.env_remove("REDCALL__REDIS__URL").env("REDIS_URL", &settings.redis.url);
        command.env(LOG_LEVEL, &settings.log.level);
        command.stdin(Stdio::piped()).kill_on_drop(true);
        // Ctrl-C must reach this process only: workers drain while Redis is still running.
        command.process_group(0);
        let mut child = command.spawn()?;
        // Taken out: waiting for a child closes its stdin.
        let lifeline = child.stdin.take();
        let patience = settings.worker.drain_timeout + GRACE;
        Ok(Self { child, _lifeline: lifeline, patience })
    }

    /// Waits until it ends by itself. Cancel safe.
    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Drains it and waits for its end, which is bounded.
    pub(super) async fn end(mut self) -> io::Result<ExitStatus> {
        // Without an id it was waited for; the process id may have been reused.
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            kill_process(pid, Signal::TERM)?;
        }
        match timeout(self.patience, self.child.wait()).await {
            Ok(ended) => ended,
            Err(_) => {
                self.child.start_kill()?;
                self.child.wait().await
            }
        }
    }
}
