//! `rediss://` with a private authority; errors name the attempted address.

use redcall_client::{Client, StoreError};
use redcall_common::report::Problem;
use redcall_common::settings::Settings;
use redcall_testkit::{FakeSentinel, TestRedis};
use redcall_tests::Bench;
use serde_json::json;
use tokio::net::TcpListener;

use crate::support::closed_port;

/// An error with all its causes, on one line.
fn message_of(error: &StoreError) -> String {
    let mut text = Problem::of(error).to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

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

/// Passes connections to another address on to the server's.
#[cfg(target_os = "linux")]
async fn relay(to: String) -> u16 {
    let listener = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let to = to.clone();
            tokio::spawn(async move {
                let mut server = tokio::net::TcpStream::connect(to).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut server).await;
            });
        }
    });
    port
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn certificate_of_another_name_is_reported_with_both_names() {
    let mut bench = Bench::on(TestRedis::start_tls().await);
    let address = bench.settings.redis.url.rsplit(['/', '@']).next().unwrap().to_owned();
    let port = relay(address).await;
    bench.settings.redis.url = format!("rediss://127.0.0.2:{port}");
    let error = Client::from_settings(&bench.settings).await.err().expect("a refusal");
    let text = message_of(&error);
    assert!(text.starts_with(&format!("Redis at 127.0.0.2:{port} (TLS) is not trusted")), "{text}");
    assert!(text.contains("its certificate") && text.contains("localhost"), "{text}");
    assert!(!text.contains("cannot be reached"), "{text}");
    assert!(error.help().contains("ca_file"), "{}", error.help());
    assert!(!error.help().contains("Is Redis running"), "{}", error.help());
}

#[tokio::test]
async fn unknown_authority_is_reported() {
    let mut bench = Bench::on(TestRedis::start_tls().await);
    bench.settings.redis.ca_file = None;
    let error = Client::from_settings(&bench.settings).await.err().expect("a refusal");
    let text = message_of(&error);
    assert!(text.contains("(TLS) is not trusted"), "{text}");
}

#[tokio::test]
async fn primary_that_cannot_be_reached_is_named_by_its_address() {
    let (_closed, gone) = closed_port();
    let sentinel = FakeSentinel::start(1, gone.port()).await;
    let mut settings = Settings::default();
    settings.redis.url = format!("redis+sentinel://{}/main", sentinel.address());
    let error = Client::from_settings(&settings).await.err().expect("a refusal");
    assert!(error.to_string().contains(&gone.to_string()), "{error}");
}
