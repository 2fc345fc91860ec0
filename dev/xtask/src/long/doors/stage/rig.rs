//! [`Rig`]: a private Redis, a worker, and a gateway with the doors of one protocol.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use miette::{IntoDiagnostic as _, miette};
use serde_json::Value;

use super::place::Place;
use crate::long::killed::Killed;
use crate::long::stage::server::{PATIENCE, Server};
use crate::long::stage::wire::Wire;

/// Returns the settings of worker and gateway, without Redis; their folder is given.
pub(crate) type Settings = fn(&Place, &Path) -> miette::Result<String>;

/// The processes of a protocol. End with this.
pub(crate) struct Rig {
    gateway: Killed,
    log: Arc<Mutex<Log>>,
    _worker: Killed,
    redis: Server,
}

/// The gateway's log so far; written by the thread that reads it.
#[derive(Default)]
struct Log {
    /// Addresses, by door and key of the settings.
    addresses: BTreeMap<(String, String), String>,
    /// How often each message was logged.
    messages: BTreeMap<String, usize>,
}

impl Rig {
    /// Starts all three. `settings` may write files into the folder that it is given.
    pub(crate) fn start(place: &Place, settings: Settings) -> miette::Result<Self> {
        let redis = Server::start()?;
        let folder = redis.folder();
        let settings = settings(place, folder)?;
        let head = format!("[redis]\nurl = \"{}\"\n[log]\nformat = \"json\"\n", redis.url());
        std::fs::write(folder.join("redcall.toml"), head + &settings).into_diagnostic()?;
        let worker = Killed::start(command(&place.worker, folder).stderr(Stdio::null()))?;
        let mut gateway = Killed::start(command(&place.gateway, folder).stderr(Stdio::piped()))?;
        let log = Arc::new(Mutex::new(Log::default()));
        if let Some(stderr) = gateway.child.stderr.take() {
            let log = Arc::clone(&log);
            std::thread::spawn(move || {
                for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                    log.lock().unwrap_or_else(PoisonError::into_inner).note(&line);
                }
            });
        }
        Ok(Self { gateway, log, _worker: worker, redis })
    }

    /// The gateway's process.
    pub(crate) fn gateway(&self) -> u32 {
        self.gateway.child.id()
    }

    /// Its Redis.
    pub(crate) fn redis(&self) -> &Server {
        &self.redis
    }

    /// A connection to it.
    pub(crate) fn wire(&self) -> miette::Result<Wire> {
        Wire::connect(&self.redis.folder().join("r.sock"))
    }

    /// Waits for the address of a door under a key, such as `listen`.
    pub(crate) fn address(&self, door: &str, key: &str) -> miette::Result<String> {
        let (at, mut found) = ((door.to_owned(), key.to_owned()), None);
        self.wait("the door to listen", || {
            found = self.read(|log| log.addresses.get(&at).cloned());
            Ok(found.is_some())
        })?;
        found.ok_or_else(|| miette!("the door `{door}` does not listen on `{key}`"))
    }

    /// How often the gateway has logged this message.
    pub(crate) fn logged(&self, message: &str) -> usize {
        self.read(|log| log.messages.get(message).copied().unwrap_or(0))
    }

    /// Waits until something is so.
    pub(crate) fn wait(
        &self,
        what: &str,
        mut done: impl FnMut() -> miette::Result<bool>,
    ) -> miette::Result<()> {
        let since = Instant::now();
        while !done()? {
            if since.elapsed() > PATIENCE {
                return Err(miette!("waited {PATIENCE:?} for {what}"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn read<T>(&self, of: impl FnOnce(&Log) -> T) -> T {
        of(&self.log.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Log {
    fn note(&mut self, line: &str) {
        let Ok(line) = serde_json::from_str::<Value>(line) else {
            // Why it has not started.
            eprintln!("{line}");
            return;
        };
        let text = |member: &str| line[member].as_str().unwrap_or_default().to_owned();
        let message = text("message");
        if message == "listening" {
            self.addresses.insert((text("gateway"), text("key")), text("address"));
        }
        *self.messages.entry(message).or_default() += 1;
    }
}

fn command(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.arg("--settings").arg(folder.join("redcall.toml")).current_dir(folder);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}
