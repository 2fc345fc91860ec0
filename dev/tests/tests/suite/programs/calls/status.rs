//! `redcall status`, `redcall monitor`.

use redcall_tests::Bench;
use redis::AsyncCommands;
use serde_json::Value;

use crate::support::Ran;

#[tokio::test]
async fn a_job_is_monitored_from_another_process() {
    let bench = Bench::new().await;
    let _worker = bench.worker().await;
    let env = bench.environment();
    let run = async |args: &[&str]| Ran::new("redcall", args, &env).await;
    let called = run(&["--json", "call", "sleep", r#"{"ms":50}"#, "--track-status", "1m"]).await;
    let id = serde_json::from_str::<Value>(&called.stdout).unwrap()["id"].clone();
    let id = id.as_str().unwrap();
    let monitored = run(&["monitor", id, "--timeout", "20s"]).await;
    assert_eq!((monitored.code, &*monitored.stderr), (0, ""));
    assert!(monitored.stdout.lines().last().unwrap().ends_with("Z  Success"), "{monitored:?}");

    let ran = run(&["--json", "status", id, "--queue", "default"]).await;
    let status: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&status["status"], &status["attempt"]), (&"Success".into(), &1.into()));
    let history: Vec<&str> = status["history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|state| state["status"].as_str().unwrap())
        .collect();
    assert_eq!(history, ["Pending", "Processing", "Success"]);
    let lines = run(&["status", id]).await.stdout;
    let lines: Vec<&str> = lines.lines().map(|line| line.split("  ").nth(1).unwrap()).collect();
    assert_eq!(lines, ["Pending", "Processing", "Success"]);

    let failed =
        run(&["--json", "call", "fail", r#"{"message":"no"}"#, "--track-status", "1m"]).await;
    let id = serde_json::from_str::<Value>(&failed.stdout).unwrap()["id"].clone();
    let monitored = run(&["--json", "monitor", id.as_str().unwrap()]).await;
    let last: Value = serde_json::from_str(monitored.stdout.lines().last().unwrap()).unwrap();
    assert_eq!(last["status"], "Error");
    let error = serde_json::json!({"code": "handler_failed", "message": "no"});
    assert_eq!(
        (&last["error"]["code"], &last["error"]["message"]),
        (&error["code"], &error["message"])
    );
}

#[tokio::test]
async fn status_is_found_in_a_queue_that_is_not_noted() {
    let bench = Bench::new().await;
    let mut conn = bench.redis.connection().await;
    // As a queue whose note has expired after 30 days.
    let () = conn.hset("redcall:{foreign}:live", "a", "other").await.unwrap();
    let state = r#"{"status":"Success","at_ms":1,"attempt":1}"#;
    let () = conn.rpush("redcall:{foreign}:status:a", state).await.unwrap();
    for verb in ["status", "monitor"] {
        let args = ["--json", verb, "a", "--timeout", "20s"];
        let args = if verb == "status" { &args[..3] } else { &args };
        let ran = Ran::new("redcall", args, &bench.environment()).await;
        assert!(ran.stdout.contains(r#""status":"Success""#), "{ran:?}");
    }
}

#[tokio::test]
async fn untracked_job_is_not_found() {
    let bench = Bench::new().await;
    let env = bench.environment();
    for verb in ["status", "monitor"] {
        let ran = Ran::new("redcall", &["--json", verb, "no-such-job"], &env).await;
        let error: Value = serde_json::from_str(&ran.stderr).unwrap();
        assert_eq!((ran.code, &error["error"]["code"]), (1, &"not_found".into()));
        let wrong = Ran::new("redcall", &["--json", verb, "no id"], &env).await;
        let error: Value = serde_json::from_str(&wrong.stderr).unwrap();
        assert_eq!((wrong.code, &error["error"]["code"]), (2, &"invalid_request".into()));
    }
}
