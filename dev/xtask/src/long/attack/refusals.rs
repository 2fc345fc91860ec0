//! Requests that end at launch: each kind, at many slots and at one.

use std::time::{Duration, Instant};

use super::run::Run;
use super::stage::rig::{Rig, Setup};
use super::stage::row::{Bounds, Figures};

/// How many are queued at most: a legitimate call has to wait for them.
const AHEAD: i64 = 2000;
const BATCH: u64 = 500;

/// A kind, and the text after the response key in its request.
const KINDS: &[(&str, &str)] = &[
    ("budget over", r#""name":"echo","data":1,"enqueued_at":1,"budget_ms":1000"#),
    ("unknown job", r#""name":"nosuch","data":1"#),
    ("bad name", r#""name":"a b","data":1"#),
    ("no data", r#""name":"echo""#),
    ("wrong v", r#""name":"echo","data":1,"v":7"#),
    ("too deep", r#""name":"echo","data":DEEP"#),
    ("unsigned", r#""name":"echo","data":1"#),
];

/// Slots, and how many have to be done a second then.
const AT: [(u32, f64); 2] = [(64, 20_000.0), (1, 5_000.0)];

pub(super) fn run(run: &mut Run) -> miette::Result<()> {
    let lasts = run.lasts(Duration::from_secs(4));
    for (kind, fields) in KINDS {
        for (concurrency, least) in AT {
            let name = format!("{kind}, concurrency {concurrency}");
            if !run.wants(&name) {
                continue;
            }
            let signed = *kind == "unsigned";
            let setup = Setup { concurrency, signed, ..Setup::default() };
            let rig = Rig::start(&run.worker, &setup)?;
            let bounds = Bounds { rate: Some(least), ..Bounds::default() };
            run.note(rig.with_callers(&name, bounds, |rig| feed(rig, fields, lasts))?);
        }
    }
    Ok(())
}

/// Keeps the queue full of such requests, and counts how many are done.
fn feed(rig: &Rig, fields: &str, lasts: Duration) -> miette::Result<Figures> {
    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    let fields = fields.replace("DEEP", &deep);
    let request = |number: u64| {
        let id = format!("a{number}");
        let key = rig.keys.response(&id);
        format!(r#"{{"id":"{id}","response_key":"{key}",{fields}}}"#).into_bytes()
    };
    let (mut wire, queue) = (rig.wire()?, rig.keys.queue());
    let ten: Vec<Vec<u8>> = (0..10).map(request).collect();
    let since = Instant::now();
    wire.push(&queue, &ten)?;
    let keys: Vec<String> =
        (0..10).map(|number| rig.keys.response(&format!("a{number}"))).collect();
    let mut words = vec!["EXISTS"];
    words.extend(keys.iter().map(String::as_str));
    while wire.number(&words)? < 10 && since.elapsed() < Duration::from_secs(5) {
        std::thread::sleep(Duration::from_millis(1));
    }
    let ten_ms = since.elapsed().as_secs_f64() * 1000.0;

    let (mut pushed, since) = (10, Instant::now());
    while since.elapsed() < lasts {
        if wire.number(&["LLEN", &queue])? >= AHEAD {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        }
        let batch: Vec<Vec<u8>> = (pushed..pushed + BATCH).map(request).collect();
        wire.push(&queue, &batch)?;
        pushed += BATCH;
    }
    let left = wire.number(&["LLEN", &queue])?;
    let done = (pushed - 10) as f64 - left as f64;
    let rate = done.max(0.0) / since.elapsed().as_secs_f64();
    Ok(Figures { rate: Some(rate), ten_ms: Some(ten_ms), ..Figures::default() })
}
