//! A device behind a gateway: a worker of the queue `device`, and a door.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests are tests, which clippy cannot tell"
)]

use std::net::SocketAddr;
use std::sync::Arc;

use redcall_client::{Client, CompletionToken};
use redcall_testkit::eventually;
use redcall_worker::{HandlerError, Json, Request, State, Worker};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::{Mutex, mpsc};

use crate::peers::Raw;
use crate::support::{RunningGateway, RunningWorker, Stage};

/// A handler that was cancelled, or a token for a deferred answer.
#[derive(Debug)]
pub(crate) enum Note {
    Started,
    Cancelled,
    Token(CompletionToken),
}

type Notes = mpsc::UnboundedSender<Note>;

/// Answers with its data, headers and name.
async fn about(request: Request) -> Json<Value> {
    let mut headers = request.headers().clone();
    assert!(headers.remove("peer").is_some_and(|peer| peer.starts_with("127.0.0.1:")));
    Json(json!({"name": request.name(), "headers": headers}))
}

async fn same(Json(data): Json<Box<RawValue>>) -> Json<Box<RawValue>> {
    Json(data)
}

/// Defers its answer; its data state whether the result is published.
async fn later(request: Request, notes: State<Notes>) -> Result<(), HandlerError> {
    let token = match request.data().get() {
        "\"silent\"" => request.defer("soon", None).await?,
        _ => request.defer_with_notification("soon", None).await?,
    };
    notes.send(Note::Token(token))?;
    Ok(())
}

/// Runs until it is cancelled.
async fn hang(request: Request, notes: State<Notes>) -> Result<(), HandlerError> {
    notes.send(Note::Started)?;
    request.cancelled().await;
    notes.send(Note::Cancelled)?;
    Ok(())
}

async fn panics() -> Json<()> {
    panic!("a handler that panics");
}

/// The jobs of a worker of a device.
pub(crate) fn jobs(worker: Worker, notes: Notes) -> Worker {
    let worker = worker.state(notes).handler("about", about).handler("same", same);
    let worker = worker.handler("command.42", about).handler("command.-7", about);
    worker.handler("later", later).handler("hang", hang).handler("panics", panics)
}

/// The door: commands and jobs.
pub(crate) fn door(more: &str) -> String {
    format!(
        r#"
[gateways.lab]
protocol = "zmtp"
listen_commands = ["127.0.0.1:0"]
listen_events = ["127.0.0.1:0"]
identifier = "lab-device"
others = "command."
{more}
[gateways.lab.commands]
100 = "about"
110 = "same"
120 = "later"
130 = "hang"
140 = "panics"
150 = "fail"
160 = "unmapped"

[admin]
listen = "127.0.0.1:0"
"#
    )
}

/// A gateway with one worker.
pub(crate) struct Lab {
    pub(crate) gateway: RunningGateway,
    pub(crate) client: Client,
    pub(crate) worker: RunningWorker,
    pub(crate) notes: Arc<Mutex<mpsc::UnboundedReceiver<Note>>>,
    pub(crate) stage: Stage,
}

impl Lab {
    pub(crate) async fn new(more: &str) -> Self {
        let stage = Stage::new().await;
        let (sender, notes) = mpsc::unbounded_channel();
        let worker = stage.worker(|worker| jobs(worker, sender)).await;
        let gateway = stage.gateway(&door(more)).await;
        let client = stage.client().await;
        Self { gateway, client, worker, notes: Arc::new(Mutex::new(notes)), stage }
    }

    pub(crate) fn commands(&self) -> SocketAddr {
        self.gateway.address("lab", "listen_commands")
    }

    pub(crate) fn events(&self) -> SocketAddr {
        self.gateway.address("lab", "listen_events")
    }

    pub(crate) async fn console(&self) -> Raw {
        Raw::connect(self.commands(), redcall_gateway::zmtp::wire::SocketType::Req).await
    }

    pub(crate) async fn note(&self) -> Note {
        let mut notes = self.notes.lock().await;
        let note = eventually("a note of a handler", async || notes.try_recv().ok());
        note.await
    }

    pub(crate) async fn token(&self) -> CompletionToken {
        let note = self.note().await;
        let Note::Token(token) = note else { panic!("{note:?}") };
        token
    }
}
