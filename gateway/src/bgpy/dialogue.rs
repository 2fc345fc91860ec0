//! The dialogue of one connection: token, then one message after the other.

use std::sync::Arc;

use redcall_client::ServiceOp;
use redcall_common::settings::BgpySettings;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::link::Link;
use super::reply::{Reply, WRONG_TOKEN};
use super::service::Calls;
use super::wire::framing::FrameError;
use super::wire::message::{self, Call, Message, Tasks, type_name};
use crate::door::{Connection, Door};
use crate::pickle::{Bounds, Refused};

/// The largest first message, bytes: it is read before the token is known.
const FIRST: usize = 4 << 10;

/// A message above this size is read by one thread for all connections, bytes: a hostile one takes
/// tens of milliseconds and up to forty times its size of memory.
const LARGE: usize = 64 << 10;

/// The parts of the door that its connections share.
pub(super) struct Shared {
    pub(super) own: BgpySettings,
    /// Held while a large message is read.
    large: Semaphore,
}

impl Shared {
    pub(super) fn new(own: BgpySettings) -> Self {
        Self { own, large: Semaphore::new(1) }
    }

    async fn read(&self, pickle: Vec<u8>, bounds: Bounds) -> Result<Message, Refused> {
        if pickle.len() <= LARGE {
            return message::message(&pickle, &bounds);
        }
        // The semaphore is never closed.
        let _permit = self.large.acquire().await;
        let read = spawn_blocking(move || message::message(&pickle, &bounds)).await;
        read.unwrap_or(Err(Refused::Shape("not readable")))
    }
}

/// Why a connection is closed by us.
#[derive(Debug, thiserror::Error)]
enum Closed {
    #[error("a frame cannot be read")]
    Frame(#[from] FrameError),
    #[error("no authentication")]
    Unauthenticated,
    #[error("wrong token")]
    WrongToken,
    #[error("a message cannot be read")]
    Message,
}

impl Closed {
    /// The word for metrics and log; `None` if the client has just gone.
    fn why(&self) -> Option<&'static str> {
        match self {
            Self::Frame(FrameError::Io(_)) => None,
            Self::Frame(_) | Self::Message => Some("malformed"),
            Self::Unauthenticated => Some("unauthenticated"),
            Self::WrongToken => Some("token"),
        }
    }
}

/// Serves one connection to its end.
pub(super) async fn converse(door: Arc<Door>, shared: Arc<Shared>, connection: Connection) {
    let Connection { stream, peer, open } = connection;
    let link = Link::new(stream, FIRST, shared.own.pace);
    let calls = Calls::new(&door, &shared.own, &peer);
    let mut dialogue = Dialogue { door: &door, shared: &shared, calls, link };
    let ended = dialogue.run().await;
    if let Err(closed) = ended
        && let Some(why) = closed.why()
    {
        door.refuse(&peer, why);
    }
    dialogue.link.close().await;
    drop(open);
}

struct Dialogue<'a> {
    door: &'a Door,
    shared: &'a Shared,
    calls: Calls<'a>,
    link: Link,
}

impl Dialogue<'_> {
    async fn run(&mut self) -> Result<(), Closed> {
        let Some(first) = self.next().await? else { return Ok(()) };
        let token = message::token(&first).map_err(|_| Closed::Unauthenticated)?;
        self.authenticate(token.as_deref()).await?;
        let limit = self.door.settings().message;
        self.link.set_limit(limit);
        let bounds = Bounds { bytes: limit, depth: self.door.all_settings().limits.depth };
        while let Some(pickle) = self.next().await? {
            match self.shared.read(pickle, bounds).await {
                Ok(Message::Auth(token)) => self.authenticate(token.as_deref()).await?,
                Ok(Message::Init(tasks)) => self.initialize(tasks).await?,
                Ok(Message::Call(call)) if call.awaits => self.call(call).await?,
                Ok(Message::Call(call)) => self.enqueue(call).await?,
                Ok(Message::Receipt) => {}
                Err(refused) => {
                    // In place of a receipt and of an answer: it is not known which one the client
                    // returns to its caller.
                    let reply = Reply::refused(&format!("{refused}."));
                    self.link.send(&reply).await?;
                    self.link.send_last(&reply).await?;
                    return Err(Closed::Message);
                }
            }
        }
        Ok(())
    }

    /// Waits for the next message; `None` if the client has closed, was silent for too long, or the
    /// door drains.
    async fn next(&mut self) -> Result<Option<Vec<u8>>, Closed> {
        match self.door.next(self.link.next()).await {
            Ok(read) => Ok(read?),
            Err(_over) => Ok(None),
        }
    }

    async fn authenticate(&mut self, token: Option<&str>) -> Result<(), Closed> {
        self.link.send(&Reply::receipt("AUTH")).await?;
        if self.door.admits(token.unwrap_or_default().as_bytes()) {
            let done = Reply::done("Authentication successful.");
            return Ok(self.link.send_last(&done).await?);
        }
        self.link.send_last(&Reply::refused(WRONG_TOKEN)).await?;
        Err(Closed::WrongToken)
    }

    async fn initialize(&mut self, tasks: Option<Tasks>) -> Result<(), Closed> {
        self.link.send(&Reply::receipt(type_name(ServiceOp::Init))).await?;
        let served = |tasks: &Tasks| self.shared.own.tasks.as_ref().is_none_or(|own| own == tasks);
        let reply = match tasks.filter(served) {
            None => Reply::refused("These tasks are not served here."),
            Some(tasks) => {
                let Some(initialized) =
                    unless_gone(&mut self.link, self.calls.initialize(&tasks)).await
                else {
                    return Ok(());
                };
                initialized
            }
        };
        Ok(self.link.send_last(&reply).await?)
    }

    /// Runs a task whose answer the client waits for.
    async fn call(&mut self, call: Call) -> Result<(), Closed> {
        let (link, calls) = (&mut self.link, &self.calls);
        link.send(&Reply::receipt(type_name(call.op))).await?;
        match unless_gone(link, calls.run(&call)).await {
            Some(reply) => Ok(link.send_last(&reply).await?),
            None => Ok(()),
        }
    }

    /// Enqueues a task, then sends the receipt: a receipted task is not lost.
    async fn enqueue(&mut self, call: Call) -> Result<(), Closed> {
        let reply = match self.calls.enqueue(&call).await {
            Ok(()) => Reply::receipt(type_name(call.op)),
            Err(reply) => reply,
        };
        Ok(self.link.send(&reply).await?)
    }
}

/// Waits for a call; `None` if the client closes before, which withdraws it.
async fn unless_gone<T>(link: &mut Link, call: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        done = call => Some(done),
        () = link.closed() => None,
    }
}
