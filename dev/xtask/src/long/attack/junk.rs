//! Elements that are long to decode: `[],[],…` of each size, with an id and without one.

use std::time::{Duration, Instant};

use super::run::Run;
use super::stage::rig::{Rig, Setup};
use super::stage::row::{Bounds, Figures};
use crate::long::stage::wire::Wire;

/// How long a case may take until its queue is empty.
const PATIENCE: Duration = Duration::from_secs(60);
const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
/// As far as a bound on scripts is promised.
const PROMISED: usize = 8 * MIB;
/// How many small requests lie before and after the junk that is mixed.
const SMALL: usize = 3000;

/// One kind of junk.
struct Case {
    name: &'static str,
    bytes: usize,
    count: usize,
    /// `true` if each has a leading id.
    id: bool,
    /// `true` if small requests lie before and after them.
    mixed: bool,
}

const fn case(name: &'static str, bytes: usize, count: usize) -> Case {
    Case { name, bytes, count, id: false, mixed: false }
}

const CASES: &[Case] = &[
    case("junk 1 KiB x 20000", KIB, 20_000),
    case("junk 64 KiB x 400", 64 * KIB, 400),
    case("junk 512 KiB x 64", 512 * KIB, 64),
    case("junk 1.9 MiB x 64", 1900 * KIB, 64),
    Case { id: true, ..case("junk with ids 1.9 MiB x 64", 1900 * KIB, 64) },
    case("junk 8 MiB x 4", 8 * MIB, 4),
    Case { id: true, ..case("junk with ids 8 MiB x 4", 8 * MIB, 4) },
    Case { mixed: true, ..case("junk 8 MiB x 2 in a backlog", 8 * MIB, 2) },
    case("junk 16 MiB x 2", 16 * MIB, 2),
    case("junk 64 MiB x 1", 64 * MIB, 1),
];

pub(super) fn run(run: &mut Run) -> miette::Result<()> {
    for case in CASES {
        let beyond = case.bytes > PROMISED;
        if !run.wants(case.name) || (run.args.short && (beyond || case.count == 64 && case.id)) {
            continue;
        }
        let rig = Rig::start(&run.worker, &Setup::default())?;
        let bounds = Bounds { beyond, ..Bounds::default() };
        run.note(rig.with_callers(case.name, bounds, |rig| push(rig, case))?);
    }
    Ok(())
}

fn push(rig: &Rig, case: &Case) -> miette::Result<Figures> {
    let (mut wire, queue) = (rig.wire()?, rig.keys.queue());
    let body = "[],".repeat(case.bytes / 3);
    let junk = |number: usize| match case.id {
        true => format!(r#"{{"id":"j{number}","name":"nosuch","data":[{body}[]]}}"#),
        false => format!("[{body}[]]"),
    };
    let small = |wire: &mut Wire, tag: &str| {
        let request = |n| format!(r#"{{"id":"{tag}{n}","name":"echo","data":1}}"#).into_bytes();
        let requests: Vec<Vec<u8>> = (0..SMALL).map(request).collect();
        wire.push(&queue, &requests)
    };
    let since = Instant::now();
    if case.mixed {
        small(&mut wire, "before")?;
    }
    // Small elements share a command, each large one has its own.
    let batch = (MIB / case.bytes).clamp(1, 500);
    let mut number = 0;
    while number < case.count {
        let end = (number + batch).min(case.count);
        let elements: Vec<Vec<u8>> = (number..end).map(|n| junk(n).into_bytes()).collect();
        wire.push(&queue, &elements)?;
        number = end;
    }
    if case.mixed {
        small(&mut wire, "behind")?;
    }
    // A few legitimate calls may lie there at any time.
    while wire.number(&["LLEN", &queue])? > 5 && since.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(20));
    }
    let took = since.elapsed().as_secs_f64();
    // The next poll settles the last elements.
    std::thread::sleep(Duration::from_millis(500));
    let pushed = (case.bytes * case.count) as f64 / 1e6;
    let note = format!("{pushed:.0} MB gone after {took:.1} s");
    Ok(Figures { pushed: Some(pushed), note, ..Figures::default() })
}
