//! Probes and metrics of a gateway.

use std::net::SocketAddr;

use redcall_testkit::eventually;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::Stage;

const DOOR: &str = "[admin]\nlisten = '127.0.0.1:0'\n[gateways.counter]\nprotocol = 'bgpy'\n\
                    listen = '127.0.0.1:0'\nservice = 's'\n";

/// Returns status and body of a GET.
async fn get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut response = String::new();
    stream.read_to_string(&mut response).await.ok()?;
    let (head, body) = response.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

#[tokio::test]
async fn gateway_reports_that_it_lives_and_is_ready() {
    let stage = Stage::new().await;
    let gateway = stage.gateway(DOOR).await;
    let probes = gateway.probes();
    assert_eq!(get(probes, "/live").await, Some((200, "live\n".to_owned())));
    let ready = r#"{"ready":true,"reasons":[]}"#.to_owned();
    assert_eq!(get(probes, "/ready").await, Some((200, ready)));
    let (status, text) = get(probes, "/metrics").await.unwrap();
    assert_eq!(status, 200);
    for line in [
        r#"redcall_gateway_connections{gateway="counter"} 0"#,
        r#"redcall_gateway_dropped_total{gateway="counter"} 0"#,
        "# EOF",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    gateway.end().await.unwrap();
    assert_eq!(get(probes, "/live").await, None, "the address is free again");
}

#[tokio::test]
async fn gateway_is_not_ready_while_redis_is_away() {
    let stage = Stage::new().await;
    let gateway = stage.gateway(DOOR).await;
    let probes = gateway.probes();
    let Stage { redis, .. } = stage;
    drop(redis);
    let away = async || {
        let (status, body) = get(probes, "/ready").await?;
        (status == 503 && body.contains("Redis does not answer")).then_some(())
    };
    eventually("the probe to report it", away).await;
    assert_eq!(get(probes, "/live").await, Some((200, "live\n".to_owned())));
}
