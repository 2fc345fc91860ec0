//! `grpc-avro`: a client of grpcio and fastavro, against a grpcio server of the same schema.

use std::path::Path;

use crate::long::doors::stage::flood::{Held, hold, send, unread};
use crate::long::doors::stage::place::Place;
use crate::long::doors::stage::protocol::{Original, Protocol};
use crate::long::doors::stage::rig::Rig;

use http2::{DATA, END_HEADERS, END_STREAM, HEADERS, call, floods, frame, start, streams};

/// The frames of the gateway's tests.
#[path = "../../../../../../gateway/tests/grpc_avro/peers/http2.rs"]
mod http2;

/// The path of a call that is answered.
const CALL: &str = "/templateaapi.TemplateCall/callTemplate";

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
         [gateways.door.methods.call]\npath = {CALL:?}\n\
         does = \"call\"\njob = \"echo\"\nrequest = {schema:?}\nresponse = {schema:?}\n\
         [gateways.door.methods.init]\npath = \"/templateaapi.TemplateInit/initTemplate\"\n\
         does = \"init\"\njob = \"echo\"\nrequest = {schema:?}\nkey = \"hash\"\n\
         status = \"status\"\nfollow = \"task_args.persistence\"\n"
    ))
}

fn open(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &call(CALL))
}

/// A call with this message; it ends its direction.
fn whole(stream: u32, datum: &[u8]) -> Vec<u8> {
    let message = [&[0], &(datum.len() as u32).to_be_bytes()[..], datum].concat();
    [open(stream), frame(DATA, END_STREAM, stream, &message)].concat()
}

fn inputs() -> Vec<Vec<u8>> {
    let noise = start(&[], &[0xa5; 100_000]);
    let others = [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), vec![0; 100_000], noise];
    floods(CALL).into_iter().map(|(_, bytes)| bytes).chain(others).collect()
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
