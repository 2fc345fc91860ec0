//! A private Redis and one worker, their memory, and the legitimate calls during an attack.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use miette::{IntoDiagnostic as _, miette};
use redcall_common::auth::Keyring;
use redcall_common::keys::{Keys, QueueKeys};
use redcall_common::settings::{AuthKey, AuthSettings, Secret};
use redcall_store::embedded::{Embedded, EmbeddedOptions};

use super::calls::{Calls, ECHO, Job};
use super::row::{Bounds, Figures, Memory, Row};
use crate::long::stage::process;
use crate::long::stage::wire::{Reply, Wire};
use crate::programs::redis_server;

/// The secret of the callers and the worker of a signed queue.
const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Where the worker's standard error goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Log {
    /// It is read, and counted.
    #[default]
    Read,
    /// It is a pipe that is not read.
    Unread,
    /// It is a device that is full.
    Full,
}

/// How a rig is set up.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    /// How many jobs run at once.
    pub(crate) concurrency: u32,
    /// `true` if requests have to be signed.
    pub(crate) signed: bool,
    /// Where the log goes.
    pub(crate) log: Log,
    /// Further settings, TOML.
    pub(crate) settings: String,
    /// The jobs that the legitimate callers call.
    pub(crate) jobs: Vec<Job>,
}

impl Default for Setup {
    fn default() -> Self {
        let (log, settings, jobs) = (Log::default(), String::new(), vec![ECHO]);
        Self { concurrency: 64, signed: false, log, settings, jobs }
    }
}

/// Redis and the worker. Ends with this.
pub(crate) struct Rig {
    pub(crate) keys: QueueKeys,
    pub(crate) socket: PathBuf,
    setup: Setup,
    worker: Worker,
    redis: Embedded,
    // After the server, which needs it.
    _runtime: tokio::runtime::Runtime,
}

