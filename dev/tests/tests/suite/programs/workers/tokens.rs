//! The keys of a worker while it runs, and its log of refused requests.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

use redcall_client::{Client, Code};
use redcall_common::settings::{AuthKey, AuthSettings, Secret};
use redcall_testkit::eventually;
use redcall_tests::Bench;
use redis::AsyncCommands;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Logged, SettingsFile, waited};

/// The secret of the key of this name.
fn secret(name: &str) -> String {
    format!("{name}-0123456789abcdef0123456789abcdef")
}

/// A settings file whose keys are these.
fn file(names: &[&str]) -> String {
    let key = |name: &&str| format!("[auth.keys.{name}]\nsecret = '{}'\n", secret(name));
    names.iter().map(key).collect()
}

/// A client that signs with the key of this name.
async fn client(bench: &Bench, name: &str) -> Client {
    let key = AuthKey { secret: Secret::new(secret(name)), jobs: vec!["*".to_owned()] };
    let (keys, sign_with) = ([(name.to_owned(), key)].into(), Some(name.to_owned()));
    let mut settings = bench.settings.clone();
    settings.auth = Some(AuthSettings { keys, sign_with, required: true });
    Client::from_settings(&settings).await.unwrap()
}

async fn calls(client: &Client) -> Result<(), Code> {
    client.call_and_wait("echo", &json!(1)).await.map(drop).map_err(|error| error.code())
}

#[tokio::test]
async fn keys_are_replaced_at_run_time_and_refusals_logged() {
    let bench = Bench::new().await;
    let settings = SettingsFile::new(&file(&["old"]));
    let args = ["--settings", settings.arg()];
    let worker = Logged::start("redcall-worker", &args, &bench.environment());
    worker.line(" ready ").await;
    let (old, new) = (client(&bench, "old").await, client(&bench, "new").await);
    assert_eq!((calls(&old).await, calls(&new).await), (Ok(()), Err(Code::Unauthorized)));
    worker.line("an unknown key").await;
    for (keys, times, expected) in [
        (&["old", "new"][..], 1, (Ok(()), Ok(()))),
        (&["new"], 2, (Err(Code::Unauthorized), Ok(()))),
    ] {
        std::fs::write(&settings.path, file(keys)).unwrap();
        worker.signal(Signal::HUP);
        eventually("the keys to be read again", async || {
            (worker.log().matches("reloaded the jobs").count() == times).then_some(())
        })
        .await;
        assert_eq!((calls(&old).await, calls(&new).await), expected);
    }
    // An element that another signature was put into.
    let mut conn = bench.redis.connection().await;
    let sig = "5e".repeat(32);
    let auth = format!(r#","auth":{{"key":"new","expires_at":9999999999999,"sig":"{sig}"}}"#);
    let element = waited("forged", "echo", "1", &auth);
    let () = conn.rpush("redcall:{default}:queue", element).await.unwrap();
    let line = worker.line("the signature of the request is wrong").await;
    assert!(line.contains("forged") && line.contains("new"), "{line}");
    let answer = eventually("the answer", async || {
        let key = "redcall:{default}:response:forged";
        conn.lpop::<_, Option<String>>(key, None).await.unwrap()
    });
    let answer: Value = serde_json::from_str(&answer.await).unwrap();
    assert_eq!(answer["error"]["code"], "unauthorized");
    let log = worker.log();
    assert!(!log.contains("0123456789abcdef") && !log.contains("5e5e5e5e"), "{log}");
}
