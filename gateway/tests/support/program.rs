//! The real program `redcall-gateway`.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use redcall_testkit::eventually;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// `redcall-gateway` with its log. Killed when dropped.
pub(crate) struct Program {
    child: Child,
    /// Written by a thread that reads standard error.
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

/// Returns the command, with no other environment than `PATH` and `HOME`.
fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_redcall-gateway"));
    command.args(args).env_clear().stdin(Stdio::null());
    for kept in ["PATH", "HOME", "LD_LIBRARY_PATH"] {
        command.envs(std::env::var_os(kept).map(|value| (kept, value)));
    }
    command.current_dir(std::env::temp_dir());
    command
}

impl Program {
    /// Starts it.
    pub(crate) fn start(args: &[&str]) -> Self {
        let mut command = command(args);
        let mut child =
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("start it");
        let stderr = BufReader::new(child.stderr.take().expect("its standard error"));
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = lines.clone();
        let reader = std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                kept.lock().expect("the lines").push(line);
            }
        });
        Self { child, lines, reader: Some(reader) }
    }

    /// Runs it to its end.
    pub(crate) fn run(args: &[&str]) -> Output {
        command(args).output().expect("run it")
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The lines of its log so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("the lines").clone()
    }

    /// Waits for a line of its JSON log that `find` accepts.
    pub(crate) async fn logged<T>(&self, what: &str, find: impl Fn(&Value) -> Option<T>) -> T {
        let found = eventually(what, async || {
            let lines = self.lines();
            let lines = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            lines.filter_map(|line| find(&line)).next()
        });
        found.await
    }

    /// Waits until the door `door` listens under `key`, such as `listen`; returns its address.
    pub(crate) async fn address(&self, door: &str, key: &str) -> SocketAddr {
        let find = |line: &Value| {
            let is = |field: &str, value: &str| line[field] == value;
            let listening = is("message", "listening") && is("gateway", door) && is("key", key);
            listening.then(|| line["address"].as_str()?.parse().ok())?
        };
        self.logged("the door to listen", find).await
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a pid");
        kill_process(pid, signal).expect("signal the program");
    }

    /// Waits for its end; returns its exit status and its log. Blocks.
    pub(crate) fn wait(mut self) -> (ExitStatus, Vec<String>) {
        let status = self.child.wait().expect("wait for it");
        if let Some(reader) = self.reader.take() {
            reader.join().expect("read its log");
        }
        (status, self.lines())
    }

    /// The memory that it holds, bytes.
    pub(crate) fn rss(&self) -> u64 {
        let mut text = String::new();
        let file = std::fs::File::open(format!("/proc/{}/status", self.pid()));
        file.expect("its status").read_to_string(&mut text).expect("its status");
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
        let number = line.trim().trim_end_matches(" kB").trim();
        number.parse::<u64>().expect("a number") * 1024
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
