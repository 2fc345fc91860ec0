//! The bytes that our side writes.

use crate::zmtp::wire::frame::Head;
use crate::zmtp::wire::greeting;
use crate::zmtp::wire::socket::SocketType;

/// Returns the first bytes of a connection: greeting and READY, which wait for nothing.
#[must_use]
pub fn opening(ours: SocketType) -> Vec<u8> {
    let mut out = greeting::write().to_vec();
    out.extend(ready(ours));
    out
}

/// Returns the command READY.
#[must_use]
pub fn ready(ours: SocketType) -> Vec<u8> {
    let mut properties = vec![("Socket-Type", ours.as_str())];
    if ours == SocketType::Req {
        properties.push(("Identity", ""));
    }
    let mut body = Vec::new();
    for (name, value) in properties {
        // Names and values are the ones above.
        body.push(name.len() as u8);
        body.extend(name.as_bytes());
        body.extend((value.len() as u32).to_be_bytes());
        body.extend(value.as_bytes());
    }
    command("READY", &body)
}

/// Returns a PING, without a limit of its own for the answer.
#[must_use]
pub fn ping() -> Vec<u8> {
    command("PING", &[0, 0])
}

/// Returns the answer to a PING.
#[must_use]
pub fn pong(context: &[u8]) -> Vec<u8> {
    command("PONG", context)
}

/// Returns a subscription to `prefix`, for a peer that has announced the version 3.`minor`.
#[must_use]
pub fn subscribe(prefix: &[u8], minor: u8) -> Vec<u8> {
    if minor > 0 {
        return command("SUBSCRIBE", prefix);
    }
    message(&[&[&[1], prefix].concat()])
}

/// Returns a message of these frames.
#[must_use]
pub fn message(frames: &[&[u8]]) -> Vec<u8> {
    let length: usize = frames.iter().map(|frame| 9 + frame.len()).sum();
    let mut out = Vec::with_capacity(length);
    for (index, frame) in frames.iter().enumerate() {
        Head::write(&mut out, false, index + 1 < frames.len(), frame.len());
        out.extend_from_slice(frame);
    }
    out
}

fn command(name: &str, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Head::write(&mut out, true, false, 1 + name.len() + body.len());
    // Names are the ones above.
    out.push(name.len() as u8);
    out.extend(name.as_bytes());
    out.extend(body);
    out
}
