//! The database of an address: the one that is used, or an error, and never silently another one.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

use std::collections::BTreeMap;

use redcall_testkit::TestRedis;
use redcall_tests::{Bench, Program};

use crate::support::{QUEUE, Ran, SettingsFile};

/// Lengths of the default queue in databases 0 and 2.
async fn lengths(redis: &TestRedis) -> [usize; 2] {
    let mut pipe = redis::pipe();
    pipe.cmd("SELECT").arg(0).ignore().cmd("LLEN").arg(QUEUE);
    pipe.cmd("SELECT").arg(2).ignore().cmd("LLEN").arg(QUEUE);
    let lengths: (usize, usize) = pipe.query_async(&mut redis.connection().await).await.unwrap();
    lengths.into()
}

fn named(url: &str) -> BTreeMap<String, String> {
    [("REDIS_URL".to_owned(), url.to_owned())].into()
}

#[tokio::test]
async fn database_after_the_query_of_a_socket_is_used() {
    let bench = Bench::new().await;
    let url = format!("{}?db=2", bench.redis.url());
    let args = ["--redis", &url, "call", "echo", "7", "--wait"];
    // Of the flag and of the variable, in both programs.
    let mut env = bench.environment();
    env.insert("REDIS_URL".to_owned(), url.clone());
    assert_eq!(Ran::new("redcall", &["call", "echo"], &env).await.code, 0);
    assert_eq!(Ran::new("redcall", &["--redis", &url, "call", "echo"], &[].into()).await.code, 0);
    assert_eq!(lengths(&bench.redis).await, [0, 2]);
    let _worker = Program::start("redcall-worker", &[], &env);
    let ran = Ran::new("redcall", &args, &named(&bench.redis.url())).await;
    assert_eq!((ran.code, &*ran.stdout), (0, "7\n"), "{ran:?}");
    assert_eq!(lengths(&bench.redis).await, [0, 0]);
}

#[tokio::test]
async fn database_after_the_host_is_used() {
    let redis = TestRedis::start_tls().await;
    let authority = format!("[redis]\nca_file = '{}'\n", redis.ca_file().unwrap().display());
    let settings = SettingsFile::new(&authority);
    let url = format!("{}/2", redis.url());
    let args = ["--settings", settings.arg(), "--redis", &url, "call", "echo"];
    let ran = Ran::new("redcall", &args, &[].into()).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(lengths(&redis).await, [0, 1]);
}

#[tokio::test]
async fn database_that_would_be_ignored_is_an_error() {
    for (url, expected) in [
        ("redis://:secret@127.0.0.1:1?db=2", "write it after the host, such as /2"),
        ("redis://127.0.0.1:1/1?db=2", "write it after the host, such as /2"),
        ("rediss://localhost:1?database=2", "write it after the host, such as /2"),
        ("redis+sentinel://127.0.0.1:1/main?db=2", "may only have sentinel_username"),
        ("redis+sentinel://127.0.0.1:1/main/2/3", "more than a service and a database"),
        ("unix:///nowhere.sock?database=2", "may only have `db`, `user`, `pass`"),
        ("unix:///nowhere.sock?db=1&db=2", "its database (`db`) twice"),
        ("redis+unix:///nowhere.sock?db=two", "(`db`) that is not a number"),
    ] {
        let settings = SettingsFile::new(&format!("[redis]\nurl = '{url}'\n"));
        let file = ["--settings", settings.arg()];
        let mapping = "REDCALL__JOBS__ECHO__HANDLER".to_owned();
        let mut env = named(url);
        env.insert(mapping, "builtin:echo".to_owned());
        let none = BTreeMap::new();
        for (program, args, env) in [
            ("redcall", &["--redis", url, "call", "echo"][..], &none),
            ("redcall", &["--redis", url, "queues"], &none),
            ("redcall", &["queues"], &env),
            ("redcall", &[file[0], file[1], "queues"], &none),
            ("redcall-worker", &[], &env),
            ("redcall-worker", &["check"], &env),
        ] {
            let ran = Ran::new(program, args, env).await;
            assert_eq!((ran.code, &*ran.stdout), (2, ""), "{program} {args:?}: {ran:?}");
            ran.stderr_has(expected);
            assert!(!ran.stderr.contains("secret"), "{ran:?}");
        }
    }
}
