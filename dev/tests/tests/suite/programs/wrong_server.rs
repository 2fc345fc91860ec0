//! `--timeout` against a server that is none of Redis, or one that has stopped: a verb ends in its
//! time, however much of it connecting takes.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

use std::time::{Duration, Instant};

use redcall_tests::Bench;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::support::Ran;

/// The time that each verb is given, and how long it may take in all, with its start, several at
/// once on a busy machine. Shorter than the five seconds for which a connection is tried otherwise.
const TIMEOUT: &str = "1500ms";
const LONGEST: Duration = Duration::from_millis(4900);

/// Every verb with a timeout.
const VERBS: [&[&str]; 7] = [
    &["call", "add", "{}", "--wait"],
    &["call", "add", "{}", "--stream"],
    &["call", "add", "{}"],
    &["service", "counter", "execute"],
    &["service", "counter", "state"],
    &["monitor", "abc"],
    &["follow", "redcall:{default}:response:abc"],
];

/// A wrong server's treatment of a connection.
#[derive(Clone, Copy)]
enum Wrong {
    /// It accepts the connection, and writes nothing.
    Silent,
    /// It writes the same text repeatedly.
    Sends(&'static str),
    /// It answers all that it reads with this.
    Answers(&'static str),
    /// It does, each time after a while.
    Slowly(&'static str),
}

async fn wrong(how: Wrong) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut read = [0; 4096];
                loop {
                    match how {
                        Wrong::Silent => std::future::pending().await,
                        Wrong::Sends(text) => stream.write_all(text.as_bytes()).await?,
                        Wrong::Answers(text) | Wrong::Slowly(text) => {
                            if stream.read(&mut read).await? == 0 {
                                return Ok::<_, std::io::Error>(());
                            }
                            if matches!(how, Wrong::Slowly(_)) {
                                let never = std::future::pending::<()>();
                                let _ = timeout(Duration::from_millis(900), never).await;
                            }
                            stream.write_all(text.as_bytes()).await?;
                        }
                    }
                }
            });
        }
    });
    url
}

async fn ends_in_time(url: &str) {
    let run = async |verb: &&[&str]| {
        let args = [&["--redis", url], *verb, &["--timeout", TIMEOUT]].concat();
        let begun = Instant::now();
        let ran = Ran::new("redcall", &args, &[].into()).await;
        assert!(begun.elapsed() < LONGEST, "{verb:?}: {:?}: {ran:?}", begun.elapsed());
        assert!([1, 3].contains(&ran.code) && !ran.stderr.is_empty(), "{verb:?}: {ran:?}");
        ran
    };
    for verbs in VERBS.chunks(4) {
        futures_util::future::join_all(verbs.iter().map(run)).await;
    }
}

#[tokio::test]
async fn silent_server_is_left_in_time_and_named() {
    let url = wrong(Wrong::Silent).await;
    ends_in_time(&url).await;
    let args = ["--redis", &url, "--json", "call", "add", "--wait", "--timeout", "300ms"];
    let ran = Ran::new("redcall", &args, &[].into()).await;
    let error: serde_json::Value = serde_json::from_str(&ran.stderr).unwrap();
    assert_eq!((ran.code, &error["error"]["code"]), (3, &"unavailable".into()));
    let message = error["error"]["message"].as_str().unwrap();
    let address = url.strip_prefix("redis://").unwrap();
    assert!(message.contains(address) && message.contains("300ms (--timeout)"), "{message}");
}

#[tokio::test]
async fn server_that_speaks_something_else_is_left_in_time() {
    for how in [
        Wrong::Sends("SSH-2.0-OpenSSH_9.2\r\n"),
        Wrong::Sends("+OK\r\n"),
        Wrong::Answers("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
        Wrong::Answers("+OK\r\n"),
    ] {
        ends_in_time(&wrong(how).await).await;
    }
}

#[tokio::test]
async fn server_that_takes_long_for_each_answer_is_left_in_time() {
    ends_in_time(&wrong(Wrong::Slowly("%0\r\n")).await).await;
    ends_in_time(&wrong(Wrong::Slowly("+OK\r\n+OK\r\n")).await).await;
}

#[tokio::test]
async fn stalled_redis_is_left_in_time() {
    let bench = Bench::new().await;
    let redis = Pid::from_raw(i32::try_from(bench.redis.pid()).unwrap()).unwrap();
    kill_process(redis, Signal::STOP).unwrap();
    ends_in_time(&bench.redis.url()).await;
    kill_process(redis, Signal::CONT).unwrap();
}

#[tokio::test]
async fn time_that_connecting_takes_is_taken_from_the_calls() {
    let bench = Bench::new().await;
    let _worker = bench.worker().await;
    let proxy = redcall_testkit::FaultProxy::start(&bench.redis);
    // Connecting takes some nine of them: more than the program may be late.
    proxy.delay(Duration::from_millis(400));
    let args = ["--redis", &proxy.url(), "call", "sleep", r#"{"ms":60000}"#, "--wait"];
    let begun = Instant::now();
    let args = [&args[..], &["--timeout", "6s"]].concat();
    let ran = Ran::new("redcall", &args, &[].into()).await;
    let took = begun.elapsed();
    assert_eq!(ran.code, 1, "{ran:?}");
    ran.stderr_has("deadline_exceeded");
    assert!(took < Duration::from_millis(9000), "{took:?}");
}
