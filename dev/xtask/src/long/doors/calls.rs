//! The first part: calls per second and p50 through a door and of the original system.
//!
//! Each client is a program of its own, with the packages of the original system; the same program
//! calls both sides. The sides alternate within a round, and the figures are medians of the rounds.

use std::time::Instant;

use miette::{IntoDiagnostic as _, miette};

use super::stage::place::Place;
use super::stage::program::Program;
use super::stage::protocol::Protocol;
use super::stage::rig::Rig;
use crate::long::stage::process;

const CLIENTS: [usize; 2] = [1, 8];

pub(super) const HEADING: &str = "\
protocol   original system      clients |   door/s  p50 ms |   orig/s  p50 ms | ratio   p50 | \
CPU, ms per call: clients, gateway; original's clients";

/// The figures of one side in one round.
#[derive(Clone, Copy)]
struct Round {
    /// Calls per second.
    rate: f64,
    p50_ms: f64,
    /// Processor time of the clients, and of the gateway, ms per call.
    clients_ms: f64,
    gateway_ms: f64,
}

/// Measures all cases of a protocol, and prints a row for each number of clients.
pub(super) fn run(
    place: &Place,
    protocol: &Protocol,
    rounds: usize,
    lasts: u64,
) -> miette::Result<()> {
    for (case, name) in protocol.cases {
        let rig = Rig::start(place, protocol.settings)?;
        let address = (protocol.address)(&rig)?;
        let original = (protocol.original)(place, protocol, case)?;
        let mut door = Side::start(place, protocol, case, &address, Some(rig.gateway()))?;
        let mut other = Side::start(place, protocol, case, &original.address, None)?;
        let mut figures = CLIENTS.map(|_| (Vec::new(), Vec::new()));
        for round in 0..rounds {
            for (clients, (ours, theirs)) in CLIENTS.into_iter().zip(&mut figures) {
                // The first of a pair finds the machine in another state than the second.
                if round % 2 == 0 {
                    ours.push(door.round(clients, lasts)?);
                    theirs.push(other.round(clients, lasts)?);
                } else {
                    theirs.push(other.round(clients, lasts)?);
                    ours.push(door.round(clients, lasts)?);
                }
            }
        }
        for (clients, (ours, theirs)) in CLIENTS.into_iter().zip(&figures) {
            let (ours, theirs) = (Round::median(ours), Round::median(theirs));
            print!("{:<10} {name:<20} {clients:>7} | ", protocol.name);
            print!("{:>8.1} {:>7.2} | ", ours.rate, ours.p50_ms);
            print!("{:>8.1} {:>7.2} | ", theirs.rate, theirs.p50_ms);
            print!("{:>5.2} {:>5.2} | ", ours.rate / theirs.rate, ours.p50_ms / theirs.p50_ms);
            println!("{:.2} {:.2} {:.2}", ours.clients_ms, ours.gateway_ms, theirs.clients_ms);
        }
    }
    Ok(())
}

/// The clients of one side.
struct Side {
    programs: Vec<Program>,
    shares_link: bool,
    gateway: Option<u32>,
}

impl Side {
    fn start(
        place: &Place,
        protocol: &Protocol,
        case: &str,
        address: &str,
        gateway: Option<u32>,
    ) -> miette::Result<Self> {
        let max = if protocol.shares_link { 1 } else { CLIENTS.into_iter().max().unwrap_or(1) };
        let programs: miette::Result<Vec<Program>> =
            (0..max).map(|_| client(place, protocol, case, address)).collect();
        let mut programs = programs?;
        programs.iter_mut().try_for_each(ready)?;
        Ok(Self { programs, shares_link: protocol.shares_link, gateway })
    }

    /// Lets this many clients call for `lasts` seconds.
    fn round(&mut self, clients: usize, lasts: u64) -> miette::Result<Round> {
        let (programs, in_flight) = if self.shares_link { (1, clients) } else { (clients, 1) };
        let used = &mut self.programs[..programs];
        let pids: Vec<u32> = used.iter().map(Program::pid).collect();
        let gateway = self.gateway;
        let times = || {
            let clients: f64 = pids.iter().map(|pid| process::time(*pid)).sum();
            (clients, gateway.map_or(0.0, process::time))
        };
        let (before, since) = (times(), Instant::now());
        for program in &mut *used {
            program.send(&format!("{lasts} {in_flight}"))?;
        }
        let mut took: Vec<u64> = Vec::new();
        for program in used {
            let calls: Vec<u64> = serde_json::from_str(&program.line()?).into_diagnostic()?;
            took.extend(calls);
        }
        let (seconds, after) = (since.elapsed().as_secs_f64(), times());
        took.sort_unstable();
        let p50 = took.get(took.len() / 2).ok_or_else(|| miette!("a round without a call"))?;
        let (count, p50_ms) = (took.len() as f64, *p50 as f64 / 1000.0);
        let per_call = |before: f64, after: f64| (after - before) * 1000.0 / count;
        Ok(Round {
            rate: count / seconds,
            p50_ms,
            clients_ms: per_call(before.0, after.0),
            gateway_ms: per_call(before.1, after.1),
        })
    }
}

impl Round {
    fn median(rounds: &[Self]) -> Self {
        let of = |value: fn(&Self) -> f64| {
            let mut values: Vec<f64> = rounds.iter().map(value).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
        };
        Self {
            rate: of(|round| round.rate),
            p50_ms: of(|round| round.p50_ms),
            clients_ms: of(|round| round.clients_ms),
            gateway_ms: of(|round| round.gateway_ms),
        }
    }
}

/// Starts a client: `<folder>_calls.py`.
pub(super) fn client(
    place: &Place,
    protocol: &Protocol,
    case: &str,
    address: &str,
) -> miette::Result<Program> {
    let script = place.script(&format!("{}_calls.py", protocol.folder));
    let schema = place.tests(super::protocols::grpc_avro::SCHEMA).display().to_string();
    Program::start(place.python(protocol.folder)?, &script, &[address, case, &schema], &[])
}

/// Waits until a client has been answered once.
pub(super) fn ready(client: &mut Program) -> miette::Result<()> {
    match client.line()?.as_str() {
        "ready" => Ok(()),
        other => Err(miette!("a client replied `{other}`")),
    }
}
