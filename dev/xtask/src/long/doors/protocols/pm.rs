//! `pm`: an application on the package json-rpc, against the peer of the gateway's tests.

use std::path::Path;

use miette::{IntoDiagnostic as _, miette};
use serde_json::Value;

use crate::long::doors::stage::flood::{Held, hold, send, unread};
use crate::long::doors::stage::place::Place;
use crate::long::doors::stage::program::Program;
use crate::long::doors::stage::protocol::{Original, Protocol};
use crate::long::doors::stage::rig::Rig;

pub(crate) const PM: Protocol = Protocol {
    name: "pm",
    folder: "pm",
    cases: &[("link", "json-rpc peer")],
    shares_link: true,
    settings,
    address: |rig| rig.address("good", "listen"),
    original,
    attack,
    bound: 800.0,
};

/// Two doors: one application at a time is connected to each.
fn settings(_: &Place, _: &Path) -> miette::Result<String> {
    Ok("[jobs.custom_echo]\nhandler = \"builtin:echo\"\n\
        [gateways.good]\nprotocol = \"pm\"\nlisten = \"127.0.0.1:0\"\n\
        [gateways.door]\nprotocol = \"pm\"\nlisten = \"127.0.0.1:0\"\n"
        .to_owned())
}

fn original(place: &Place, protocol: &Protocol, _: &str) -> miette::Result<Original> {
    let args = ["listen", "127.0.0.1", "0"];
    let python = place.python(protocol.folder)?;
    let mut peer = Program::start(python, &place.tests("pm/peer.py"), &args, &[])?;
    let event: Value = serde_json::from_str(&peer.line()?).into_diagnostic()?;
    let port = event["port"].as_u64().ok_or_else(|| miette!("the peer does not listen"))?;
    let address = format!("127.0.0.1:{port}");
    Ok(Original { address, _programs: vec![peer], _redis: None })
}

/// All inputs of the vectors, each on a link of its own; connections beyond the one; a peer that
/// reads no answers.
fn attack(place: &Place, rig: &Rig) -> miette::Result<Held> {
    let door = rig.address("door", "listen")?;
    for (number, bytes) in place.hostile("pm", "bytes_hex")?.iter().enumerate() {
        send(&door, bytes)?;
        // The next one would be closed at once before.
        rig.wait("the link to end", || Ok(rig.logged("a link has ended") > number))?;
    }
    let large = "x".repeat(1_900_000);
    let request = format!(
        r#"{{"jsonrpc": "2.0", "id": 1, "method": "custom_echo", "params": {{"a": "{large}"}}}}"#
    );
    let length = u32::try_from(request.len()).into_diagnostic()?.to_be_bytes();
    let mut held = unread(&door, &[], &[&length, request.as_bytes()].concat(), 100, 1)?;
    held.extend(hold(&door, &[0, 0x0f, 0, 0], 1000)?);
    Ok(held)
}
