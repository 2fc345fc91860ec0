//! SIGHUP: the mapping is read again, while jobs run.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

use std::collections::BTreeMap;

use redcall_client::{Client, Code};
use redcall_testkit::{TestRedis, eventually};
use redcall_tests::Bench;
use redis::AsyncCommands;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::support::{Logged, SettingsFile};

struct Stage {
    worker: Logged,
    file: SettingsFile,
    client: Client,
    bench: Bench,
}

impl Stage {
    async fn new(mapping: &str) -> Self {
        let bench = Bench::on(TestRedis::start().await);
        let file = SettingsFile::new(mapping);
        let env = BTreeMap::from([("REDIS_URL".to_owned(), bench.redis.url())]);
        let worker = Logged::start("redcall-worker", &["--settings", file.arg()], &env);
        let client = bench.client().await;
        eventually("the worker to appear", async || {
            (client.inspect().workers().await.unwrap().len() == 1).then_some(())
        })
        .await;
        Self { worker, file, client, bench }
    }

    /// Writes another mapping and tells the worker.
    fn maps(&self, mapping: &str) {
        std::fs::write(&self.file.path, mapping).unwrap();
        self.hang_up();
    }

    fn hang_up(&self) {
        let pid = Pid::from_raw(i32::try_from(self.worker.pid()).unwrap()).unwrap();
        kill_process(pid, Signal::HUP).unwrap();
    }

    async fn jobs(&self) -> Vec<String> {
        self.client.inspect().workers().await.unwrap().remove(0).jobs
    }
}

const OLD: &str = "[jobs.old]\nhandler = 'builtin:echo'\n[jobs.slow]\nhandler = 'builtin:sleep'\n";
const NEW: &str = "[jobs.new]\nhandler = 'builtin:echo'\n";

#[tokio::test]
async fn a_new_mapping_serves_and_what_runs_goes_on() {
    let stage = Stage::new(OLD).await;
    assert_eq!(stage.client.call_and_wait("old", &1).await.unwrap().data.get(), "1");
    let slow = stage.client.request("slow").data(&json!({"ms": 1500})).submit().await.unwrap();
    let mut conn = stage.bench.redis.connection().await;
    eventually("the slow one to run", async || {
        conn.exists::<_, bool>("redcall:{default}:live").await.unwrap().then_some(())
    })
    .await;
    stage.maps(NEW);
    eventually("the new mapping to be known", async || {
        (stage.jobs().await == ["new"]).then_some(())
    })
    .await;
    assert_eq!(stage.client.call_and_wait("new", &2).await.unwrap().data.get(), "2");
    let error = stage.client.call_and_wait("old", &3).await.unwrap_err();
    assert_eq!(error.code(), Code::UnknownJob);
    assert_eq!(slow.wait().await.unwrap().data.get(), "null", "nothing of the old is dropped");
}

#[tokio::test]
async fn an_invalid_file_is_refused_and_the_old_mapping_stays() {
    let stage = Stage::new(OLD).await;
    stage.maps("[jobs.new]\nhandler = 'builtin:ech'\n");
    stage.worker.line("there is no handler `builtin:ech`").await;
    stage.maps("[jobs.new]\nhandle = 'builtin:echo'\n");
    stage.worker.line("jobs.new.handle: unknown key").await;
    assert_eq!(stage.client.call_and_wait("old", &1).await.unwrap().data.get(), "1");
    assert_eq!(stage.jobs().await, ["old", "slow"]);
    // Mended, it is taken; twice in a row does no harm.
    stage.maps(NEW);
    stage.hang_up();
    eventually("the new mapping to be known", async || {
        (stage.jobs().await == ["new"]).then_some(())
    })
    .await;
    assert_eq!(stage.client.call_and_wait("new", &2).await.unwrap().data.get(), "2");
}
