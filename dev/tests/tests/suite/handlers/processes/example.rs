//! `example/scorer`, by the real programs and its settings.

use std::path::Path;

use redcall_testkit::TestRedis;
use serde_json::{Value, json};

use crate::support::{Logged, Ran};

#[tokio::test]
async fn the_scorer_scores_and_guesses() {
    let redis = TestRedis::start().await;
    let env = [("REDIS_URL".to_owned(), redis.url())].into();
    let settings = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../example/scorer/redcall.toml");
    let worker = Logged::start("redcall-worker", &["--settings", settings.to_str().unwrap()], &env);
    worker.line(": ready").await;
    let run = async |args: &[&str]| Ran::new("redcall", args, &env).await;
    let ran = run(&["call", "score", r#"{"text": "This is it, Red!"}"#, "--wait"]).await;
    assert_eq!(
        (ran.code, &*ran.stdout),
        (0, "{\"score\": 0.75}\n"),
        "{}\n{}",
        ran.stderr,
        worker.log()
    );
    let data = r#"{"texts": ["das ist es", "this is it"]}"#;
    let ran = run(&["--json", "call", "guess", data, "--stream"]).await;
    let lines: Vec<Value> =
        ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let text = ran.stdout.clone();
    for part in [json!({"at": 0, "language": "de"}), json!({"at": 1, "language": "en"})] {
        assert!(lines.iter().any(|line| line.to_string().contains(&part.to_string())), "{text}");
    }
    let ran =
        run(&["--json", "call", "score", r#"{"text": "", "language": "fr"}"#, "--wait"]).await;
    let error: Value = serde_json::from_str(&ran.stderr).unwrap();
    assert_eq!(error["error"]["code"], "invalid_data");
    assert_eq!(error["error"]["message"], "unknown language `fr`; known: en, de");
}
