//! A log that is not read, or cannot be written, while much is logged.

use std::time::{Duration, Instant};

use super::run::Run;
use super::stage::rig::{Log, Rig, Setup};
use super::stage::row::{Bounds, Figures};

/// How many requests are pushed at a time, each worth a line of the log.
const BATCH: usize = 200;

pub(super) fn run(run: &mut Run) -> miette::Result<()> {
    // Longer than a lease: a worker that is stuck in a write loses its own.
    let lasts = run.lasts(Duration::from_secs(16));
    for (name, log) in [("log unread", Log::Unread), ("log on a full device", Log::Full)] {
        if !run.wants(name) {
            continue;
        }
        let rig = Rig::start(&run.worker, &Setup { log, ..Setup::default() })?;
        run.note(rig.with_callers(name, Bounds::default(), |rig| chatter(rig, lasts))?);
    }
    Ok(())
}

/// Pushes requests that the worker logs.
fn chatter(rig: &Rig, lasts: Duration) -> miette::Result<Figures> {
    let (mut wire, queue, since) = (rig.wire()?, rig.keys.queue(), Instant::now());
    let mut pushed = 0;
    while since.elapsed() < lasts {
        let junk = |number| format!(r#"{{"id":"a{number}","name":"nosuch","data":1}}"#);
        let batch: Vec<Vec<u8>> =
            (pushed..pushed + BATCH).map(|number| junk(number).into_bytes()).collect();
        // No more than the worker can do, were it not for its log.
        if wire.number(&["LLEN", &queue])? < 1000 {
            wire.push(&queue, &batch)?;
            pushed += BATCH;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(Figures { note: format!("{pushed} refused"), ..Figures::default() })
}
