//! `redcall events tail` and `publish`.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

use redcall_client::Kind;
use redcall_testkit::eventually;
use redcall_tests::{Bench, Program};
use serde_json::{Value, json};

use crate::support::Ran;

#[tokio::test]
async fn published_events_are_printed_at_once() {
    let mut bench = Bench::new().await;
    bench.settings.events.max = 100;
    let env = bench.environment();
    let client = bench.client().await;
    // Events from before, trimmed ones included.
    for number in 0..500 {
        client.publish("event", Kind(7), &number).await.unwrap();
    }
    let args = ["events", "tail", "4001", "--since", "1h", "--kind", "101", "--kind", "heartbeat"];
    let args = [&args[..], &["--limit", "3", "--json"]].concat();
    let tail = Program::start_to_read("redcall", &args, &env);
    let mut conn = bench.redis.connection().await;
    eventually("it to wait", async || {
        let list: String = redis::cmd("CLIENT").arg("LIST").query_async(&mut conn).await.unwrap();
        list.lines().any(|line| line.contains("cmd=xread")).then_some(())
    })
    .await;
    let publish = async |args: &[&str]| {
        let ran = Ran::new("redcall", &[&["events", "publish"], args].concat(), &env).await;
        assert_eq!((ran.code, &*ran.stderr), (0, ""), "{args:?}");
        ran.stdout
    };
    publish(&["event", "heartbeat"]).await;
    publish(&["event", "102", "\"not wanted\""]).await;
    let printed = publish(&["4001", "101", r#"{"reason": "door"}"#, "--json"]).await;
    let id = serde_json::from_str::<Value>(&printed).unwrap()["id"].as_str().unwrap().to_owned();
    assert_eq!(serde_json::from_str::<Value>(&printed).unwrap()["topic"], "event");
    assert!(publish(&["event", "1001", "1.50"]).await.contains(" on event"));
    let output = tokio::task::spawn_blocking(|| tail.output()).await.unwrap();
    assert!(output.status.success());
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0], json!({"missed": null}));
    assert_eq!((&lines[1]["kind"], &lines[1]["context"]), (&json!(1001), &Value::Null));
    assert_eq!((&lines[2]["id"], &lines[2]["context"]), (&json!(id), &json!({"reason": "door"})));
    assert!(lines[2]["when"].is_u64() && lines[2]["index"].is_u64());
    assert_eq!((&lines[3]["context"], lines.len()), (&json!(1.5), 4));
    // As text; the emergency was published as such.
    let args = ["events", "tail", "emergency", "--since", "2020-01-01T00:00:00Z", "--limit", "2"];
    let ran = Ran::new("redcall", &args, &env).await;
    let shown: Vec<&str> =
        ran.stdout.lines().map(|line| line.split_once("  ").unwrap().1).collect();
    assert_eq!(shown, ["102  \"not wanted\"", "101  {\"reason\": \"door\"}"]);
}

#[tokio::test]
async fn invalid_event_is_refused_without_asking_redis() {
    let env = [("REDIS_URL".to_owned(), "redis+unix:///nowhere".to_owned())].into();
    for args in [
        &["publish", "any", "1"][..],
        &["publish", "a:b", "1"],
        &["publish", "a", "soon"],
        &["publish", "a", "-1"],
        &["publish", "a", "1", "{"],
        &["publish", "a"],
        &["tail"],
        &["tail", "any"],
        &["tail", "a", "--since", "soon"],
        &["tail", "a", "--kind", "soon"],
    ] {
        let ran = Ran::new("redcall", &[&["events"], args].concat(), &env).await;
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.stderr);
    }
    let ran = Ran::new("redcall", &["events", "publish", "a", "1"], &env).await;
    assert_eq!(ran.code, 3);
    let bench = Bench::new().await;
    let ran = Ran::new("redcall", &["events", "publish", "a", "any"], &bench.environment()).await;
    ran.stderr_has("`any` is not a valid kind for publishing");
    assert_eq!(ran.code, 2);
}
