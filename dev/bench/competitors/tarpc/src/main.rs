//! tarpc over TCP: `about`, `worker`, or `call CALLERS WARM_UP_MS LASTS_MS`.
//!
//! It has no queue: the client writes to the worker's socket. It shows what the processes and their
//! kernel take without a server in between.
//!
//! Setting: one connection for all callers; bincode, the compact codec of its documents:
//! <https://docs.rs/tarpc/0.38.0/tarpc/serde_transport/index.html>; TCP without delay; up to 65,536
//! requests in flight instead of 1,000. Handlers run concurrently, each in a task, as in its
//! documents: <https://docs.rs/tarpc/0.38.0/tarpc/#example>.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use redcall_bench_closed_loop::{Failure, Role};
use tarpc::client::Config;
use tarpc::context::{self, Context};
use tarpc::serde_transport::Transport;
use tarpc::server::{BaseChannel, Channel as _};
use tarpc::tokio_serde::formats::Bincode;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

const IN_FLIGHT: usize = 64 << 10;
const LONGEST: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);

#[tarpc::service]
trait Calculator {
    async fn add(a: i64, b: i64) -> i64;
}

#[derive(Clone)]
struct Adder;

impl Calculator for Adder {
    async fn add(self, _: Context, a: i64, b: i64) -> i64 {
        a + b
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    match Role::from_args()? {
        Role::About => {
            println!("tarpc 0.38.0");
            println!("one connection, bincode over TCP; no queue");
            Ok(())
        }
        Role::Worker => work().await,
        Role::Caller(load) => load.run(connect().await?, call).await,
    }
}

fn address() -> Result<String, Failure> {
    Ok(std::env::var("WORKER_ADDRESS")?)
}

async fn work() -> Result<(), Failure> {
    let listener = TcpListener::bind(address()?).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let channel = BaseChannel::with_defaults(Transport::from((stream, Bincode::default())));
        tokio::spawn(channel.execute(Adder.serve()).for_each(async |answering| {
            tokio::spawn(answering);
        }));
    }
}

/// The worker may still be starting.
async fn connect() -> Result<CalculatorClient, Failure> {
    let began = Instant::now();
    let stream = loop {
        match TcpStream::connect(address()?).await {
            Ok(stream) => break stream,
            Err(error) if began.elapsed() > LONGEST => return Err(error.into()),
            Err(_) => sleep(PAUSE).await,
        }
    };
    stream.set_nodelay(true)?;
    let mut config = Config::default();
    config.max_in_flight_requests = IN_FLIGHT;
    let transport = Transport::from((stream, Bincode::default()));
    Ok(CalculatorClient::new(config, transport).spawn())
}

async fn call(client: CalculatorClient) -> Result<i64, Failure> {
    let mut context = context::current();
    context.deadline = Instant::now() + LONGEST;
    Ok(client.add(context, 1, 2).await?)
}
