//! The address and lifetime of the probes, and the requests that the server tolerates.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use redcall_testkit::eventually;
use redcall_tests::Bench;
use rustix::process::Signal;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Served, try_get};
use crate::support::held::HeldCommand;
use crate::support::{Logged, Ran, SettingsFile};

#[tokio::test]
async fn probes_are_off_by_default() {
    let bench = Bench::new().await;
    let worker = Logged::start("redcall-worker", &[], &bench.environment());
    worker.line(": ready").await;
    assert!(!worker.log().contains("probes and metrics"), "{}", worker.log());
}

#[tokio::test]
async fn it_listens_before_it_is_ready_and_a_taken_address_ends_it() {
    let bench = Bench::new().await;
    let served = Served::of(&bench).await;
    let log = served.program.log();
    let listens = log.find("serving probes and metrics").unwrap();
    assert!(listens < log.find(": ready").unwrap(), "{log}");

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap();
    let mut env = bench.environment();
    env.insert("REDCALL__ADMIN__LISTEN".into(), taken.to_string());
    let ran = Ran::new("redcall-worker", &[], &env).await;
    ran.stderr_has(&format!("admin.listen: cannot listen on {taken}"));
    ran.stderr_has("REDCALL__ADMIN__LISTEN");
    assert_eq!(ran.code, 1);
    assert!(!ran.stderr.contains(": ready"), "{}", ran.stderr);
}

#[tokio::test]
async fn it_is_served_while_the_worker_drains_and_no_longer() {
    let (bench, held) = (Bench::new().await, HeldCommand::new());
    let mut env = bench.environment();
    env.extend([held.variable()]);
    let served = Served::start("redcall-worker", env).await;
    let client = bench.client().await;
    served.becomes(200).await;
    let call = tokio::spawn(client.request("held").wait());
    held.runs().await;
    served.counts(r#"redcall_slots{state="busy"}"#, 1.0).await;
    served.program.signal(Signal::TERM);
    let answer = served.becomes(503).await;
    assert_eq!(answer.reasons(), ["draining"]);
    assert_eq!(served.get("/live").await.status, 200);
    assert!(served.metrics().await.contains_key("redcall_takeovers_total"));
    held.end();
    call.await.unwrap().unwrap();
    eventually("the address to be free", async || {
        try_get(served.address, "/live").await.is_none().then_some(())
    })
    .await;
    eventually("the worker to end", async || (!served.program.is_running()).then_some(())).await;
}

#[tokio::test]
async fn reading_the_settings_again_leaves_it_as_it_is() {
    let bench = Bench::new().await;
    let text = "[jobs.add]\nhandler = 'builtin:add'\n[admin]\nlisten = '127.0.0.1:0'\n";
    let file = SettingsFile::new(text);
    let env = [("REDIS_URL", bench.redis.url()), ("REDCALL_SETTINGS", file.arg().to_owned())];
    let env = env.map(|(key, value)| (key.to_owned(), value)).into();
    let served = Served::start("redcall-worker", env).await;
    let add = json!({"a": 1, "b": 1});
    let client = bench.client().await;
    client.call_and_wait("add", &add).await.unwrap();
    let changed = text.replace("builtin:add", "builtin:echo").replace(":0", ":1");
    std::fs::write(&file.path, changed).unwrap();
    served.program.signal(Signal::HUP);
    served.program.line("reloaded the jobs").await;
    assert_eq!(client.call_and_wait("add", &add).await.unwrap().data.get(), add.to_string());
    served.becomes(200).await;
    assert_eq!(served.get("/live").await.status, 200);
    served.counts(r#"redcall_jobs_total{job="add",outcome="ok"}"#, 2.0).await;
}

#[tokio::test]
async fn other_paths_and_methods_are_refused_and_closed() {
    let served = Served::of(&Bench::new().await).await;
    for path in ["/", "/livez", "/ready/x", "/metrics?x=1"] {
        let answer = served.get(path).await;
        assert_eq!(answer.status, if path.starts_with("/metrics") { 200 } else { 404 }, "{path}");
        assert!(answer.head.contains("connection: close"), "{}", answer.head);
    }
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream.write_all(b"POST /ready HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 405 "), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_http_request_is_closed_without_blocking_others() {
    let served = Served::of(&Bench::new().await).await;
    let mut silent = Vec::new();
    let begun = Instant::now();
    for _ in 0..100 {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        stream.write_all(b"GET /live HTTP/1.1\r\n").await.unwrap();
        silent.push(stream);
    }
    assert_eq!(served.get("/live").await.status, 200);
    for mut stream in silent {
        let mut text = Vec::new();
        let _ = stream.read_to_end(&mut text).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_connections_are_closed_for_new_probes() {
    let bench = Bench::new().await;
    let mut env = bench.environment();
    // Parallel tests must not make it unready.
    env.insert("REDCALL__WORKER__LEASE".into(), "5s".into());
    let served = Served::start("redcall-worker", env).await;
    served.becomes(200).await;
    let address = served.address;
    // More than there are places, at any time: each is opened again as soon as it is closed.
    let mut mute = tokio::task::JoinSet::new();
    for _ in 0..400 {
        mute.spawn(async move {
            loop {
                let Ok(mut stream) = TcpStream::connect(address).await else { continue };
                let _ = stream.read(&mut [0]).await;
            }
        });
    }
    for _ in 0..20 {
        for path in ["/live", "/ready", "/metrics"] {
            let begun = Instant::now();
            // One that this busy process keeps silent for too long is closed as the others are.
            let answer = eventually("an answer", async || try_get(address, path).await).await;
            assert_eq!(answer.status, 200, "{path}");
            // Room for a busy machine: without a place it would wait for a whole connection.
            assert!(begun.elapsed() < Duration::from_secs(5), "{path}: {:?}", begun.elapsed());
        }
    }
    mute.shutdown().await;
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let served = Served::of(&Bench::new().await).await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    let line = format!("x: {}\r\n", "x".repeat(1000));
    let head = format!("GET /live HTTP/1.1\r\nhost: x\r\n{}\r\n", line.repeat(15));
    let _ = stream.write_all(head.as_bytes()).await;
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text).await;
    assert!(!text.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&text));
}
