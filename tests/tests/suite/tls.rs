//! `rediss://` with a private authority.

use redcall_client::{Client, StoreError};
use redcall_testkit::TestRedis;
use redcall_tests::Bench;
use serde_json::json;

#[tokio::test]
async fn calls_work_over_tls_with_a_private_authority() {
    let bench = Bench::on(TestRedis::start_tls().await);
    assert!(bench.settings.redis.url.starts_with("rediss://"));
    let _worker = bench.worker().await;
    let client = bench.client().await;
    let response = client.call_and_wait("add", &json!({"a": 1, "b": 1})).await.unwrap();
    assert_eq!(response.data.get(), r#"{"answer":2}"#);
    assert!(client.inspect().queues().await.unwrap().iter().any(|q| q.queue == "default"));
}

#[tokio::test]
async fn an_unknown_authority_is_refused() {
    let mut bench = Bench::on(TestRedis::start_tls().await);
    bench.settings.redis.ca_file = None;
    let refused = Client::from_settings(&bench.settings).await.err().expect("a refusal");
    assert!(matches!(refused, StoreError::Unreachable { .. }), "{refused:?}");
}
