//! `zmtp`: a console of auto-trainer-api, against its own device and a plain REP socket.

use std::path::Path;

use crate::long::doors::stage::flood::{Held, hold, send, unread};
use crate::long::doors::stage::place::Place;
use crate::long::doors::stage::protocol::{Original, Protocol};
use crate::long::doors::stage::rig::Rig;

pub(crate) const ZMTP: Protocol = Protocol {
    name: "zmtp",
    folder: "zmtp",
    cases: &[("device", "the API's device"), ("rep", "plain pyzmq REP")],
    shares_link: false,
    settings,
    address: |rig| rig.address("door", "listen_commands"),
    original: |place, protocol, case| Original::start(place, protocol, &["-", case]),
    attack,
    bound: 256.0,
};

fn settings(_: &Place, _: &Path) -> miette::Result<String> {
    Ok("[worker]\nqueues = [\"device\"]\n[jobs.mode]\nhandler = \"builtin:echo\"\n\
        [gateways.door]\nprotocol = \"zmtp\"\nlisten_commands = [\"127.0.0.1:0\"]\n\
        listen_events = [\"127.0.0.1:0\"]\n[gateways.door.commands]\n130 = \"mode\"\n"
        .to_owned())
}

/// The greeting of version 3.1 with the mechanism NULL.
fn greeting() -> Vec<u8> {
    [&b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\x01NULL"[..], &[0; 48]].concat()
}

/// Greeting and READY of a peer of this type, then `more`.
fn peer(socket: &str, more: &[u8]) -> Vec<u8> {
    let length = socket.len() as u8;
    let ready = [&[4, 22 + length][..], b"\x05READY\x0bSocket-Type\0\0\0", &[length]].concat();
    [greeting(), ready, socket.as_bytes().to_vec(), more.to_vec()].concat()
}

/// A frame of this kind: its length in 8 bytes.
fn long(flags: u8, length: u64, body: &[u8]) -> Vec<u8> {
    [&[flags], &length.to_be_bytes()[..], body].concat()
}

/// Greetings and frames that no peer sends, on both sockets; connections with half a frame;
/// consoles and subscribers that read nothing.
fn attack(_: &Place, rig: &Rig) -> miette::Result<Held> {
    let commands = rig.address("door", "listen_commands")?;
    let events = rig.address("door", "listen_events")?;
    let subscribe = |n: u32| [&b"\x04\x0e\x09SUBSCRIBE"[..], &n.to_le_bytes()].concat();
    let filters: Vec<u8> = (0..2000).flat_map(subscribe).collect();
    let part = long(3, 1 << 19, &vec![0; 1 << 19]);
    let (huge, deep) = (long(2, u64::MAX >> 1, &[0; 1 << 16]), vec![b'['; 1 << 19]);
    let inputs = [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        vec![0xff; 1 << 16],
        [greeting(), vec![0xff; 1 << 16]].concat(),
        [greeting(), b"\x04\x16\x05READY\x0bSocket-Type\xff\xff\xff\xff".to_vec()].concat(),
        [greeting(), long(6, 1 << 30, &[])].concat(),
        peer("ROUTER", b""),
        peer("REQ", &[0xf0, 0]),
        peer("REQ", &huge),
        peer("SUB", &huge),
        peer("REQ", &part.repeat(8)),
        peer("REQ", &[1, 0].repeat(100_000)),
        peer("REQ", &[&[1, 0][..], &long(2, 1 << 19, &deep)].concat()),
        peer("SUB", &filters),
        peer("XSUB", &long(2, 1 << 24, &[1; 64])),
    ];
    for input in inputs.iter().cycle().take(3 * inputs.len()) {
        send(&commands, input)?;
        send(&events, input)?;
    }
    let half = long(2, 1 << 19, &vec![0; 1 << 16]);
    let mut held = hold(&commands, &peer("REQ", &[&[1, 0][..], &half].concat()), 200)?;
    held.extend(hold(&events, &peer("SUB", b"\x04\x0a\x09SUBSCRIBE"), 200)?);
    let text = format!(r#"{{"command": 130, "nonce": 1, "data": "{}"}}"#, "x".repeat(1 << 18));
    let command = [&[1, 0][..], &long(2, text.len() as u64, text.as_bytes())].concat();
    held.extend(unread(&commands, &peer("REQ", b""), &command, 100, 20)?);
    Ok(held)
}
