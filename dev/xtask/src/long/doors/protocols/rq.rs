//! `rq`: callers in the form of python-rpc, against two workers of rq on a plain Redis.

use std::path::Path;

use crate::long::doors::stage::flood::Held;
use crate::long::doors::stage::place::Place;
use crate::long::doors::stage::program::Program;
use crate::long::doors::stage::protocol::{Original, Protocol};
use crate::long::doors::stage::rig::Rig;
use crate::long::stage::server::Server;

pub(crate) const RQ: Protocol = Protocol {
    name: "rq",
    folder: "rq",
    cases: &[("wait", "rq, two workers")],
    shares_link: false,
    settings,
    address: |rig| Ok(address(rig.redis())),
    original,
    attack,
    bound: 512.0,
};

/// The largest message by default, bytes.
const MESSAGE: usize = 2 << 20;

fn settings(_: &Place, _: &Path) -> miette::Result<String> {
    Ok("[jobs.add]\nhandler = \"builtin:add\"\n\
        [gateways.door]\nprotocol = \"rq\"\ntake = [\"default\"]\n"
        .to_owned())
}

/// As redis-py writes it.
fn address(redis: &Server) -> String {
    redis.url().replace("redis+unix://", "unix://")
}

fn original(place: &Place, protocol: &Protocol, _: &str) -> miette::Result<Original> {
    let redis = Server::start()?;
    let address = address(&redis);
    let modules = place.tests("rq/python").display().to_string();
    let variables = [("PYTHONPATH", modules.as_str()), ("RQ_REDIS_URL", address.as_str())];
    let worker = || {
        let script = place.script("rq_server.py");
        Program::start(place.python(protocol.folder)?, &script, &[&address], &variables)
    };
    let workers = vec![worker()?, worker()?];
    Ok(Original { address, _programs: workers, _redis: Some(redis) })
}

/// Every hostile pickle three times, and large ones of one instruction, all at once.
fn attack(place: &Place, rig: &Rig) -> miette::Result<Held> {
    let vectors = place.hostile("rq", "data_hex")?;
    let mut jobs: Vec<Vec<u8>> = vectors.iter().cycle().take(3 * vectors.len()).cloned().collect();
    for part in [&b"]"[..], b"(", b")\x94", b"]\x85", b"N0"] {
        let pickle = [b"\x80\x04", &*part.repeat(MESSAGE / part.len() - 2), b"."].concat();
        jobs.extend(vec![pickle; 16]);
    }
    jobs.push(vec![b'x'; 4 * MESSAGE]);
    let mut wire = rig.wire()?;
    for (number, data) in jobs.iter().enumerate() {
        let id = format!("00000000-0000-4000-8000-{number:012x}");
        let key = format!("rq:job:{id}");
        wire.request(&[b"HSET", key.as_bytes(), b"data", data, b"status", b"queued"])?;
        wire.command(&["RPUSH", "rq:queue:default", &id])?;
    }
    rig.wait("the hostile jobs to end", || {
        let inboxes = wire.texts(&["KEYS", "redcall-gateway:rq:door:inbox:*"])?;
        Ok(inboxes.is_empty() && wire.number(&["EXISTS", "rq:queue:default"])? == 0)
    })?;
    Ok(Held::new())
}
