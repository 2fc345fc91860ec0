//! Workers that are killed before and after they have put an answer off.

use std::path::Path;

use redcall_testkit::eventually;
use redis::AsyncCommands;

use super::{Stage, is_dead};
use crate::support::{Ran, run_with_input};

const ENV: &str = "REDCALL_TOKEN";

/// The token that a handler has left, as soon as there is one.
async fn token(folder: &Path) -> String {
    eventually("a token", async || std::fs::read_to_string(folder.join("token")).ok()).await
}

#[tokio::test]
async fn kill_before_deferral_reruns_and_after_does_not() {
    for (dies, ran) in [("before", "ran 2"), ("in", "ran 1")] {
        let mut stage = Stage::new().await;
        let doomed = stage.worker_at(stage.bench.redis.url(), Some(dies)).await;
        let ticket = stage.submit("defers", None).await;
        is_dead(&doomed).await;
        let successor = stage.successor().await;
        let token = token(stage.folder.path()).await;
        // A worker that would run it again has had every chance to when it answers the requests
        // after it, and the dead worker's leases have been taken over.
        eventually("the dead worker to be forgotten", async || {
            let workers: Vec<String> =
                stage.conn.zrange("redcall:{default}:workers", 0, -1).await.unwrap();
            (workers.len() == 1).then_some(())
        })
        .await;
        stage.client.call_and_wait("echo", &1).await.unwrap();
        // From another process, which has nothing but the token.
        let mut env = stage.bench.environment();
        env.insert(ENV.to_owned(), token);
        let settled = Ran::new("redcall", &["settle", "17"], &env).await;
        assert_eq!((settled.code, &*settled.stderr), (0, ""));
        assert_eq!(ticket.wait().await.unwrap().data.get(), "17");
        let by = if dies == "before" { successor.pid() } else { doomed.pid() };
        assert_eq!(stage.effects(), [(ran.to_owned(), by)], "{dies}");
    }
}

#[tokio::test]
async fn a_script_settles_with_a_token_that_no_argument_shows() {
    let stage = Stage::new().await;
    let _worker = stage.successor().await;
    let ticket = stage.submit("defers", None).await;
    let token = token(stage.folder.path()).await;
    let env = stage.bench.environment();
    let settle = async |args: &[&str], input: &str| {
        let args: Vec<String> = args.iter().map(ToString::to_string).collect();
        let (env, input) = (env.clone(), input.to_owned());
        let running = move || {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            run_with_input("redcall", &args, &env, &input)
        };
        tokio::task::spawn_blocking(running).await.unwrap()
    };
    let secret = token.rsplit('.').next().unwrap();
    // An invalid token is not printed.
    let wrong = settle(&["settle"], &token[1..]).await;
    assert_eq!(wrong.code, 2);
    wrong.stderr_has("not a valid completion token");
    assert!(!wrong.stderr.contains(secret));
    let unknown = token.replace(secret, &"0".repeat(secret.len()));
    let unknown = settle(&["settle", "--json"], &unknown).await;
    assert_eq!(unknown.code, 1);
    assert!(unknown.stderr.contains("not_found"), "{}", unknown.stderr);
    assert_eq!(settle(&["settle", "{"], &token).await.code, 2);
    let wrong = settle(&["settle", "--error", "no_code", "m"], &token).await;
    assert_eq!(wrong.code, 2);
    wrong.stderr_has("`no_code` is not a valid error code");

    let args = ["settle", "-", "--error", "conflict", "not now", "--json"];
    let settled = settle(&args, &format!("{token}\n{{\"busy\":true}}\n")).await;
    assert_eq!((settled.code, &*settled.stderr), (0, ""));
    assert!(settled.stdout.contains(r#""settled":true"#), "{}", settled.stdout);
    let error = crate::support::failed(ticket.wait().await);
    assert_eq!((error.code.as_str(), &*error.message), ("conflict", "not now"));
    assert_eq!(error.data.unwrap().get(), r#"{"busy":true}"#);
    let again = settle(&["settle"], &token).await;
    assert_eq!(again.code, 1);
    again.stderr_has("already settled by another process");
}
