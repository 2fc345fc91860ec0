//! Shared by several topics: elements as a foreign client pushes them, their results at Redis, and
//! real programs whose output is read.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

pub(crate) mod held;
mod places;
mod server;

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use redcall_client::{CallError, Client, Code, WireError};
use redcall_testkit::eventually;
use redcall_tests::{Bench, Program, RunningWorker, binary};
use redcall_worker::Worker;
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use rustix::process::{Pid, Signal};
use serde_json::{Value, json};
use tokio::net::TcpSocket;

pub(crate) use places::{now_ms, root};
pub(crate) use server::{Stopped, blocked, carried_out, client_connections, cut};

/// The keys that foreign clients script against.
pub(crate) const QUEUE: &str = "redcall:{default}:queue";
pub(crate) const DEAD: &str = "redcall:{default}:dead";
pub(crate) const LIVE: &str = "redcall:{default}:live";
pub(crate) const CANCELLED: &str = "redcall:{default}:cancelled";
pub(crate) const SCHEDULE: &str = "redcall:{default}:schedule";
pub(crate) const WORKERS: &str = "redcall:{default}:workers";
/// The response key of a request with the id `x`.
pub(crate) const RESPONSE_KEY: &str = "redcall:{default}:response:x";

/// How long a call may wait for its connection.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);
/// The time limit for expected events, longer than any takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// A fraction of a second, and all that a machine adds which stops its processes meanwhile.
pub(crate) const AT_ONCE: Duration = Duration::from_secs(5);
/// A second, as promised, and two for a machine that stops its processes meanwhile.
pub(crate) const SOON: Duration = Duration::from_secs(3);
/// The timeout of calls that are tested for something else, on a machine of any speed.
pub(crate) const UNTIMED: Duration = Duration::from_secs(100);
/// Longer than a test.
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// A lease that does not end within a test, and no later than any can (Redis ms).
pub(crate) fn in_an_hour() -> f64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    (now + Duration::from_secs(3_000)).as_millis() as f64
}

/// A worker is in the registry of `queue`, and takes nothing: requests stay where they are.
pub(crate) async fn seems_served(conn: &mut MultiplexedConnection, queue: &str) {
    let workers = format!("redcall:{{{queue}}}:workers");
    let () = conn.zadd(workers, "absent", in_an_hour()).await.unwrap();
}

/// The response key of `id` on the default queue.
pub(crate) fn response_key(id: &str) -> String {
    format!("redcall:{{default}}:response:{id}")
}

