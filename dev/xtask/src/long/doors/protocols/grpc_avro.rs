//! `grpc-avro`: a client of grpcio and fastavro, beside a grpcio server of the same schema.

use std::path::Path;

use crate::long::doors::stage::flood::{Held, hold, send, unread};
use crate::long::doors::stage::place::Place;
use crate::long::doors::stage::protocol::{Original, Protocol};
use crate::long::doors::stage::rig::Rig;

pub(crate) const GRPC_AVRO: Protocol = Protocol {
    name: "grpc-avro",
    folder: "grpc_avro",
    cases: &[("call", "grpcio, call"), ("init", "grpcio, init stream")],
    shares_link: false,
    settings,
    address: |rig| rig.address("door", "listen"),
    original: |place, protocol, case| {
        let schema = place.tests(SCHEMA).display().to_string();
        Original::start(place, protocol, &["-", case, &schema])
    },
    attack,
    bound: 448.0,
};

/// The schema of all messages, below `gateway/tests/`.
pub(crate) const SCHEMA: &str = "vectors/grpc_avro/TemplateInput.avsc";

fn settings(place: &Place, _: &Path) -> miette::Result<String> {
    let schema = place.tests(SCHEMA);
    Ok(format!(
        "[jobs.echo]\nhandler = \"builtin:echo\"\n\
         [gateways.door]\nprotocol = \"grpc-avro\"\nlisten = \"127.0.0.1:0\"\n\
         [gateways.door.methods.call]\npath = \"/templateaapi.TemplateCall/callTemplate\"\n\
         does = \"call\"\njob = \"echo\"\nrequest = {schema:?}\nresponse = {schema:?}\n\
         [gateways.door.methods.init]\npath = \"/templateaapi.TemplateInit/initTemplate\"\n\
         does = \"init\"\njob = \"echo\"\nrequest = {schema:?}\nkey = \"hash\"\n\
         status = \"status\"\nfollow = \"task_args.persistence\"\n"
    ))
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header as a literal without an index.
fn header(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
    [vec![0], text(name), text(value)].concat()
}

/// The headers that open a call.
fn call() -> Vec<u8> {
    let headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/templateaapi.TemplateCall/callTemplate"),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    headers.iter().flat_map(|(name, value)| header(name, value)).collect()
}

fn open(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &call())
}

/// A call with this message; it ends its direction.
fn whole(stream: u32, datum: &[u8]) -> Vec<u8> {
    let message = [&[0], &(datum.len() as u32).to_be_bytes()[..], datum].concat();
    [open(stream), frame(DATA, 1, stream, &message)].concat()
}

/// One of these for each of `count` streams of the client.
fn streams(count: u32, of: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    (0..count).flat_map(|n| of(2 * n + 1)).collect()
}

/// The start of a connection with these settings, and then `bytes`.
fn start(settings: &[u8], bytes: &[u8]) -> Vec<u8> {
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &frame(SETTINGS, 0, 0, settings)[..], bytes].concat()
}

fn inputs() -> Vec<Vec<u8>> {
    let entry = [&[0x40, 1, b'x', 0x7f, 0xa1, 0x1e][..], &[b'v'; 4000]].concat();
    let bomb = [entry, vec![0xbe; 10_000]].concat();
    let block = header("x", &"v".repeat(100)).repeat(100);
    let endless = frame(CONTINUATION, 0, 1, &block).repeat(3000);
    let reset = |stream| frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]);
    let half = [&[0, 0, 0x3f, 0, 0][..], &[1; 8000]].concat();
    let large = frame(DATA, 0, 1, &[0, 0xff, 0xff, 0xff, 0xff, 1, 2, 3]);
    let inputs = [
        vec![0xa5; 100_000],
        [&[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1][..], &[0; 99]].concat(),
        frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]).repeat(2),
        frame(HEADERS, 5, 1, &bomb),
        [frame(HEADERS, 0, 1, &call()), endless].concat(),
        [frame(HEADERS, 0, 1, &[]), frame(CONTINUATION, 0, 1, &[]).repeat(20_000)].concat(),
        streams(20_000, |stream| [open(stream), reset(stream)].concat()),
        streams(2000, open),
        frame(SETTINGS, 0, 0, &[]).repeat(20_000),
        frame(PING, 0, 0, &[7; 8]).repeat(20_000),
        [open(1), frame(DATA, 0, 1, &[0; 16_384]).repeat(200)].concat(),
        [open(1), frame(DATA, 0, 1, &[]).repeat(20_000)].concat(),
        [open(1), large].concat(),
        streams(100, |stream| [open(stream), frame(DATA, 0, stream, &half)].concat()),
    ];
    let begun = inputs.iter().map(|bytes| start(&[], bytes));
    begun.chain([b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), vec![0; 100_000]]).collect()
}

/// Hostile HTTP/2 three times, and every datum of the vectors; connections with half a preface;
/// clients that read nothing, neither these nor answers for which they leave no window.
fn attack(place: &Place, rig: &Rig) -> miette::Result<Held> {
    let door = rig.address("door", "listen")?;
    let data = place.hostile("grpc_avro", "datum_hex")?;
    let inputs = inputs();
    for input in inputs.iter().cycle().take(3 * inputs.len()) {
        send(&door, input)?;
    }
    for datum in &data {
        send(&door, &start(&[], &whole(1, datum)))?;
    }
    let mut held = hold(&door, b"PRI * HTTP", 400)?;
    for input in &inputs {
        held.extend(hold(&door, input, 4)?);
    }
    // A text of 8,000 characters, and no other value; as many as fit into the gateway's window.
    let record = [&[0, 0x80, 0x7d][..], &[b'x'; 8000], &[2, 0, 0, 0, 0, 0, 2]].concat();
    let no_window = start(&[0, 4, 0, 0, 0, 0], &streams(7, |stream| whole(stream, &record)));
    held.extend(unread(&door, &no_window, &[], 0, 400)?);
    Ok(held)
}
