//! The commands of ZMTP: READY, ERROR, SUBSCRIBE, CANCEL, PING, PONG.

use bytes::{Buf as _, Bytes};

use crate::zmtp::wire::socket::SocketType;
use crate::zmtp::wire::violation::Violation;

/// Longest context of a PING that is repeated, bytes. The protocol allows no more.
const PING_CONTEXT: usize = 16;

/// A command of the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// The peer's metadata.
    Ready(Bytes),
    /// The peer refuses the connection.
    Error,
    /// A subscription to a prefix.
    Subscribe(Bytes),
    /// The end of one.
    Cancel(Bytes),
    /// To be answered with this context.
    Ping(Bytes),
    /// The answer to our PING.
    Pong,
    /// One of a later version.
    Other,
}

impl Command {
    /// Reads the body of a command's frame.
    ///
    /// # Errors
    ///
    /// [`Violation::Command`].
    pub fn read(mut body: Bytes) -> Result<Self, Violation> {
        let name = take_short(&mut body).filter(|name| !name.is_empty());
        let name = name.ok_or(Violation::Command("it has no name"))?;
        Ok(match &*name {
            b"READY" => Self::Ready(body),
            b"ERROR" => Self::Error,
            b"SUBSCRIBE" => Self::Subscribe(body),
            b"CANCEL" => Self::Cancel(body),
            b"PING" => {
                if body.len() < 2 || body.len() > 2 + PING_CONTEXT {
                    return Err(Violation::Command("PING"));
                }
                body.advance(2); // the ttl: how long the peer waits is its own affair
                Self::Ping(body)
            }
            b"PONG" => Self::Pong,
            _ => Self::Other,
        })
    }
}

/// Checks the metadata of a READY: they parse, and their socket type may talk to `ours`.
///
/// # Errors
///
/// [`Violation::Command`], [`Violation::SocketType`].
pub fn check_ready(ours: SocketType, mut metadata: Bytes) -> Result<(), Violation> {
    let mut socket = None;
    while !metadata.is_empty() {
        let name = take_short(&mut metadata).filter(|name| !name.is_empty());
        let name = name.ok_or(Violation::Command("READY has a property without a name"))?;
        let value = take_long(&mut metadata);
        let value = value.ok_or(Violation::Command("READY has a property that is cut off"))?;
        if name.eq_ignore_ascii_case(b"Socket-Type") && socket.replace(value).is_some() {
            return Err(Violation::Command("READY has two socket types"));
        }
    }
    let socket = socket.ok_or(Violation::Command("READY has no socket type"))?;
    if ours.talks_to(&socket) {
        return Ok(());
    }
    let peer = String::from_utf8_lossy(&socket[..socket.len().min(16)]).escape_debug().to_string();
    Err(Violation::SocketType { ours, peer })
}

/// Takes bytes with a length of one byte before them.
fn take_short(from: &mut Bytes) -> Option<Bytes> {
    let length = usize::from(*from.first()?);
    take(from, 1, length)
}

/// Takes bytes with a length of four bytes before them.
fn take_long(from: &mut Bytes) -> Option<Bytes> {
    let length = from.get(..4)?.try_into().ok().map(u32::from_be_bytes)?;
    take(from, 4, usize::try_from(length).ok()?)
}

fn take(from: &mut Bytes, head: usize, length: usize) -> Option<Bytes> {
    if from.len() - head < length {
        return None;
    }
    from.advance(head);
    Some(from.split_to(length))
}