/// An envelope with a response key of its own, and `rest` (`,"field":…`) after it.
pub(crate) fn waited(id: &str, name: &str, data: &str, rest: &str) -> String {
    let key = response_key(id);
    format!(r#"{{"id":"{id}","name":"{name}","data":{data},"response_key":"{key}"{rest}}}"#)
}

/// The frame of an error: `rest` follows the message inside it.
pub(crate) fn error_frame(id: &str, code: Code, message: &str, rest: &str) -> String {
    let (key, message) = (response_key(id), Value::from(message));
    format!(r#"{{"id":"{id}","response_key":"{key}","type":"error","seq":1,"attempt":1,"#)
        + &format!(r#""error":{{"code":"{code}","message":{message}{rest}}}}}"#)
}

/// The error with which a call ended that was queued.
#[track_caller]
pub(crate) fn failed<T: std::fmt::Debug>(called: Result<T, CallError>) -> WireError {
    match called.unwrap_err() {
        CallError::Failed(error) => error,
        other => panic!("{other:?}"),
    }
}

/// The frame of an answer.
pub(crate) fn result_frame(id: &str, data: &str) -> String {
    let key = response_key(id);
    let start = format!(r#"{{"id":"{id}","response_key":"{key}","type":"result","#);
    start + &format!(r#""seq":1,"attempt":1,"data":{data}}}"#)
}

/// How an element comes to a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// By the blocked pop of an idle worker.
    Idle,
    /// In the midst of a backlog, by a poll of a busy one.
    Busy,
}

pub(crate) const WAYS: [Way; 2] = [Way::Idle, Way::Busy];

/// A dead letter, field by field.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DeadLetter {
    pub(crate) id: String,
    pub(crate) code: String,
    pub(crate) reason: String,
    pub(crate) worker: String,
    pub(crate) request: Vec<u8>,
}

/// All dead letters of the default queue, oldest first.
pub(crate) async fn dead_letters(conn: &mut MultiplexedConnection) -> Vec<DeadLetter> {
    type Entry = (String, HashMap<String, Vec<u8>>);
    let range = redis::cmd("XRANGE").arg(DEAD).arg("-").arg("+").to_owned();
    let entries: Vec<Entry> = range.query_async(conn).await.unwrap();
    let letter = |(_, mut fields): Entry| {
        let request = fields.remove("request").unwrap();
        let mut text = |name| String::from_utf8(fields.remove(name).unwrap()).unwrap();
        let (id, code) = (text("id"), text("code"));
        let letter =
            DeadLetter { id, code, reason: text("reason"), worker: text("worker"), request };
        // Only requests that ran have one; the tests of histories check it.
        fields.remove("history");
        assert!(fields.is_empty(), "further fields: {fields:?}");
        letter
    };
    entries.into_iter().map(letter).collect()
}

/// Every key of the server, sorted.
pub(crate) async fn keys(conn: &mut MultiplexedConnection) -> Vec<String> {
    let mut keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(conn).await.unwrap();
    keys.sort_unstable();
    keys
}

/// Returns `true` if a key belongs to the registry of queues and workers.
pub(crate) fn is_registry(key: &str) -> bool {
    let tail = key.strip_prefix("redcall:{default}:");
    key == "redcall:queues"
        || tail.is_some_and(|what| {
            let of_workers = ["worker:", "poll:"].iter().any(|start| what.starts_with(start));
            matches!(what, "workers" | "names" | "lanes") || of_workers
        })
}

/// A loopback address that refuses connections. Bound for as long as the socket lives: no other
/// program can listen there meanwhile.
pub(crate) fn closed_port() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// A loopback address at which a program can listen that cannot report the one it has. Other
/// programs of this machine, which take any free port, get none of these: they are below those that
/// Linux gives away. Tests that run at once are processes of their own, and so have other ones.
pub(crate) fn unused_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let process = u16::try_from(std::process::id() % 1_000).unwrap();
    loop {
        let port = 20_000 + 10 * process + NEXT.fetch_add(1, Ordering::Relaxed) % 10;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// A worker on the default queue alone, and a foreign client's plain connection.
pub(crate) struct Foreign {
    // First, since it takes its leave of a server that still runs.
    _running: RunningWorker,
    pub(crate) conn: MultiplexedConnection,
    pub(crate) client: Client,
    _bench: Bench,
    worker: String,
    pushed: usize,
}

impl Foreign {
    /// A worker with the built-in handlers.
    pub(crate) async fn start() -> Self {
        Self::with(Bench::new().await, |worker| worker).await
    }

    /// A worker of `bench` with the handlers that `build` puts in. It runs four jobs at a time, so
    /// that fifty make a backlog.
    pub(crate) async fn with(mut bench: Bench, build: impl FnOnce(Worker) -> Worker) -> Self {
        bench.settings.worker.queues = vec!["default".to_owned()];
        bench.settings.worker.concurrency = 4;
        let running = bench.worker_with(build).await;
        let worker = bench.workers().await.remove(0).id;
        let (conn, client) = (bench.redis.connection().await, bench.client().await);
        Self { _running: running, conn, client, _bench: bench, worker, pushed: 0 }
    }

    /// Pushes `raw` so that it comes to the worker by `way`.
    pub(crate) async fn push(&mut self, way: Way, raw: impl AsRef<[u8]>) {
        let raw = raw.as_ref();
        match way {
            Way::Idle => {
                eventually("the worker to be idle", async || {
                    (blocked(&mut self.conn).await == 1).then_some(())
                })
                .await;
                let () = self.conn.rpush(QUEUE, raw).await.unwrap();
            }
            Way::Busy => {
                let ids: Vec<String> =
                    (0..50).map(|n| format!("good{}-{n}", self.pushed)).collect();
                let good = ids.iter().map(|id| waited(id, "add", r#"{"a":1,"b":1}"#, ""));
                let mut elements: Vec<Vec<u8>> = good.map(String::into_bytes).collect();
                elements.insert(25, raw.to_vec());
                let () = self.conn.rpush(QUEUE, elements).await.unwrap();
                for id in ids {
                    assert_eq!(self.frame(&id).await, result_frame(&id, r#"{"answer":2}"#));
                }
            }
        }
        self.pushed += 1;
    }

    /// The only frame at the response key of `id`, which has a TTL. Takes it away.
    pub(crate) async fn frame(&mut self, id: &str) -> String {
        let key = response_key(id);
        let mut frames: Vec<String> = eventually("a frame", async || {
            let frames: Vec<String> = self.conn.lrange(&key, 0, -1).await.unwrap();
            (!frames.is_empty()).then_some(frames)
        })
        .await;
        assert_eq!(frames.len(), 1, "{frames:?}");
        let ttl: i64 = self.conn.pttl(&key).await.unwrap();
        assert!((1..=600_000).contains(&ttl), "{key} goes in {ttl} ms");
        let () = self.conn.del(&key).await.unwrap();
        frames.remove(0)
    }

    /// The only dead letter. Removes it; its worker is checked here.
    pub(crate) async fn dead_letter(&mut self) -> DeadLetter {
        let mut letters = eventually("a dead letter", async || {
            let letters = dead_letters(&mut self.conn).await;
            (!letters.is_empty()).then_some(letters)
        })
        .await;
        assert_eq!(letters.len(), 1, "{letters:?}");
        assert_eq!(letters[0].worker, self.worker);
        let ttl: i64 = self.conn.pttl(DEAD).await.unwrap();
        assert!(ttl > 0, "dead letters go in {ttl} ms");
        let () = self.conn.del(DEAD).await.unwrap();
        letters.remove(0)
    }

    /// Pushes `raw` by each way, and expects a dead letter and nothing else, anywhere.
    pub(crate) async fn is_dead_lettered(&mut self, raw: impl AsRef<[u8]>, id: &str, reason: &str) {
        let raw = raw.as_ref();
        for way in WAYS {
            self.push(way, raw).await;
            let shown = String::from_utf8_lossy(raw);
            let letter = self.dead_letter().await;
            assert_eq!((&*letter.id, &*letter.code), (id, "invalid_request"), "{way:?} {shown}");
            assert_eq!(letter.reason, reason, "{way:?} {shown}");
            assert_eq!(letter.request, raw, "{way:?} {shown}");
            self.goes_on().await;
        }
    }

    /// Pushes `raw` by each way, and expects this frame and nothing else, anywhere.
    pub(crate) async fn is_answered(&mut self, raw: impl AsRef<[u8]>, id: &str, frame: &str) {
        let raw = raw.as_ref();
        for way in WAYS {
            self.push(way, raw).await;
            assert_eq!(self.frame(id).await, frame, "{way:?} {}", String::from_utf8_lossy(raw));
            self.goes_on().await;
        }
    }

    /// The worker answers, and only the registry is at Redis.
    pub(crate) async fn goes_on(&mut self) {
        let answer = self.client.call_and_wait("add", &json!({"a": 2, "b": 3})).await.unwrap();
        assert_eq!(answer.data.get(), r#"{"answer":5}"#);
        let mut strays = Vec::new();
        eventually("nothing but the registry to be left", async || {
            let mut left = keys(&mut self.conn).await;
            left.retain(|key| !is_registry(key));
            if left != strays {
                eprintln!("still there: {left:?}");
                strays = left;
            }
            strays.is_empty().then_some(())
        })
        .await;
    }

    /// Waits until the worker holds a request of this id.
    pub(crate) async fn is_leased(&mut self, id: &str) {
        eventually("the request to be leased", async || {
            self.conn.hexists::<_, _, bool>(LIVE, id).await.unwrap().then_some(())
        })
        .await;
    }
}

/// A settings file in a folder of its own.
pub(crate) struct SettingsFile {
    folder: tempfile::TempDir,
    pub(crate) path: PathBuf,
}

impl SettingsFile {
    /// `redcall.toml` with this text.
    pub(crate) fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap().join("redcall.toml");
        std::fs::write(&path, text).unwrap();
        Self { folder, path }
    }

    /// Its folder, without links in the path.
    pub(crate) fn dir(&self) -> PathBuf {
        self.folder.path().canonicalize().unwrap()
    }

    pub(crate) fn arg(&self) -> &str {
        self.path.to_str().unwrap()
    }
}

/// The output of a program, and its end.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ran {
    /// Runs a program outside the test's runtime.
    pub(crate) async fn new(name: &str, args: &[&str], env: &BTreeMap<String, String>) -> Self {
        let (name, env) = (name.to_owned(), env.clone());
        let args: Vec<String> = args.iter().map(ToString::to_string).collect();
        let running = tokio::task::spawn_blocking(move || {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            Program::run(&name, &args, &env)
        });
        running.await.unwrap().into()
    }

    /// Checks that stderr has `text`, regardless of line breaks and frames.
    #[track_caller]
    pub(crate) fn stderr_has(&self, text: &str) {
        let squeezed = |text: &str| text.replace(['×', '│', '├', '─', '▶', '╰', ' ', '\n'], "");
        let Self { code, stderr, .. } = self;
        let stderr_has = squeezed(stderr).contains(&squeezed(text));
        assert!(stderr_has, "exit code {code}; not in stderr: {text}\n{stderr}");
    }
}

/// A program whose stderr is read as it comes. Killed when dropped.
pub(crate) struct Logged {
    child: Child,
    log: Arc<Mutex<String>>,
    /// Ends with the program's stderr.
    reader: JoinHandle<()>,
}

impl Logged {
    /// Starts `name` with no other environment than `PATH` and `env`.
    pub(crate) fn start(name: &str, args: &[&str], env: &BTreeMap<String, String>) -> Self {
        let mut child = Command::new(binary(name))
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .envs(env)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (log, stderr) = (Arc::<Mutex<String>>::default(), child.stderr.take().unwrap());
        let written = log.clone();
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut log = written.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        Self { child, log, reader }
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns `true` if it has not ended yet.
    pub(crate) fn is_running(&self) -> bool {
        is_running(i32::try_from(self.pid()).unwrap())
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Returns its log so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits until it has ended; returns its whole log: its last lines may be read after its end.
    pub(crate) async fn ended(&self) -> String {
        let is_over = || !self.is_running() && self.reader.is_finished();
        eventually("the program to end", async || is_over().then_some(())).await;
        self.log()
    }

    /// The line of its log that holds `text`, as soon as there is one.
    pub(crate) async fn line(&self, text: &str) -> String {
        eventually("a line of the log", async || {
            self.log().lines().find(|line| line.contains(text)).map(str::to_owned)
        })
        .await
    }
}

impl Drop for Logged {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `name` with `input` on stdin.
pub(crate) fn run_with_input(
    name: &str,
    args: &[&str],
    env: &BTreeMap<String, String>,
    input: &str,
) -> Ran {
    let mut command = Command::new(binary(name));
    command.args(args).env_clear().envs(env).stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap().into()
}

/// Returns `true` if a process runs: neither ended and collected, nor a zombie.
pub(crate) fn is_running(pid: i32) -> bool {
    let Some(process) = Pid::from_raw(pid) else { return false };
    if rustix::process::test_kill_process(process).is_err() {
        return false;
    }
    // Without /proc, every parent is expected to collect it.
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"));
    let state = |stat: String| Some(stat.rsplit_once(") ")?.1.starts_with('Z'));
    !stat.ok().and_then(state).unwrap_or(false)
}
