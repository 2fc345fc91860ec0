//! `example/examples/device.rs`, by the real programs.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

use redcall_testkit::TestRedis;
use serde_json::{Value, json};

use crate::support::{Logged, Ran};

#[tokio::test]
async fn device_sends_heartbeats_and_deferred_answers_by_nonce() {
    let redis = TestRedis::start().await;
    // A busy machine may take long to start the device.
    let grace = ("REDCALL__CLIENT__NO_WORKERS_GRACE".to_owned(), "30s".to_owned());
    let env = [("REDIS_URL".to_owned(), redis.url()), grace].into();
    let device = Logged::start("examples/device", &[], &env);
    let run = async |args: &[&str]| {
        let ran = Ran::new("redcall", args, &env).await;
        assert_eq!(ran.code, 0, "{args:?}\n{}\n{}", ran.stderr, device.log());
        let lines = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap());
        lines.collect::<Vec<Value>>()
    };
    // The call waits for a worker.
    let started = run(&["call", "start", "--queue", "device", "--stream"]).await;
    assert_eq!(started, [json!({"deferred": "on its way"}), json!({"result": {"running": true}})]);
    for name in ["start", "stop"] {
        let nonce = format!("nonce=n-{name}");
        run(&["--json", "call", name, "--queue", "device", "--header", &nonce]).await;
    }
    let tail = ["--json", "events", "tail"];
    let tail = async |topic: &[&str]| {
        let events = run(&[&tail[..], topic, &["--since", "1h"]].concat()).await;
        // Redis may have trimmed earlier events: their number is unknown.
        events.into_iter().filter(|event| event.get("missed").is_none()).collect::<Vec<_>>()
    };
    let results = tail(&["command_result", "--limit", "3"]).await;
    let summary = |result: &Value| {
        let context = &result["context"];
        let fields = ["nonce", "command", "result", "data", "errorMessage"];
        fields.map(|field| context[field].clone())
    };
    let summary: Vec<_> = results.iter().map(summary).collect();
    let null = Value::Null;
    assert_eq!(
        summary,
        [
            [null.clone(), json!("start"), json!(100), json!({"running": true}), null.clone()],
            [
                json!("n-start"),
                json!("start"),
                json!(400),
                null.clone(),
                json!("already in this state")
            ],
            [json!("n-stop"), json!("stop"), json!(100), json!({"running": false}), null],
        ]
    );
    let events = tail(&["device", "--limit", "2"]).await;
    assert_eq!(events.iter().map(|event| &event["kind"]).collect::<Vec<_>>(), [301, 305]);
    let beats = tail(&["heartbeat", "--limit", "1"]).await;
    assert_eq!(beats[0]["context"]["identifier"], "device");
}
