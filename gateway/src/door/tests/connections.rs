//! Connections: their number, their tasks, their ends.

use std::time::Duration;

use redcall_testkit::eventually;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::time::{Instant, timeout};

use super::open;

const REFUSED: &str = r#"redcall_gateway_refused_total{gateway="g",why="connections"}"#;
const OPEN: &str = r#"redcall_gateway_connections{gateway="g"}"#;

#[tokio::test]
async fn connection_over_the_limit_is_closed_at_once() {
    let mut opened = open("connections = 2").await;
    let _serving = opened.serve();
    let (mut first, mut second) = (opened.connect().await, opened.connect().await);
    assert_eq!(first.request("a").await.as_deref(), Some("a"));
    assert_eq!(second.request("b").await.as_deref(), Some("b"));
    assert_eq!(opened.connect().await.read().await, None);
    assert_eq!((opened.metric(OPEN), opened.metric(REFUSED)), (Some(2.0), Some(1.0)));
    drop(second);
    let place = async || {
        let mut third = opened.connect().await;
        third.send("c").await;
        third.read().await
    };
    assert_eq!(eventually("a place", place).await, "c");
    assert_eq!(first.request("still here").await.as_deref(), Some("still here"));
}

#[tokio::test]
async fn panic_in_one_connection_leaves_the_others() {
    let mut opened = open("").await;
    let _serving = opened.serve();
    let (mut one, mut other) = (opened.connect().await, opened.connect().await);
    assert_eq!(other.request("a").await.as_deref(), Some("a"));
    assert_eq!(one.request("panic").await, None);
    assert_eq!(other.request("b").await.as_deref(), Some("b"));
    assert_eq!(opened.connect().await.request("c").await.as_deref(), Some("c"));
    let panics = r#"redcall_gateway_refused_total{gateway="g",why="panic"}"#;
    let counted = async || (opened.metric(panics) == Some(1.0)).then_some(());
    eventually("the panic to be counted", counted).await;
}

#[tokio::test]
async fn silent_connection_ends_at_idle_and_an_active_one_does_not() {
    let mut opened = open("idle = '400ms'").await;
    let _serving = opened.serve();
    let (mut silent, mut active) = (opened.connect().await, opened.connect().await);
    let ended = async {
        let begun = Instant::now();
        assert_eq!(silent.read().await, None);
        assert!(begun.elapsed() > Duration::from_millis(300), "{:?}", begun.elapsed());
    };
    let requests = async {
        loop {
            assert_eq!(active.request("a").await.as_deref(), Some("a"));
        }
    };
    tokio::select! {
        () = ended => {}
        () = requests => {}
    }
    let idle = r#"redcall_gateway_refused_total{gateway="g",why="idle"}"#;
    assert_eq!(opened.metric(idle), Some(1.0));
}

#[tokio::test]
async fn writes_to_a_peer_that_does_not_read_end() {
    let mut opened = open("").await;
    let _serving = opened.serve();
    let mut deaf = opened.connect().await;
    deaf.send("flood").await;
    let slow = r#"redcall_gateway_refused_total{gateway="g",why="slow"}"#;
    let closed = async || (opened.metric(slow) == Some(1.0)).then_some(());
    eventually("the write to fail", closed).await;
    let gone = async || (opened.metric(OPEN) == Some(0.0)).then_some(());
    eventually("the connection to be closed", gone).await;
}

#[tokio::test]
async fn draining_door_accepts_nothing_and_ends_with_its_connections() {
    let mut opened = open("").await;
    let serving = opened.serve();
    let mut line = opened.connect().await;
    assert_eq!(line.request("a").await.as_deref(), Some("a"));
    opened.draining.cancel();
    assert_eq!(line.read().await, None);
    timeout(Duration::from_secs(10), serving).await.unwrap().unwrap();
    assert!(tokio::net::TcpStream::connect(opened.address).await.is_err());
}

#[tokio::test]
async fn thousand_connections_are_served_at_once() {
    // Both ends are in this process.
    let mut files = getrlimit(Resource::Nofile);
    files.current = files.maximum.map(|max| max.min(8192)).or(Some(8192));
    setrlimit(Resource::Nofile, files).unwrap();
    let mut opened = open("idle = '5m'").await;
    let _serving = opened.serve();
    let mut lines = Vec::with_capacity(1000);
    for _ in 0..1000 {
        lines.push(opened.connect().await);
    }
    for (number, line) in lines.iter_mut().enumerate() {
        line.send(&number.to_string()).await;
    }
    for (number, line) in lines.iter_mut().enumerate() {
        assert_eq!(line.read().await, Some(number.to_string()));
    }
    assert_eq!((opened.metric(OPEN), opened.metric(REFUSED)), (Some(1000.0), None));
}
