//! One worker as a child process: this program again, as `example worker`.
//!
//! However we end, it ends. In order, it is sent SIGTERM and drains. Dropped, it is killed. And
//! when nothing of ours runs any more (SIGKILL), its standard input closes, on which it drains.

use std::env;
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use redcall_common::settings::Settings;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;

use super::LOG_LEVEL;
use crate::root::Root;
use crate::worker::{SKIP_SAFETY_WARNING, UNTIL_STDIN_CLOSES, WITHOUT_PYTHON};

/// How long after its own bound for draining a worker may take to end.
const GRACE: Duration = Duration::from_secs(5);

/// A worker process.
pub(super) struct Process {
    child: Child,
    /// Never written to: it closes when we end, which the worker takes for its sign to end.
    _lifeline: Option<ChildStdin>,
    patience: Duration,
}

impl Process {
    /// Starts one for `root` at the Redis that `settings` have by now.
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
        // The longer name would win over the shorter one.
        command.env_remove("REDCALL__REDIS__URL").env("REDIS_URL", &settings.redis.url);
        command.env(LOG_LEVEL, &settings.log.level);
        command.stdin(Stdio::piped()).kill_on_drop(true);
        // Ctrl-C is for us: the workers are to drain while Redis and we are still there.
        command.process_group(0);
        let mut child = command.spawn()?;
        // Taken out, because waiting for a child closes what is still in it.
        let lifeline = child.stdin.take();
        let patience = settings.worker.drain_timeout + GRACE;
        Ok(Self { child, _lifeline: lifeline, patience })
    }

    /// Waits until it ends by itself. Cancel safe.
    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Has it drain and waits for its end, which is bounded.
    pub(super) async fn end(mut self) -> io::Result<ExitStatus> {
        // No id: it has ended and was waited for, and the number may be another's by now.
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
