//! ZeroMQ peers of a gateway: the bytes of a connection, and the JSON in its messages.
//!
//! - Bytes that arrive one by one are read like bytes that arrive at once.
//! - No message is larger than its bound, and each is read again from what we write of it.
//! - Every command has an answer, which is JSON, repeats its nonce, and is read again.
//! - Contexts of events are JSON.

use std::collections::BTreeMap;

use redcall_gateway::zmtp::fuzzing;
use redcall_gateway::zmtp::wire::address::ReturnPath;
use redcall_gateway::zmtp::wire::{Decoder, Incoming, SocketType, encode};
use serde_json::value::RawValue;
use tokio_util::bytes::BytesMut;
use tokio_util::codec::Decoder as _;

/// Bound of a message, bytes.
const LARGEST: usize = 512;

/// Checks one input: its first byte selects our socket, the others are the connection.
#[allow(clippy::missing_panics_doc, reason = "the panic is the finding")]
pub fn check(input: &[u8]) {
    let Some((first, bytes)) = input.split_first() else { return };
    let ours = [SocketType::Rep, SocketType::Pub, SocketType::Req, SocketType::Sub];
    let ours = ours[usize::from(first % 4)];
    let whole = [&encode::opening(opposite(ours))[..], bytes].concat();
    for connection in [bytes, &whole] {
        let read = read(ours, connection, connection.len().max(1));
        assert_eq!(read, self::read(ours, connection, 1));
        for incoming in read.0 {
            if let Incoming::Message(frames) = incoming {
                written_again(ours, &frames);
                if let Some((path, body)) = ReturnPath::split(frames) {
                    body.first().into_iter().for_each(|body| json(body));
                    assert_eq!(path.answer(b"x").last(), Some(&&b"x"[..]));
                }
            }
        }
    }
    json(bytes);
}

fn opposite(ours: SocketType) -> SocketType {
    match ours {
        SocketType::Rep => SocketType::Req,
        SocketType::Pub => SocketType::Sub,
        SocketType::Req => SocketType::Rep,
        SocketType::Sub => SocketType::Pub,
    }
}

/// Reads a connection whose bytes arrive in pieces; returns what it sends, and whether it is
/// closed.
fn read(ours: SocketType, connection: &[u8], piece: usize) -> (Vec<Incoming>, bool) {
    let (mut decoder, mut buffer) = (Decoder::new(ours, LARGEST), BytesMut::new());
    let mut all = Vec::new();
    for piece in connection.chunks(piece) {
        buffer.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut buffer) {
                Ok(Some(incoming)) => all.push(incoming),
                Ok(None) => break,
                Err(_) => return (all, true),
            }
        }
    }
    (all, false)
}

fn written_again(ours: SocketType, frames: &[tokio_util::bytes::Bytes]) {
    assert!(frames.iter().map(|frame| frame.len()).sum::<usize>() <= LARGEST);
    let frames: Vec<&[u8]> = frames.iter().map(|frame| &**frame).collect();
    let connection = [encode::opening(opposite(ours)), encode::message(&frames)].concat();
    let (read, _) = read(ours, &connection, connection.len());
    let Some(Incoming::Message(again)) = read.last() else { panic!("{read:?}") };
    assert!(again.iter().map(|frame| &**frame).eq(frames));
}

fn json(body: &[u8]) {
    let answer = fuzzing::answer(body);
    // Raw, since numbers may have any size.
    let members: BTreeMap<String, &RawValue> =
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"));
    assert_eq!(members.len(), 7, "{answer}");
    if members["result"].get() == "100" {
        let nonce = members["nonce"].get();
        assert!(fuzzing::answered(answer.as_bytes(), nonce).is_some(), "{answer}");
    }
    let _ = fuzzing::answered(body, "1");
    if let Some((kind, context)) = fuzzing::event(4001, body) {
        assert!(kind > 0 && serde_json::from_str::<&RawValue>(&context).is_ok(), "{context}");
    }
}
