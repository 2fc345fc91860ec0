//! `bgpy`: bgpy's own client and tasks, against bgpy's own server.

use std::path::Path;

use miette::{IntoDiagnostic as _, miette};
use serde_json::Value;

use crate::long::doors::stage::flood::{Held, hold, send, unread};
use crate::long::doors::stage::place::{Place, unhex};
use crate::long::doors::stage::protocol::{Original, Protocol};
use crate::long::doors::stage::rig::Rig;

pub(crate) const BGPY: Protocol = Protocol {
    name: "bgpy",
    folder: "bgpy",
    cases: &[("exec", "bgpy's own server")],
    shares_link: false,
    settings,
    address: |rig| rig.address("door", "listen"),
    original: |place, protocol, _| Original::start(place, protocol, &[]),
    attack,
    bound: 320.0,
};

/// The guide's service runs bgpy's tasks. The token is that of the recorded session.
fn settings(place: &Place, folder: &Path) -> miette::Result<String> {
    let page = place.root.join("docs/guide/gateway-bgpy.md");
    let page = std::fs::read_to_string(page).into_diagnostic()?;
    let service = page.split("```python\n").nth(1).and_then(|rest| rest.split("```").next());
    let service = service.ok_or_else(|| miette!("the guide has no service"))?;
    std::fs::write(folder.join("bgpy_service.py"), service).into_diagnostic()?;
    let (python, helper) = (place.python("bgpy")?, place.root.join("python/redcall_process.py"));
    Ok(format!(
        "[services.counter]\nprocess = [{python:?}, {helper:?}, \"bgpy_service\"]\n\
         [gateways.door]\nprotocol = \"bgpy\"\nlisten = \"127.0.0.1:0\"\n\
         service = \"counter\"\ntoken = \"tok-0123456789\"\n"
    ))
}

/// Messages of a client of the recorded session: token, receipt, and EXEC.
fn recorded(place: &Place) -> miette::Result<[Vec<u8>; 3]> {
    let text = std::fs::read_to_string(place.tests("vectors/bgpy/session.jsonl"));
    let text = text.into_diagnostic()?;
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut sent = lines.filter(|line| line["c"] == 2 && line["d"] == "C>S");
    let mut next = || sent.next().and_then(|line| unhex(line["hex"].as_str()?));
    let mut messages = || Some([next()?, next()?, next()?]);
    messages().ok_or_else(|| miette!("the recorded session is shorter"))
}

/// A message whose pickle is PROTO 4 and then one instruction, as base64: its start and the rest.
fn message(start: &str, rest: &str) -> Vec<u8> {
    let text = start.to_owned() + &rest.repeat(2_000_000 / rest.len());
    let lines: Vec<&str> =
        text.as_bytes().chunks(76).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    let body = lines.join("\n") + "\n";
    format!("{:<16}{body}", body.len()).into_bytes()
}

/// All inputs of the vectors before and after the token, large messages, connections with half a
/// message, clients that read nothing.
fn attack(place: &Place, rig: &Rig) -> miette::Result<Held> {
    let door = rig.address("door", "listen")?;
    let [token, receipt, exec] = recorded(place)?;
    let begin = [token, receipt].concat();
    // Lists in lists, marks, and shared tuples.
    let large = [("gARd", "XV1d"), ("gAQo", "KCgo"), ("gARd", "KZQplCmU")];
    let large = large.iter().cycle().take(12).map(|(start, rest)| message(start, rest));
    let mut inputs = place.hostile("bgpy", "bytes_hex")?;
    inputs.extend(large);
    std::thread::scope(|scope| {
        let sent: Vec<_> = inputs
            .iter()
            .map(|input| {
                let (door, begin) = (&door, &begin);
                scope.spawn(move || {
                    send(door, input)?;
                    send(door, &[begin.as_slice(), input].concat())
                })
            })
            .collect();
        let joined = |sent: std::thread::ScopedJoinHandle<'_, miette::Result<()>>| {
            sent.join().map_err(|_| miette!("a sender has panicked"))?
        };
        sent.into_iter().try_for_each(joined)
    })?;
    let half = format!("{:<16}{}", 4096, "A".repeat(4095));
    let mut held = hold(&door, half.as_bytes(), 400)?;
    let large = format!("{:<16}{}", 1 << 20, "A".repeat(1 << 16));
    held.extend(hold(&door, &[&begin, large.as_bytes()].concat(), 200)?);
    held.extend(unread(&door, &begin, &exec, 20_000, 20)?);
    Ok(held)
}
