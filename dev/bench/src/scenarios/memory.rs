//! S8: the memory of a queued job at Redis beyond its envelope, and the memory of client and worker
//! with 1,000 calls in flight.

use std::time::Instant;

use miette::{IntoDiagnostic as _, miette};
use redcall_bench::CHECK_PAUSE;
use redcall_common::keys::Keys;

use super::args::{Args, TIMEOUT};
use super::compare::Load;
use super::jobs::{ASIDE, enqueue};
use crate::baseline::wire::Wire;
use crate::rig::{Memory, Placement, Process, Rig};
use crate::table::Rounds;

const CALLS: usize = 1000;

pub(super) fn run(args: &Args) -> miette::Result<()> {
    let [mut jobs, mut envelope, mut per_job, mut of_queue] = [(); 4].map(|()| Rounds::default());
    let mut flying: [Rounds; 4] = std::array::from_fn(|_| Rounds::default());
    let mut loaded: [Rounds; 4] = std::array::from_fn(|_| Rounds::default());
    for _ in 0..args.rounds {
        let rig = args.rig(Placement::Own)?;
        let queued = queued(args, &rig)?;
        per_job.note((queued.memory - queued.envelopes) / queued.jobs);
        of_queue.note((queued.queue - queued.envelopes) / queued.jobs);
        envelope.note(queued.envelopes / queued.jobs);
        jobs.note(queued.jobs);
        note(&mut flying, in_flight(args, &rig)?);
        note(&mut loaded, under_load(args, &rig)?);
    }
    let calls = args.fewer(CALLS);
    report_line!("| | bytes |\n|---|---|");
    report_line!("| envelope | {} |", envelope.text());
    report_line!("| beyond it, by `used_memory` | {} |", per_job.text());
    report_line!("| beyond it, by `MEMORY USAGE` of the queue | {} |\n", of_queue.text());
    report_line!("{} jobs, queued in batches of 1,000\n", jobs.text());
    report_line!("| RSS, MB | client | at most | worker | at most so far |\n|---|---|---|---|---|");
    for (label, [client, max, worker, worker_max]) in [
        (format!("{calls} calls in flight"), &flying),
        (format!("{calls} callers, the load of S2"), &loaded),
    ] {
        let [client, max, worker, worker_max] = [client, max, worker, worker_max].map(Rounds::text);
        report_line!("| {label} | {client} | {max} | {worker} | {worker_max} |");
    }
    report_line!("\n`sleep` with {} ms keeps the calls in flight.", nap_ms(args));
    Ok(())
}

/// Client and worker.
type Both = [Memory; 2];

fn note(rounds: &mut [Rounds; 4], [client, worker]: Both) {
    let all = [client.now, client.max, worker.now, worker.max];
    for (rounds, kb) in rounds.iter_mut().zip(all) {
        rounds.note(kb as f64 / 1024.0);
    }
}

/// How many jobs, and bytes: of their envelopes, and of Redis as a whole and of the queue for them.
struct Queued {
    jobs: f64,
    envelopes: f64,
    memory: f64,
    queue: f64,
}

/// Enqueues, and subtracts the memory that was used before: one job, so that the queue exists and
/// everything is loaded.
fn queued(args: &Args, rig: &Rig) -> miette::Result<Queued> {
    let mut wire = rig.wire()?;
    let queue = Keys::new("redcall").of(ASIDE).queue();
    let queue = queue.as_bytes();
    let _: serde_json::Value = rig.redcall(&["call", "add", "{}", "--queue", ASIDE, "--json"])?;
    let mut connections = None;
    let before = held(&mut wire, &mut connections)?;
    enqueue(args, rig, 1, 1000)?;
    let memory = held(&mut wire, &mut connections)? - before;
    let usage: &[&[u8]] = &[b"MEMORY", b"USAGE", queue, b"SAMPLES", b"0"];
    let usage = wire.request(usage).into_diagnostic()?.number().unwrap_or_default();
    let length = wire.request(&[b"LLEN", queue]).into_diagnostic()?.number().unwrap_or_default();
    let mut envelopes = 0;
    for from in (1..length).step_by(1000) {
        let (from, to) = (from.to_string(), (from + 999).to_string());
        let range = [b"LRANGE", queue, from.as_bytes(), to.as_bytes()];
        envelopes += wire.request(&range).into_diagnostic()?.length();
    }
    let queue = usage as f64;
    Ok(Queued { jobs: (length - 1) as f64, envelopes: envelopes as f64, memory, queue })
}

