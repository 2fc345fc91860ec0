//! A pool that serves several job names, and processes that have several requests at once.

use std::time::Duration;

use redcall_client::Client;
use redcall_common::settings::{
    HandlerSettings, JobSettings, OnWorkerLoss, PoolSettings, ProcessSettings,
};
use redcall_testkit::eventually;
use redcall_tests::{Bench, RunningWorker};
use redis::AsyncCommands;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::{LIVE, SettingsFile, failed};

const MODULE: &str = r#"
import asyncio, os
from redcall_process import job, progress

CONCURRENCY = 8
together, went = 0, asyncio.Event()

def pid(): return os.getpid()

async def meet(count):
    """Returns when so many run here at once."""
    global together
    together += 1
    if together >= count: went.set()
    await went.wait()
    return [os.getpid(), together, job().id]

async def meet_too(count): return await meet(count)

async def part(of):
    for n in range(of):
        progress([job().id, n], "chunk")
        await asyncio.get_running_loop().run_in_executor(None, int)
    return of

async def nap(): await asyncio.Event().wait()

async def die(): os.kill(os.getpid(), 9)

async def hold(port):
    """Returns when the connection is closed."""
    reader, _ = await asyncio.open_connection("127.0.0.1", port)
    await reader.read()
    return os.getpid()

async def deaf(port):
    """Goes on when it is cancelled."""
    connection = await asyncio.open_connection("127.0.0.1", port)
    while True:
        try: await asyncio.Event().wait()
        except asyncio.CancelledError: pass

def is_alive(pid):
    try: os.kill(pid, 0)
    except ProcessLookupError: return False
    return True
"#;

/// A worker whose jobs share a pool of one Python process.
struct Shared {
    // First, since it takes its leave of a server that still runs.
    _worker: RunningWorker,
    client: Client,
    bench: Bench,
    _file: SettingsFile,
}

impl Shared {
    async fn new(instances: usize) -> Self {
        // No cancelled function takes that long to end.
        Self::with_grace(instances, Duration::from_secs(60)).await
    }

    /// Cancelled jobs may continue for `grace`; then their process is given up.
    async fn with_grace(instances: usize, grace: Duration) -> Self {
        let helper = concat!(env!("CARGO_MANIFEST_DIR"), "/../../python/redcall_process.py");
        let (mut bench, file) = (Bench::new().await, SettingsFile::new(""));
        bench.settings.worker.cancel_grace = grace;
        std::fs::write(file.dir().join("module.py"), MODULE).unwrap();
        bench.settings.file = Some(file.path.clone());
        let command = ["python3", helper, "module"].map(str::to_owned).into();
        let process = ProcessSettings { instances, ..ProcessSettings::new(command) };
        let pool = PoolSettings { process };
        bench.settings.pools.insert("module".to_owned(), pool);
        for name in ["pid", "meet", "meet_too", "part", "nap", "die", "hold", "deaf", "is_alive"] {
            let mut job = JobSettings::new(HandlerSettings::Pool("module".to_owned()));
            if name == "die" {
                // Else the others would die with it as often.
                job.on_worker_loss = OnWorkerLoss::Fail;
            }
            bench.settings.jobs.insert(name.to_owned(), job);
        }
        let (worker, client) = (bench.worker().await, bench.client().await);
        Self { _worker: worker, client, bench, _file: file }
    }

    async fn call(&self, name: &str, data: &Value) -> Value {
        self.client.call_and_wait(name, data).await.unwrap().json().unwrap()
    }
}

#[tokio::test]
async fn jobs_of_a_pool_share_its_processes() {
    let shared = Shared::new(1).await;
    let pid = shared.call("pid", &json!({})).await;
    let met = shared.call("meet", &json!({"count": 1})).await;
    assert_eq!(met[0], pid);
    assert_eq!(shared.call("pid", &json!({})).await, pid);
}

#[tokio::test]
async fn waiting_jobs_of_a_full_pool_leave_capacity_for_others() {
    let shared = Shared::new(1).await;
    // Known from the first handshake on.
    shared.call("pid", &json!({})).await;
    let slots = shared.bench.settings.worker.concurrency;
    let naps: Vec<_> = (0..slots).map(|_| shared.client.request("nap").submit()).collect();
    futures_util::future::try_join_all(naps).await.unwrap();
    // Each is leased in a poll that could lease further naps.
    for n in 0..slots {
        assert_eq!(shared.call("echo", &json!(n)).await, json!(n));
    }
    let mut conn = shared.bench.redis.connection().await;
    // A nap beyond them may be leased for a moment, until it is given back.
    eventually("only as many naps to be leased as the process runs", async || {
        let live: usize = conn.hlen(LIVE).await.unwrap();
        (live == 8).then_some(())
    })
    .await;
}

