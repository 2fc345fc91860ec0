//! Reading one connection.

use bytes::{Buf as _, Bytes, BytesMut};

use crate::zmtp::wire::command::{Command, check_ready};
use crate::zmtp::wire::frame::Head;
use crate::zmtp::wire::greeting;
use crate::zmtp::wire::socket::SocketType;
use crate::zmtp::wire::violation::Violation;

/// Largest command, and largest message of a subscriber, bytes.
const COMMAND_BYTES: usize = 4096;

/// The most frames of one message: addresses, the delimiter, the body.
const FRAMES: usize = 64;

/// A message or a command of the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// The handshake is complete: the peer has announced the version 3.`minor`.
    Ready {
        /// The minor version.
        minor: u8,
    },
    /// A message, by its frames. Never of a subscriber.
    Message(Vec<Bytes>),
    /// A subscriber wants messages that begin with this.
    Subscribe(Bytes),
    /// A subscriber ends one subscription to this.
    Cancel(Bytes),
    /// To be answered with this context.
    Ping(Bytes),
    /// The answer to our PING.
    Pong,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    Greeting,
    Handshake { minor: u8 },
    Traffic,
}

/// Reads the bytes of one connection, from its beginning.
#[derive(Debug)]
pub struct Decoder {
    ours: SocketType,
    /// Largest message, bytes of all its frames.
    largest: usize,
    stage: Stage,
    /// The frames of the message that is being read, and their bytes.
    frames: Vec<Bytes>,
    size: usize,
}

impl Decoder {
    /// Creates the reader of a peer of our socket `ours`, with messages of at most `largest` bytes.
    #[must_use]
    pub fn new(ours: SocketType, largest: usize) -> Self {
        Self { ours, largest, stage: Stage::Greeting, frames: Vec::new(), size: 0 }
    }

    /// Returns the bound of the frame `head`, given the earlier frames of its message, bytes.
    fn limit(&self, head: Head) -> usize {
        let is_small = head.command
            || matches!(self.stage, Stage::Handshake { .. })
            || self.ours == SocketType::Pub;
        if is_small { self.largest.min(COMMAND_BYTES) } else { self.largest }
    }

    /// Takes one frame; `None` if it has not arrived completely.
    fn frame(&mut self, from: &mut BytesMut) -> Result<Option<(Head, Bytes)>, Violation> {
        let Some(head) = Head::read(from)? else { return Ok(None) };
        let earlier = if head.command { 0 } else { self.size };
        let (size, limit) = (head.body.saturating_add(earlier as u64), self.limit(head));
        if size > limit as u64 {
            return Err(Violation::TooLarge { size, limit });
        }
        // Below the limit, so it fits.
        let length = usize::try_from(head.body).unwrap_or(limit);
        if from.len() < head.head + length {
            return Ok(None);
        }
        from.advance(head.head);
        Ok(Some((head, from.split_to(length).freeze())))
    }

    /// Adds a frame to its message; returns the message if it is complete.
    fn add(&mut self, more: bool, body: Bytes) -> Result<Option<Vec<Bytes>>, Violation> {
        if self.frames.len() == FRAMES {
            return Err(Violation::TooManyFrames { limit: FRAMES });
        }
        self.size += body.len();
        self.frames.push(body);
        if more {
            return Ok(None);
        }
        self.size = 0;
        Ok(Some(std::mem::take(&mut self.frames)))
    }

    fn handshake(&mut self, minor: u8, command: Command) -> Result<Incoming, Violation> {
        match command {
            Command::Ready(metadata) => {
                check_ready(self.ours, metadata)?;
                self.stage = Stage::Traffic;
                Ok(Incoming::Ready { minor })
            }
            Command::Error => Err(Violation::Refused),
            _ => Err(Violation::NotReady),
        }
    }

    fn traffic(&self, command: Command) -> Result<Option<Incoming>, Violation> {
        let is_publisher = self.ours == SocketType::Pub;
        match command {
            Command::Ready(_) => Err(Violation::Command("a second READY")),
            Command::Error => Err(Violation::Refused),
            Command::Subscribe(prefix) if is_publisher => Ok(Some(Incoming::Subscribe(prefix))),
            Command::Cancel(prefix) if is_publisher => Ok(Some(Incoming::Cancel(prefix))),
            Command::Subscribe(_) | Command::Cancel(_) => {
                Err(Violation::Command("a subscription to a socket that does not publish"))
            }
            Command::Ping(context) => Ok(Some(Incoming::Ping(context))),
            Command::Pong => Ok(Some(Incoming::Pong)),
            Command::Other => Ok(None),
        }
    }

    /// Interprets a complete message: subscribers of version 3.0 subscribe by messages.
    fn message(&self, mut frames: Vec<Bytes>) -> Option<Incoming> {
        if self.ours != SocketType::Pub {
            return Some(Incoming::Message(frames));
        }
        let mut body = frames.pop().filter(|_| frames.is_empty())?;
        let first = *body.first()?;
        body.advance(1);
        match first {
            1 => Some(Incoming::Subscribe(body)),
            0 => Some(Incoming::Cancel(body)),
            // An XSUB may send messages to its publisher, which has no use for them.
            _ => None,
        }
    }
}

impl tokio_util::codec::Decoder for Decoder {
    type Item = Incoming;
    type Error = Violation;

    fn decode(&mut self, from: &mut BytesMut) -> Result<Option<Incoming>, Violation> {
        if let Stage::Greeting = self.stage {
            let Some(minor) = greeting::read(from)? else { return Ok(None) };
            from.advance(greeting::LENGTH);
            self.stage = Stage::Handshake { minor };
        }
        loop {
            let Some((head, body)) = self.frame(from)? else { return Ok(None) };
            let incoming = match self.stage {
                Stage::Traffic if head.command => self.traffic(Command::read(body)?)?,
                Stage::Handshake { minor } if head.command => {
                    Some(self.handshake(minor, Command::read(body)?)?)
                }
                Stage::Traffic => {
                    self.add(head.more, body)?.and_then(|frames| self.message(frames))
                }
                Stage::Greeting | Stage::Handshake { .. } => return Err(Violation::NotReady),
            };
            if incoming.is_some() {
                return Ok(incoming);
            }
        }
    }

    /// A connection may end at any byte: an unfinished frame is of no use.
    fn decode_eof(&mut self, from: &mut BytesMut) -> Result<Option<Incoming>, Violation> {
        self.decode(from)
    }
}
