//! NATS request-reply: `about`, `worker`, or `call CALLERS WARM_UP_MS LASTS_MS`.
//!
//! It is not durable: a request without a worker is lost. It shows the limit of a protocol without
//! a queue.
//!
//! Setting: one connection for all callers, one for the worker, which is in a queue group, as
//! several would be: <https://docs.nats.io/nats-concepts/core-nats/queue>. All requests of a client
//! share one inbox, and simultaneous requests go out in one write:
//! <https://docs.rs/async-nats/0.51.0/async_nats/client/struct.Client.html#method.request>. The
//! worker reads up to 64k requests ahead and answers in the task that reads.

use async_nats::{Client, ConnectOptions};
use futures_util::StreamExt as _;
use redcall_bench_closed_loop::{Failure, Role};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Terms {
    a: i64,
    b: i64,
}

#[derive(Serialize, Deserialize)]
struct Sum {
    answer: i64,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    match Role::from_args()? {
        Role::About => {
            println!("async-nats 0.51.0");
            println!("one connection each; a queue group; not durable");
            Ok(())
        }
        Role::Worker => work(connect().await?).await,
        Role::Caller(load) => load.run(connect().await?, call).await,
    }
}

async fn connect() -> Result<Client, Failure> {
    let url = std::env::var("NATS_URL")?;
    Ok(ConnectOptions::new().subscription_capacity(64 << 10).connect(url).await?)
}

async fn call(client: Client) -> Result<i64, Failure> {
    let terms = serde_json::to_vec(&Terms { a: 1, b: 2 })?;
    let response = client.request("add", terms.into()).await?;
    Ok(serde_json::from_slice::<Sum>(&response.payload)?.answer)
}

async fn work(client: Client) -> Result<(), Failure> {
    let mut requests = client.queue_subscribe("add", "workers".to_owned()).await?;
    while let Some(request) = requests.next().await {
        let Terms { a, b } = serde_json::from_slice(&request.payload)?;
        let Some(reply) = request.reply else { continue };
        client.publish(reply, serde_json::to_vec(&Sum { answer: a + b })?.into()).await?;
    }
    Ok(())
}
