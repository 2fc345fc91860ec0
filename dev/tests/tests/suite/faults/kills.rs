//! Workers that are killed, stopped, or cut off at a certain step of a job's life: the job may run
//! again, but it is answered once.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

mod deferred;
mod deploy;
mod lost;
mod steps;
mod stopped;
mod tracked;

use redcall_client::{Client, Ticket};
use redcall_testkit::{FaultProxy, eventually};
use redcall_tests::Bench;
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::support::{LIVE, Logged};

/// Part of the data of every job, to find its messages on the wire.
const MARK: &str = "a-job-of-kills";

/// A Redis with a proxy in front of it, and a folder in which workers note their steps.
struct Stage {
    client: Client,
    conn: MultiplexedConnection,
    folder: tempfile::TempDir,
    proxy: FaultProxy,
    bench: Bench,
}

impl Stage {
    async fn new() -> Self {
        let bench = Bench::new().await;
        let proxy = FaultProxy::start(&bench.redis);
        let (client, conn) = (bench.client().await, bench.redis.connection().await);
        Self { client, conn, folder: tempfile::tempdir().unwrap(), proxy, bench }
    }

    /// One whose workers lease each request at once: their lanes stop at cancelled ids.
    async fn without_lanes() -> Self {
        let stage = Self::new().await;
        stage.client.cancel_in("default", "01890000-0000-7000-8000-000000000000").await.unwrap();
        stage
    }

    /// A worker that kills itself at step `dies`, if that is given, at `url`. Returns once callers
    /// can see it.
    async fn worker_at(&self, url: String, dies: Option<&str>) -> Logged {
        let mut env = self.bench.environment();
        env.insert("REDIS_URL".into(), url);
        env.insert("REDCALL__WORKER__QUEUES".into(), "default".into());
        env.insert("MORTAL_FOLDER".into(), self.folder.path().to_str().unwrap().into());
        env.extend(dies.map(|step| ("MORTAL_DIES".into(), step.into())));
        let worker = Logged::start("mortal", &[], &env);
        eventually("the worker to appear", async || {
            let workers = self.bench.workers().await;
            workers.iter().any(|seen| seen.pid == worker.pid()).then_some(())
        })
        .await;
        worker
    }

    /// One that talks to Redis through the proxy.
    async fn cut_off(&self) -> Logged {
        self.worker_at(self.proxy.url(), None).await
    }

    /// One that lives, and talks to Redis directly.
    async fn successor(&self) -> Logged {
        self.worker_at(self.bench.redis.url(), None).await
    }

    /// Queues a job whose first run waits for the file `until`, if that is given.
    async fn submit(&self, name: &str, until: Option<&str>) -> Ticket {
        let data = json!({ "mark": MARK, "until": until });
        self.client.request(name).data(&data).submit().await.unwrap()
    }

    /// Returns the steps so far: step and attempt of each line, and the process.
    fn effects(&self) -> Vec<(String, u32)> {
        let text = std::fs::read_to_string(self.folder.path().join("effects"));
        let text = text.unwrap_or_default();
        let line = |line: &str| {
            let (what, pid) = line.rsplit_once(' ').unwrap();
            (what.to_owned(), pid.parse().unwrap())
        };
        text.lines().map(line).collect()
    }

    /// Waits until process `by` has done `what`.
    async fn has_done(&self, what: &str, by: &Logged) {
        eventually("the worker to do it", async || {
            self.effects().contains(&(what.to_owned(), by.pid())).then_some(())
        })
        .await;
    }

    /// Waits until process `by` has begun to run the job; returns the number of that run. Not
    /// always the one after the last: a request that a stalled worker sent before takes effect
    /// later, so that it may lease a lost job once more.
    async fn has_run(&self, by: &Logged) -> u32 {
        eventually("the worker to run the job", async || {
            let effects = self.effects();
            let run =
                effects.iter().find(|(what, pid)| what.starts_with("ran ") && *pid == by.pid());
            run.and_then(|(what, _)| what.strip_prefix("ran ")?.parse().ok())
        })
        .await
    }

    /// Watches the response key of `ticket` from now on.
    async fn watch(&self, ticket: &Ticket) -> Watch {
        Watch::new(self.bench.redis.connection().await, ticket.response_key.clone())
    }

    /// Waits until no worker holds a request: no answer is in flight any more.
    async fn is_quiet(&mut self) {
        eventually("all leases to be gone", async || {
            let live: bool = self.conn.exists(LIVE).await.unwrap();
            (!live).then_some(())
        })
        .await;
    }

    /// The caller gets the answer of run `attempt`, and no other was ever there.
    async fn is_answered_once(&mut self, ticket: &Ticket, watch: Watch, attempt: u32) {
        eventually("the answer", async || {
            (final_frames(&mut self.conn, &ticket.response_key).await == 1).then_some(())
        })
        .await;
        self.is_quiet().await;
        assert_eq!(final_frames(&mut self.conn, &ticket.response_key).await, 1);
        assert_eq!(watch.max().await, 1, "final frames at the same time");
        assert_eq!(ticket.wait().await.unwrap().json::<u32>().unwrap(), attempt);
        self.client.flush().await;
        // The read answer is deleted; anything that came after it would stay.
        eventually("nothing to be left behind the answer", async || {
            let is_there: bool = self.conn.exists(&ticket.response_key).await.unwrap();
            (!is_there).then_some(())
        })
        .await;
    }
}

/// Counts without a pause the final frames at a response key.
struct Watch {
    stop: oneshot::Sender<()>,
    max: JoinHandle<usize>,
}

impl Watch {
    fn new(mut conn: MultiplexedConnection, key: String) -> Self {
        let (stop, mut stopped) = oneshot::channel();
        let max = tokio::spawn(async move {
            let mut max = 0;
            while stopped.try_recv() == Err(oneshot::error::TryRecvError::Empty) {
                max = max.max(final_frames(&mut conn, &key).await);
            }
            max
        });
        Self { stop, max }
    }

    /// The most that there ever were.
    async fn max(self) -> usize {
        self.stop.send(()).unwrap();
        self.max.await.unwrap()
    }
}

/// How many frames at a response key end the request.
async fn final_frames(conn: &mut MultiplexedConnection, key: &str) -> usize {
    let frames: Vec<String> = conn.lrange(key, 0, -1).await.unwrap();
    let ends = |frame: &&String| {
        let frame: Value = serde_json::from_str(frame).unwrap();
        frame["type"] == "result" || frame["type"] == "error"
    };
    frames.iter().filter(ends).count()
}

/// Kills a worker; returns when it is dead.
async fn kill(worker: &Logged) {
    worker.signal(Signal::KILL);
    is_dead(worker).await;
}

/// Waits until a worker has ended.
async fn is_dead(worker: &Logged) {
    eventually("the worker to die", async || (!worker.is_running()).then_some(())).await;
}