#[tokio::test]
async fn process_gets_the_concurrency_of_its_handshake() {
    let shared = Shared::new(1).await;
    // Known from the first handshake on.
    shared.call("pid", &json!({})).await;
    let data = json!({"count": 8});
    let calls = (0..8).map(|n| {
        let name = if n % 2 == 0 { "meet" } else { "meet_too" };
        shared.client.call_and_wait(name, &data)
    });
    let mut ids = Vec::new();
    for met in futures_util::future::join_all(calls).await {
        let met = met.unwrap();
        let answer: Value = met.json().unwrap();
        assert_eq!((&answer[1], &answer[2]), (&json!(8), &json!(met.id)));
        ids.push(met.id);
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 8);
}

#[tokio::test]
async fn streams_of_one_process_do_not_mix() {
    let shared = Shared::new(1).await;
    shared.call("pid", &json!({})).await;
    let streams = (0..4).map(async |_| {
        let mut stream =
            shared.client.request("part").data(&json!({"of": 50})).stream().await.unwrap();
        let id = stream.id().to_owned();
        for n in 0..50 {
            let redcall_client::Update::Chunk(part) = stream.next().await.unwrap().unwrap() else {
                panic!("no chunk");
            };
            let part: Value = serde_json::from_str(part.get()).unwrap();
            assert_eq!(part, json!([id, n]));
        }
    });
    futures_util::future::join_all(streams).await;
}

#[tokio::test]
async fn cancelled_request_leaves_its_neighbours_running() {
    let shared = Shared::new(1).await;
    let pid = shared.call("pid", &json!({})).await;
    let ticket = shared.client.request("nap").submit().await.unwrap();
    let data = json!({"count": 2});
    let waiting = shared.client.call_and_wait("meet", &data);
    let others = async {
        eventually("both to run", async || {
            (shared.bench.workers().await[0].running == 2).then_some(())
        })
        .await;
        ticket.cancel().await.unwrap();
        assert_eq!(ticket.wait().await.unwrap_err().code(), redcall_client::Code::Cancelled);
        shared.call("meet", &data).await
    };
    let (met, last) = tokio::join!(waiting, others);
    assert_eq!((&met.unwrap().json::<Value>().unwrap()[0], &last[0]), (&pid, &pid));
}

#[tokio::test]
async fn process_that_dies_takes_all_that_it_has_and_they_run_again() {
    let shared = Shared::new(1).await;
    let pid = shared.call("pid", &json!({})).await;
    let data = json!({"count": 2});
    let waiting = shared.client.request("meet").data(&data).timeout(Duration::from_secs(20));
    let others = async {
        eventually("it to run", async || {
            (shared.bench.workers().await[0].running == 1).then_some(())
        })
        .await;
        let error = failed(shared.client.call_and_wait("die", &json!({})).await);
        assert_eq!(error.code, redcall_client::Code::WorkerLost);
        shared.call("meet", &data).await
    };
    let (met, last) = tokio::join!(waiting.wait(), others);
    let met: Value = met.unwrap().json().unwrap();
    assert!(met[0] != pid && met[0] == last[0], "{met} {last} {pid}");
}

#[tokio::test]
async fn next_process_starts_when_the_one_that_was_given_up_has_ended() {
    let shared = Shared::with_grace(1, Duration::from_millis(500)).await;
    let old = shared.call("pid", &json!({})).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = json!({"port": listener.local_addr().unwrap().port()});
    let held = shared.client.request("hold").data(&port).submit().await.unwrap();
    let (hold, _) = listener.accept().await.unwrap();
    let deaf = shared.client.request("deaf").data(&port).submit().await.unwrap();
    let _runs = listener.accept().await.unwrap();
    // The registry is as old as the last heartbeat.
    eventually("both jobs to be registered", async || {
        (shared.bench.workers().await[0].running == 2).then_some(())
    })
    .await;
    deaf.cancel().await.unwrap();
    assert_eq!(deaf.wait().await.unwrap_err().code(), redcall_client::Code::Cancelled);
    eventually("the worker to give the process up", async || {
        (shared.bench.workers().await[0].running == 1).then_some(())
    })
    .await;
    // It gets no further request, and has one still.
    let old_pid = json!({"pid": old});
    let next = shared.client.call_and_wait("is_alive", &old_pid);
    tokio::pin!(next);
    let early = tokio::time::timeout(Duration::from_secs(1), &mut next).await;
    assert!(early.is_err(), "{early:?}");
    drop(hold);
    assert_eq!(held.wait().await.unwrap().json::<Value>().unwrap(), old);
    assert_eq!(next.await.unwrap().data.get(), "false");
}
