//! The dialogue of one connection: token, then one message after the other.

use std::sync::Arc;

use redcall_client::{Code, ServiceOp};
use redcall_common::settings::BgpySettings;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::link::Link;
use super::reply::{Reply, WRONG_TOKEN};
use super::service::{Calls, NOT_YET};
use super::wire::framing::FrameError;
use super::wire::message::{self, Call, Message, Tasks, type_name};
use crate::door::{Connection, Door, Failure};
use crate::pickle::{Bounds, Refused};

/// The largest first message, bytes: it is read before the token is known.
const FIRST: usize = 4 << 10;

/// A message above this size is read by a thread of its own, bytes: a hostile one of 16 KB takes
/// tens of milliseconds.
const SMALL: usize = 2 << 10;
/// A message above this size is read alone, bytes: a hostile one needs up to forty times its size
/// of memory.
const LARGE: usize = 64 << 10;
/// The threads that read messages of all connections.
const READERS: u32 = 2;

/// The parts of the door that its connections share.
pub(super) struct Shared {
    pub(super) own: BgpySettings,
    /// Held while a message is read that is not small: all of it for a large one.
    readers: Semaphore,
}

impl Shared {
    pub(super) fn new(own: BgpySettings) -> Self {
        Self { own, readers: Semaphore::new(READERS as usize) }
    }

    async fn read(&self, pickle: Vec<u8>, bounds: Bounds) -> Result<Message, Refused> {
        if pickle.len() <= SMALL {
            return message::message(&pickle, &bounds);
        }
        let readers = if pickle.len() <= LARGE { 1 } else { READERS };
        // The semaphore is never closed.
        let _permit = self.readers.acquire_many(readers).await;
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
            Self::Frame(FrameError::TooLarge { .. }) => Some("too large"),
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
        loop {
            let pickle = match self.next().await {
                Ok(Some(pickle)) => pickle,
                Ok(None) => return Ok(()),
                Err(Closed::Frame(FrameError::TooLarge { length, limit })) => {
                    // A client that still sends does not read: it would get two replies at once.
                    self.link.discard(length).await;
                    let error = FrameError::TooLarge { length, limit };
                    let failure = Failure::new(Code::TooLarge, error.to_string());
                    self.refuse(&Reply::failed(&failure, NOT_YET)).await;
                    return Err(error.into());
                }
                Err(closed) => return Err(closed),
            };
            match self.shared.read(pickle, bounds).await {
                Ok(Message::Auth(token)) => self.authenticate(token.as_deref()).await?,
                Ok(Message::Init(tasks)) => self.initialize(tasks).await?,
                Ok(Message::Call(call)) if call.awaits => self.call(call).await?,
                Ok(Message::Call(call)) => self.enqueue(call).await?,
                Ok(Message::Receipt) => {}
                Err(refused) => {
                    self.refuse(&Reply::refused(&format!("{refused}."))).await;
                    return Err(Closed::Message);
                }
            }
        }
    }

    /// Refuses a message: in place of a receipt and of an answer, as it is not known which one the
    /// client returns to its caller. The message is counted also if the client has gone.
    async fn refuse(&mut self, reply: &Reply) {
        if self.link.send(reply).await.is_ok() {
            let _ = self.link.send_last(reply).await;
        }
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
        // Counted also if the client has gone.
        let _ = self.link.send_last(&Reply::refused(WRONG_TOKEN)).await;
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