struct Worker {
    child: Child,
    logged: Arc<AtomicU64>,
    // Open as long as the worker runs, and not read.
    _unread: Option<std::process::ChildStderr>,
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Rig {
    pub(crate) fn start(program: &Path, setup: &Setup) -> miette::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.into_diagnostic()?;
        let options =
            EmbeddedOptions { program: Some(redis_server::ensure()?.path), ..Default::default() };
        let redis = runtime.block_on(Embedded::start(options)).into_diagnostic()?;
        let socket = redis.dir().join("r.sock");
        let worker = Worker::start(program, &redis, setup)?;
        let keys = Keys::new("redcall").of("default");
        let mut rig = Self { keys, socket, setup: setup.clone(), worker, redis, _runtime: runtime };
        let (mut wire, since) = (rig.wire()?, Instant::now());
        while wire.number(&["ZCARD", &rig.keys.workers()])? == 0 {
            if let Some(status) = rig.worker.child.try_wait().into_diagnostic()? {
                return Err(miette!("the worker ended with {status} as it began"));
            }
            if since.elapsed() > Duration::from_secs(20) {
                return Err(miette!("the worker did not start within 20 s"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(rig)
    }

    pub(crate) fn wire(&self) -> miette::Result<Wire> {
        Wire::connect(&self.socket)
    }

    /// How much processor time the worker has had, seconds.
    pub(crate) fn worker_time(&self) -> f64 {
        process::time(self.worker.child.id())
    }

    /// Runs `attack` during the legitimate calls, and measures.
    pub(crate) fn with_callers(
        mut self,
        name: &str,
        bounds: Bounds,
        attack: impl FnOnce(&Self) -> miette::Result<Figures>,
    ) -> miette::Result<Row> {
        let mut wire = self.wire()?;
        let keyring = self.setup.signed.then(keyring);
        let calls = Calls::start(&self.socket, keyring, &self.setup.jobs)?;
        // Both processes have met the usual load then.
        std::thread::sleep(Duration::from_millis(500));
        wire.command(&["CONFIG", "SET", "slowlog-log-slower-than", "1000"])?;
        wire.command(&["CONFIG", "SET", "slowlog-max-len", "4096"])?;
        wire.command(&["SLOWLOG", "RESET"])?;
        let sampled = Sampled::start(self.worker.child.id(), self.redis.pid());
        let figures = attack(&self)?;
        let script_ms = longest_script(&mut wire)?;
        let calls = calls.end(&mut wire)?;
        let (worker, redis) = sampled.end();
        let ended = self.worker.child.try_wait().into_diagnostic()?;
        let log = self.worker.logged.load(Ordering::Relaxed) as f64 / 1e6;
        let ended = ended.map(|status| status.to_string());
        let name = name.to_owned();
        let row =
            Row { name, figures, script_ms, calls, worker, redis, log, ended, missed: vec![] };
        Ok(row.judged(bounds))
    }
}

fn settings(setup: &Setup, redis: &Embedded) -> String {
    let Setup { concurrency, signed, settings, .. } = setup;
    let auth = match signed {
        true => format!("[auth.keys.web]\nsecret = \"{SECRET}\"\n"),
        false => String::new(),
    };
    format!(
        "[redis]\nurl = \"{}\"\n\
         [worker]\nqueues = [\"default\"]\nconcurrency = {concurrency}\n\
         [jobs.echo]\nhandler = \"builtin:echo\"\n{auth}{settings}",
        redis.url()
    )
}

fn keyring() -> Keyring {
    let key = AuthKey { secret: Secret::new(SECRET), jobs: vec!["*".to_owned()] };
    let keys = [("web".to_owned(), key)].into();
    Keyring::new(&AuthSettings { keys, sign_with: Some("web".to_owned()), required: true })
}

impl Worker {
    fn start(program: &Path, redis: &Embedded, setup: &Setup) -> miette::Result<Self> {
        // In the folder of Redis, which goes with it.
        let path = redis.dir().join("redcall.toml");
        std::fs::write(&path, settings(setup, redis)).into_diagnostic()?;
        let mut command = Command::new(program);
        command.arg("--settings").arg(&path).current_dir(redis.dir()).stdin(Stdio::null());
        let stderr = match setup.log {
            Log::Read | Log::Unread => Stdio::piped(),
            Log::Full => {
                let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
                Stdio::from(full.into_diagnostic()?)
            }
        };
        let mut child = command.stderr(stderr).spawn().into_diagnostic()?;
        let logged = Arc::new(AtomicU64::new(0));
        let mut unread = child.stderr.take();
        if setup.log == Log::Read
            && let Some(mut stderr) = unread.take()
        {
            let logged = Arc::clone(&logged);
            std::thread::spawn(move || {
                let mut buffer = vec![0; 65_536];
                while let Ok(count @ 1..) = stderr.read(&mut buffer) {
                    logged.fetch_add(count as u64, Ordering::Relaxed);
                }
            });
        }
        Ok(Self { child, logged, _unread: unread })
    }
}

/// The longest script since the log was emptied, ms.
fn longest_script(wire: &mut Wire) -> miette::Result<f64> {
    let Reply::All(entries) = wire.command(&["SLOWLOG", "GET", "-1"])? else { return Ok(0.0) };
    let took = entries.iter().filter_map(|entry| match entry {
        Reply::All(entry) => match (entry.get(2), entry.get(3)) {
            (Some(Reply::Number(us)), Some(Reply::All(words))) => {
                let command = words.first().and_then(Reply::text)?;
                command.to_ascii_uppercase().starts_with("EVAL").then_some(*us)
            }
            _ => None,
        },
        _ => None,
    });
    Ok(took.max().unwrap_or(0) as f64 / 1000.0)
}

/// Reads how much memory two processes have, every 20 ms.
struct Sampled {
    stop: Arc<AtomicBool>,
    reader: JoinHandle<(Memory, Memory)>,
}

impl Sampled {
    fn start(worker: u32, redis: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let reader = std::thread::spawn(move || {
            let mut memory = [worker, redis].map(|pid| {
                let (now, _) = process::memory(pid);
                Memory { before: now, peak: now, after: now }
            });
            while !stopped.load(Ordering::Relaxed) {
                for (memory, pid) in memory.iter_mut().zip([worker, redis]) {
                    (memory.after, _) = process::memory(pid);
                    memory.peak = memory.peak.max(memory.after);
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            memory.into()
        });
        Self { stop, reader }
    }

    fn end(self) -> (Memory, Memory) {
        self.stop.store(true, Ordering::Relaxed);
        self.reader.join().unwrap_or_default()
    }
}
