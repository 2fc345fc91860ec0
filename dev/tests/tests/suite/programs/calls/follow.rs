//! `redcall follow`: its output and exit codes; and a stream that continues in another process.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use redcall_client::Update;
use redcall_common::settings::{HandlerSettings, JobSettings};
use redcall_testkit::eventually;
use redcall_tests::{Bench, binary};
use redis::AsyncCommands;
use serde_json::json;

use crate::support::{Ran, response_key};

async fn counting() -> Bench {
    let mut bench = Bench::new().await;
    let count = JobSettings::new(HandlerSettings::Compiled("builtin:count".to_owned()));
    bench.settings.jobs.insert("count".to_owned(), count);
    bench
}

/// A `redcall` whose output is read line by line. Killed when dropped.
struct Reader {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Reader {
    fn start(bench: &Bench, args: &[&str]) -> Self {
        let mut command = Command::new(binary("redcall"));
        command.args(args).env_clear().envs(bench.environment()).stdin(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Reads the parts of these numbers.
    fn reads(&mut self, numbers: std::ops::RangeInclusive<u64>) {
        for number in numbers {
            let line = self.lines.next().unwrap().unwrap();
            assert_eq!(line, format!("{{\"chunk\":{number}}}"));
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The short form of `cargo xtask long stream`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stream_continues_in_another_process_after_a_kill() {
    const COUNT: u64 = 6000;
    let bench = counting().await;
    let _worker = bench.worker().await;
    let mut conn = bench.redis.connection().await;
    let client = bench.client().await;
    let stream = client.request("count").data(&json!({ "to": COUNT })).stream().await.unwrap();
    let key = stream.response_key().to_owned();
    // It reads nothing; the one that does is another process, which dies in the midst of it.
    let mut first = eventually("the first frame", async || {
        let is_there: bool = conn.exists(&key).await.unwrap();
        is_there.then(|| Reader::start(&bench, &["follow", &key]))
    })
    .await;
    tokio::task::block_in_place(|| first.reads(1..=1500));
    drop(first);
    eventually("the writer to wait", async || {
        let lie: u64 = conn.llen(&key).await.unwrap();
        assert!(lie <= 1000, "{lie} lie unread");
        (lie == 1000).then_some(())
    })
    .await;
    // Its position: the last trimmed frame is before the first one at the key.
    let raw: String = conn.lindex(&key, 0).await.unwrap();
    let next = serde_json::from_str::<serde_json::Value>(&raw).unwrap()["seq"].as_u64().unwrap();
    assert!(next >= 1500 - 64, "{next}");
    let mut second = Reader::start(&bench, &["follow", &key, "--from", &next.to_string()]);
    tokio::task::block_in_place(|| {
        second.reads(next..=COUNT);
        assert_eq!(second.lines.next().unwrap().unwrap(), format!("{{\"result\":{COUNT}}}"));
        assert!(second.lines.next().is_none());
        assert!(second.child.wait().unwrap().success());
    });
    drop(stream);
}

#[tokio::test]
async fn unfollowable_job_is_reported() {
    let bench = counting().await;
    let _worker = bench.worker().await;
    let env = bench.environment();
    let ran = Ran::new("redcall", &["follow", &response_key("never")], &env).await;
    assert_eq!((ran.code, &*ran.stdout), (1, ""));
    ran.stderr_has("the response key is empty");
    let ran = Ran::new("redcall", &["--json", "follow", "somewhere"], &env).await;
    let error: serde_json::Value = serde_json::from_str(&ran.stderr).unwrap();
    assert_eq!((ran.code, &error["error"]["code"]), (1, &json!("invalid_request")));
    // A submitted job that has ended is followed to its end, once.
    let client = bench.client().await;
    let ticket = client.request("count").data(&json!({"to": 2, "size": 3})).submit().await.unwrap();
    let key = ticket.response_key.clone();
    let mut follow = client.follow(&key, 1).await.unwrap();
    assert!(matches!(follow.next().await.unwrap().unwrap(), Update::Chunk(_)));
    drop(follow);
    let ran = Ran::new("redcall", &["follow", &key], &env).await;
    let printed = "{\"chunk\":\"001\"}\n{\"chunk\":\"002\"}\n{\"result\":2}\n";
    assert_eq!((ran.code, &*ran.stdout), (0, printed));
    let ran = Ran::new("redcall", &["follow", &key], &env).await;
    assert_eq!(ran.code, 1);
}
