//! S7: the cost of queued jobs, for callers of another queue and for users of the same queue.

use std::time::{Duration, Instant};

use miette::{IntoDiagnostic as _, miette};
use redcall_common::keys::{Keys, QueueKeys};
use redcall_common::request::Envelope;
use serde_json::value::RawValue;

use super::args::{Args, TIMEOUT};
use super::compare::{Load, Row, Side, compare};
use super::jobs::{ASIDE, WAYS, enqueue};
use crate::baseline::wire::Wire;
use crate::rig::{Placement, Rig, memory_left};
use crate::table::Rounds;

/// The number of elements in one command.
const PER_COMMAND: usize = 1000;
/// The number of commands in flight.
const COMMANDS_IN_FLIGHT: usize = 16;
/// The most memory of a queued job at Redis, bytes, including its part of drained memory.
const PER_JOB: u64 = 250;

pub(super) fn run(args: &Args) -> miette::Result<()> {
    let amounts = [0, args.backlog / 50, args.backlog];
    let needed = (amounts.iter().sum::<usize>() + 4 * args.jobs) as u64 * PER_JOB;
    if memory_left().is_some_and(|left| left < needed) {
        return Err(miette!(
            help = "name a smaller number: --backlog 1000000",
            "{} queued jobs need some {} MB of memory, which this machine has not left",
            amounts[2],
            needed >> 20
        ));
    }
    let placement = Placement::Own;
    let mut backlogs = Vec::new();
    for amount in amounts {
        backlogs.push(Backlog::start(args, placement, amount)?);
    }
    report_line!("{}\n\nOne caller, and a backlog in a queue without workers:\n", placement.text());
    let rows = std::array::from_fn(|at| {
        let Backlog { rig, amount, .. } = &backlogs[at];
        Row::new(format!("{amount} jobs"), rig, Side::Redcall(Load::of(1, args)))
    });
    let [none, some, many] = compare(args, rows)?;
    report_line!(
        "p50: {:.3} x none with {}, {:.3} x none with {}\n",
        some.p50.median() / none.p50.median(),
        amounts[1],
        many.p50.median() / none.p50.median(),
        amounts[2]
    );
    backlogs.remove(1);
    report_line!("Jobs per s, on the queue that holds them:\n\n| | {} | {} | |", 0, amounts[2]);
    report_line!("|---|---|---|---|");
    for (label, callers, batch) in WAYS {
        in_turns(args, &format!("enqueue, {label}"), &mut backlogs, |backlog| {
            backlog.check(backlog.amount)?;
            let rate = enqueue(args, &backlog.rig, callers, batch)?.jobs_per_s;
            backlog.cut()?;
            Ok(rate)
        })?;
    }
    for backlog in &mut backlogs {
        let _: serde_json::Value = backlog.rig.redcall(&["pause", ASIDE, "--json"])?;
        backlog.rig.worker(ASIDE, args.concurrency)?;
    }
    in_turns(args, &format!("drain {}", args.jobs), &mut backlogs, |backlog| {
        backlog.drain(args.jobs)
    })
}

/// Measures one after the other, round by round; the last next to the first.
fn in_turns(
    args: &Args,
    label: &str,
    backlogs: &mut [Backlog],
    mut rate: impl FnMut(&mut Backlog) -> miette::Result<f64>,
) -> miette::Result<()> {
    let mut all = [Rounds::default(), Rounds::default()];
    for _ in 0..args.rounds {
        for (backlog, rates) in backlogs.iter_mut().zip(&mut all) {
            rates.note(rate(backlog)?);
        }
    }
    let [empty, full] = &all;
    let ratio = full.median() / empty.median();
    report_line!("| {label} | {} | {} | {ratio:.3} x |", empty.text(), full.text());
    Ok(())
}

/// A rig, and the queue aside with a backlog.
struct Backlog {
    rig: Rig,
    amount: usize,
    wire: Wire,
    keys: QueueKeys,
    /// How many have been made: each has an id of its own.
    made: u64,
}

impl Backlog {
    fn start(args: &Args, placement: Placement, amount: usize) -> miette::Result<Self> {
        let rig = args.rig(placement)?;
        let wire = rig.wire()?;
        let keys = Keys::new("redcall").of(ASIDE);
        let mut backlog = Self { rig, amount, wire, keys, made: 0 };
        backlog.fill(amount)?;
        Ok(backlog)
    }

    fn length(&mut self) -> miette::Result<usize> {
        let reply =
            self.wire.request(&[b"LLEN", self.keys.queue().as_bytes()]).into_diagnostic()?;
        Ok(reply.number().and_then(|count| usize::try_from(count).ok()).unwrap_or_default())
    }

    /// Pushes envelopes at the tail until there are `wanted`: the bytes that our client would
    /// write.
    fn fill(&mut self, wanted: usize) -> miette::Result<()> {
        let data = RawValue::from_string(r#"{"a":1,"b":2}"#.to_owned()).into_diagnostic()?;
        let queue = self.keys.queue();
        let mut missing = wanted.saturating_sub(self.length()?);
        let mut in_flight = 0;
        while missing > 0 || in_flight > 0 {
            while missing > 0 && in_flight < COMMANDS_IN_FLIGHT {
                let batch = missing.min(PER_COMMAND);
                missing -= batch;
                let envelopes = (0..batch).map(|_| {
                    self.made += 1;
                    let id = format!("0199{:032x}", self.made);
                    Envelope::new(&id, "add", &data, 1_763_683_200_000).encode()
                });
                let envelopes: Vec<String> = envelopes.collect();
                let mut command: Vec<&[u8]> = vec![b"RPUSH", queue.as_bytes()];
                command.extend(envelopes.iter().map(String::as_bytes));
                self.wire.add(&command);
                self.wire.send().into_diagnostic()?;
                in_flight += 1;
            }
            self.wire.reply().into_diagnostic()?;
            in_flight -= 1;
        }
        self.check(wanted)
    }

    /// Checks the number of queued jobs: figures of another backlog would look the same.
    fn check(&mut self, wanted: usize) -> miette::Result<()> {
        match self.length()? {
            length if length == wanted => Ok(()),
            length => Err(miette!("{length} jobs are in the queue instead of {wanted}")),
        }
    }

    /// Removes the excess at the tail.
    fn cut(&mut self) -> miette::Result<()> {
        let (queue, last) = (self.keys.queue(), (self.amount.max(1) - 1).to_string());
        let cut: &[&[u8]] = match self.amount {
            0 => &[b"DEL", queue.as_bytes()],
            _ => &[b"LTRIM", queue.as_bytes(), b"0", last.as_bytes()],
        };
        self.wire.request(cut).map(drop).into_diagnostic()
    }

    /// Adds `jobs`, lets the worker take as many, and returns its rate per second since it was last
    /// seen full.
    fn drain(&mut self, jobs: usize) -> miette::Result<f64> {
        let full = self.amount + jobs;
        self.fill(full)?;
        let began = Instant::now();
        let mut full_at = None;
        let _resuming = self.rig.start_redcall(&["resume", ASIDE])?;
        let rate = loop {
            let (now, length) = (Instant::now(), self.length()?);
            if length == full {
                full_at = Some(now);
            } else if length <= self.amount {
                let since = full_at.ok_or_else(|| miette!("the queue was not paused"))?;
                break (full - length) as f64 / (now - since).as_secs_f64();
            }
            if began.elapsed() > TIMEOUT {
                return Err(miette!("{length} jobs are still queued after {TIMEOUT:?}"));
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        let _: serde_json::Value = self.rig.redcall(&["pause", ASIDE, "--json"])?;
        Ok(rate)
    }
}