/// Returns the memory of Redis once it has as many connections as before: each has buffers.
fn held(wire: &mut Wire, connections: &mut Option<i64>) -> miette::Result<f64> {
    let began = Instant::now();
    while began.elapsed() < TIMEOUT {
        let now = info(wire, "connected_clients")?;
        if now <= *connections.get_or_insert(now) {
            return Ok(info(wire, "used_memory")? as f64);
        }
        std::thread::sleep(CHECK_PAUSE);
    }
    Err(miette!("connections to Redis remain"))
}

fn info(wire: &mut Wire, name: &str) -> miette::Result<i64> {
    let info =
        wire.request(&[b"INFO", b"everything"]).into_diagnostic()?.text().unwrap_or_default();
    let info = String::from_utf8_lossy(&info);
    let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.and_then(|value| value.parse().ok()).ok_or_else(|| miette!("Redis reports no {name}"))
}

/// Long enough for all calls to be in flight at once.
fn nap_ms(args: &Args) -> u64 {
    args.lasts.max(1000)
}

/// Each of the callers makes one call, whose handler sleeps until they have ended.
fn in_flight(args: &Args, rig: &Rig) -> miette::Result<Both> {
    let (mut wire, live) = (rig.wire()?, Keys::new("redcall").of("default").live());
    let data = format!(r#"{{"ms":{}}}"#, nap_ms(args));
    let load = Load { lasts_ms: nap_ms(args) / 2, ..Load::of(CALLS, args) };
    let mut client = start(rig, &load.with(&["--job", "sleep", "--data", &data]))?;
    let wanted = args.fewer(CALLS).min(args.concurrency) as i64;
    let began = Instant::now();
    loop {
        let running = wire.request(&[b"HLEN", live.as_bytes()]).into_diagnostic()?.number();
        if running.is_some_and(|running| running >= wanted) {
            break;
        }
        if client.ended()?.is_some() || began.elapsed() > TIMEOUT {
            return Err(miette!("{running:?} of {wanted} calls were in flight at once"));
        }
        std::thread::sleep(CHECK_PAUSE);
    }
    let [flying, worker] = both(rig, &client)?;
    let [ended, worker_ended] = to_the_end(rig, &mut client)?;
    Ok([Memory { max: ended.max, ..flying }, Memory { max: worker_ended.max, ..worker }])
}

fn under_load(args: &Args, rig: &Rig) -> miette::Result<Both> {
    let mut client = start(rig, &Load::of(CALLS, args))?;
    to_the_end(rig, &mut client)
}

fn start(rig: &Rig, load: &Load) -> miette::Result<Process> {
    let args = load.args();
    rig.start_redcall(&args.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The last that was seen before the client had ended.
fn to_the_end(rig: &Rig, client: &mut Process) -> miette::Result<Both> {
    let mut seen = both(rig, client)?;
    let began = Instant::now();
    while began.elapsed() < TIMEOUT {
        match client.ended()? {
            Some(true) => return Ok(seen),
            Some(false) => return Err(miette!("the callers have failed")),
            None => seen = both(rig, client).unwrap_or(seen),
        }
        std::thread::sleep(CHECK_PAUSE);
    }
    Err(miette!("the callers have not ended within {TIMEOUT:?}"))
}

fn both(rig: &Rig, client: &Process) -> miette::Result<Both> {
    let worker = rig.workers().first().and_then(Process::memory);
    let gone = || miette!("a process ended early");
    Ok([client.memory().ok_or_else(gone)?, worker.ok_or_else(gone)?])
}
