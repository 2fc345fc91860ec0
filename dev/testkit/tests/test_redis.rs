//! Tests of the fixtures.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

use redcall_testkit::redis::{self, AsyncCommands as _, TlsCertificates};
use redcall_testkit::{TestRedis, eventually};

#[tokio::test]
async fn servers_are_private() {
    let (one, other) = tokio::join!(TestRedis::start(), TestRedis::start());
    let () = one.connection().await.set("key", "value").await.unwrap();
    assert!(!other.connection().await.exists::<_, bool>("key").await.unwrap());
    assert_eq!(one.settings().url, one.url());
    assert_eq!(one.ca_file(), None);
}

#[tokio::test]
async fn arguments_reach_the_server() {
    let server = TestRedis::start_with(["--databases", "3"]).await;
    let mut connection = server.connection().await;
    let databases: (String, u32) = redis::cmd("CONFIG")
        .arg("GET")
        .arg("databases")
        .query_async(&mut connection)
        .await
        .unwrap();
    assert_eq!(databases.1, 3);
}

#[tokio::test]
async fn a_connection_outwaits_the_drivers_usual_half_second() {
    let server = TestRedis::start().await;
    let mut connection = server.connection().await;
    let nothing: Option<(String, String)> = connection.blpop("empty", 0.7).await.unwrap();
    assert_eq!(nothing, None);
}

#[tokio::test]
async fn tls_is_proved_by_the_private_authority_and_by_no_other() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (server, other) = tokio::join!(TestRedis::start_tls(), TestRedis::start_tls());
    assert!(server.url().starts_with("rediss://localhost:"), "{}", server.url());

    let mut connection = connect(&server, &server).await.unwrap();
    let () = connection.set("key", "over TLS").await.unwrap();
    let seen: String = server.connection().await.get("key").await.unwrap();
    assert_eq!(seen, "over TLS");

    assert!(connect(&server, &other).await.is_err(), "signed by another authority");
}

#[tokio::test]
async fn eventually_sees_writes_of_another_connection() {
    let server = TestRedis::start().await;
    let mut writer = server.connection().await;
    let mut reader = server.connection().await;
    let write = async { writer.set::<_, _, ()>("key", 7).await.unwrap() };
    let read = eventually("the key", async || reader.get::<_, Option<u32>>("key").await.unwrap());
    assert_eq!(tokio::join!(read, write).0, 7);
}

async fn connect(
    server: &TestRedis,
    authority: &TestRedis,
) -> redis::RedisResult<redis::aio::MultiplexedConnection> {
    let ca = std::fs::read(authority.ca_file().unwrap()).unwrap();
    let certificates = TlsCertificates { client_tls: None, root_cert: Some(ca) };
    let client = redis::Client::build_with_tls(server.url(), certificates)?;
    client.get_multiplexed_async_connection().await
}
