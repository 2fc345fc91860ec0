//! `example/counter` by the real programs: the service with its settings, and `redcall service`.

use std::path::Path;

use redcall_testkit::TestRedis;
use serde_json::Value;

use crate::support::{Logged, Ran};

#[tokio::test]
async fn the_counter_of_the_example_counts() {
    let redis = TestRedis::start().await;
    let env = [("REDIS_URL".to_owned(), redis.url())].into();
    let settings = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../example/counter/redcall.toml");
    let worker = Logged::start("redcall-worker", &["--settings", settings.to_str().unwrap()], &env);
    let run = async |args: &[&str]| {
        Ran::new("redcall", &[&["--json", "service", "counter"], args].concat(), &env).await
    };
    let prints = async |args: &[&str], printed: &str| {
        let ran = run(args).await;
        let context = format!("{args:?}: {}\n{}", ran.stderr, worker.log());
        assert_eq!((ran.code, ran.stdout.trim_end()), (0, printed), "{context}");
    };
    let refused = async |args: &[&str], code: &str| {
        let ran = run(args).await;
        let error: Value = serde_json::from_str(&ran.stderr).unwrap();
        assert_eq!((ran.code, &error["error"]["code"]), (1, &code.into()), "{args:?}");
    };
    worker.line(": ready").await;
    prints(&["initialize", r#"{"value": 1000}"#], r#""initialized""#).await;
    prints(&["execute", r#"{"by": 10}"#], "1010").await;
    prints(&["execute", r#"{"by": -100}"#], "910").await;
    prints(&["state"], r#"{"value": 910, "requests": 2}"#).await;
    refused(&["initialize"], "conflict").await;
    refused(&["execute", r#"{"by": "ten"}"#], "handler_failed").await;
    refused(&["execute", "--instance", "user-42"], "conflict").await;
    refused(&["state", "--instance", "user-42"], "not_found").await;
    prints(&["terminate"], r#"{"value": 910, "requests": 3}"#).await;
    refused(&["state"], "not_found").await;
    for args in [&["state", "--instance", "a:b"][..], &["execute", "{"], &["stop"]] {
        assert_eq!(run(args).await.code, 2, "{args:?}");
    }
}
