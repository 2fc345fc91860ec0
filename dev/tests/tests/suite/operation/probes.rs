//! Probes and metrics: the reports of a real worker over HTTP.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

mod http;
mod metrics;
mod ready;
mod stalls;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use redcall_testkit::eventually;
use redcall_tests::Bench;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::Logged;

/// An HTTP answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.status
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// The reasons why it is not ready.
    pub(crate) fn reasons(&self) -> Vec<String> {
        serde_json::from_value(self.json()["reasons"].take()).unwrap()
    }
}

/// Requests `path`. `None` if the connection is not accepted.
pub(crate) async fn try_get(address: SocketAddr, path: &str) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let head = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await.ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Some(Answer { status, head: head.to_lowercase(), body: body.to_owned() })
}

/// A worker that serves probes and metrics.
pub(crate) struct Served {
    program: Logged,
    address: SocketAddr,
}

impl Served {
    /// The program `name` with this environment. Returns once it is in the registry.
    pub(crate) async fn start(name: &str, mut env: BTreeMap<String, String>) -> Self {
        env.entry("REDCALL__ADMIN__LISTEN".into()).or_insert("127.0.0.1:0".into());
        let program = Logged::start(name, &[], &env);
        let address = address_of(&program).await;
        program.line(": ready").await;
        Self { program, address }
    }

    /// A worker of `bench`.
    pub(crate) async fn of(bench: &Bench) -> Self {
        Self::start("redcall-worker", bench.environment()).await
    }

    /// The worker itself.
    pub(crate) fn program(&self) -> &Logged {
        &self.program
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        try_get(self.address, path).await.unwrap()
    }

    /// Waits until it is ready, or is not.
    pub(crate) async fn becomes(&self, status: u16) -> Answer {
        eventually("the readiness to change", async || {
            let answer = self.get("/ready").await;
            (answer.status == status).then_some(answer)
        })
        .await
    }

    /// The values of the metrics, each by its name with its labels.
    async fn metrics(&self) -> BTreeMap<String, f64> {
        let answer = self.get("/metrics").await;
        assert_eq!(answer.status, 200);
        values(&answer.body)
    }

    /// Waits until a metric has this value.
    async fn counts(&self, metric: &str, value: f64) {
        let mut last = None;
        eventually(metric, async || {
            let now = self.metrics().await.get(metric).copied();
            if now != last {
                eprintln!("{metric}: {now:?}, not yet {value}");
                last = now;
            }
            (now == Some(value)).then_some(())
        })
        .await;
    }
}

pub(crate) fn values(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let value = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    };
    lines.map(value).collect()
}

/// Returns the address in a worker's log.
async fn address_of(program: &Logged) -> SocketAddr {
    let line = program.line("serving probes and metrics").await;
    line.rsplit_once("address=").unwrap().1.trim().parse().unwrap()
}
