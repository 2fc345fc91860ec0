//! A device: it sends heartbeats, publishes events, and answers commands later.
//!
//! ```console
//! $ cargo run -p redcall-example --example device
//! $ redcall events tail command_result &
//! $ redcall events tail heartbeat &
//! $ redcall call start --queue device --stream              # deferred at once, its result later
//! $ redcall call stop --queue device --header nonce=8       # its result is an event
//! ```

use std::time::Duration;

use redcall_client::{Client, Code, Kind, WireError};
use redcall_worker::{CompletionToken, HandlerError, Request, Settings, State, Worker};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::sleep;

/// How long its motors take.
const MOVES_FOR: Duration = Duration::from_millis(200);
/// Kinds of its events.
const STARTED: Kind = Kind(301);
const ENDED: Kind = Kind(305);

/// The requested state, and the token that settles the command.
type Order = (bool, CompletionToken);
type Orders = mpsc::UnboundedSender<Order>;

async fn start(request: Request, orders: State<Orders>) -> Result<(), HandlerError> {
    order(true, &request, &orders).await
}

async fn stop(request: Request, orders: State<Orders>) -> Result<(), HandlerError> {
    order(false, &request, &orders).await
}

/// Defers the answer: the device settles it when the motors have moved.
async fn order(run: bool, request: &Request, orders: &Orders) -> Result<(), HandlerError> {
    let timeout = Duration::from_secs(60);
    let token = request.defer_with_notification(&"on its way", Some(timeout)).await?;
    orders.send((run, token))?;
    Ok(())
}

/// The device itself: executes one command after the other.
async fn device(client: Client, mut orders: mpsc::UnboundedReceiver<Order>) {
    let mut running = false;
    while let Some((run, token)) = orders.recv().await {
        let result = if run == running {
            Err(WireError::new(Code::Conflict, "already in this state"))
        } else {
            sleep(MOVES_FOR).await;
            running = run;
            let kind = if running { STARTED } else { ENDED };
            if let Err(error) = client.publish("device", kind, &json!({"running": running})).await {
                eprintln!("{error}");
            }
            Ok(json!({"running": running}))
        };
        // After the deadline the caller has its error already.
        if let Err(error) = client.settle(&token, result).await {
            eprintln!("{error}");
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut settings = Settings::load(None)?; // redcall.toml, REDIS_URL, else 127.0.0.1:6379
    settings.worker.queues = vec!["device".to_owned()];
    settings.worker.name.get_or_insert_with(|| "device".to_owned());
    settings.events.heartbeat.get_or_insert(Duration::from_secs(5));
    let (orders, ordered) = mpsc::unbounded_channel();
    tokio::spawn(device(Client::from_settings(&settings).await?, ordered));
    let worker = Worker::from_settings(settings)?.state::<Orders>(orders);
    worker.handler("start", start).handler("stop", stop).run().await?;
    Ok(())
}
