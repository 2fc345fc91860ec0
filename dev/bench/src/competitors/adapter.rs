//! An installed adapter: a folder with a program `run`, and one `server` where it needs its own.
//!
//! `run about` prints its versions and its setting, a line each; `run worker` works until it is
//! ended; `run call CALLERS WARM_UP_MS LASTS_MS` waits for a worker, calls, and prints
//! `CallFigures`. They find Redis by `REDIS_URL` and their own server by `NATS_URL`. A worker that
//! callers connect to themselves listens on `WORKER_ADDRESS`.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use miette::{IntoDiagnostic as _, WrapErr as _, miette};
use redcall_bench::CallFigures;
use rustix::process::{Pid, Signal, kill_process};

use crate::rig::{Process, free_address, pinned};

/// The CPU of Redis, or of the server in its place.
const SERVERS: usize = 0;
/// Where callers and workers run.
const OTHERS: usize = 1;

/// How long a server may take to listen.
const LISTENS: Duration = Duration::from_secs(10);

pub(super) struct Adapter {
    name: String,
    folder: PathBuf,
}

/// An adapter with its processes. Its worker is stopped outside its own turns: a worker that polls
/// would take time from Redcall, and a worker that starts for each turn would be cold.
pub(super) struct Running<'a> {
    adapter: &'a Adapter,
    addresses: [(&'static str, String); 3],
    worker: Process,
    _server: Option<Process>,
}

impl Adapter {
    /// None if it is not installed.
    pub(super) fn find(installed: &Path, name: &str) -> Option<Self> {
        let folder = installed.join(name);
        folder.join("run").exists().then(|| Self { name: name.to_owned(), folder })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Its versions and its setting.
    pub(super) fn about(&self) -> miette::Result<String> {
        let mut text = printed(Command::new(self.folder.join("run")).arg("about"))?;
        if let Some(server) = self.server() {
            text = format!("{}{text}", printed(Command::new(server).arg("--version"))?);
        }
        Ok(text)
    }

    fn server(&self) -> Option<PathBuf> {
        Some(self.folder.join("server")).filter(|server| server.exists())
    }

    /// Starts its server, where it needs one, and its worker.
    pub(super) fn start(&self, redis: &str) -> miette::Result<Running<'_>> {
        let mut addresses = [
            ("REDIS_URL", format!("redis://{redis}")),
            ("NATS_URL", String::new()),
            ("WORKER_ADDRESS", free_address()?.to_string()),
        ];
        let mut own = None;
        if let Some(server) = self.server() {
            let address = free_address()?;
            let mut command = pinned(SERVERS, &server)?;
            command.args(["--addr", "127.0.0.1", "--port", &address.port().to_string()]);
            own = Some(quiet(&mut command)?);
            listens(address)?;
            addresses[1].1 = format!("nats://{address}");
        }
        let mut worker = pinned(OTHERS, &self.folder.join("run"))?;
        let worker = quiet(worker.arg("worker").envs(addresses.clone()))?;
        Ok(Running { adapter: self, addresses, worker, _server: own })
    }
}

impl Running<'_> {
    /// One turn.
    pub(super) fn call(
        &self,
        callers: usize,
        warm_up_ms: u64,
        lasts_ms: u64,
    ) -> miette::Result<CallFigures> {
        let numbers = [callers as u64, warm_up_ms, lasts_ms].map(|number| number.to_string());
        let mut caller = pinned(OTHERS, &self.adapter.folder.join("run"))?;
        caller.arg("call").args(numbers).envs(self.addresses.clone());
        self.send(Signal::CONT)?;
        let text = printed(&mut caller)?;
        self.send(Signal::STOP)?;
        serde_json::from_str(text.trim()).into_diagnostic().wrap_err(text)
    }

    fn send(&self, signal: Signal) -> miette::Result<()> {
        let pid = i32::try_from(self.worker.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| miette!("a worker without an id"))?;
        kill_process(pid, signal).into_diagnostic().wrap_err("the worker")
    }
}

fn listens(address: SocketAddr) -> miette::Result<()> {
    let began = Instant::now();
    while TcpStream::connect(address).is_err() {
        if began.elapsed() > LISTENS {
            return Err(miette!("nothing listens on {address}"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Its stderr matters only when calls are not answered, which its caller reports.
fn quiet(command: &mut Command) -> miette::Result<Process> {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().into_diagnostic().map(Process::of)
}

fn printed(command: &mut Command) -> miette::Result<String> {
    let output = command.stdin(Stdio::null()).output().into_diagnostic()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(miette!("{command:?} ended with {}: {}", output.status, text(&output.stderr))),
    }
}
