//! Baselines and Redcall in turns, each round one of each; and the table of the results.

use miette::miette;
use redcall_bench::CallFigures;

use super::args::Args;
use crate::rig::{Rig, Shares, Spent};
use crate::table::Rounds;

/// Waited calls, and how many of them at once.
#[derive(Debug, Clone)]
pub(super) struct Load {
    pub(super) callers: usize,
    pub(super) lasts_ms: u64,
    /// Before each call.
    pub(super) pause_ms: u64,
    /// Further arguments of `redcall bench call`.
    pub(super) more: Vec<String>,
}

impl Load {
    pub(super) fn of(callers: usize, args: &Args) -> Self {
        let callers = args.fewer(callers);
        Self { callers, lasts_ms: args.lasts, pause_ms: 0, more: Vec::new() }
    }

    pub(super) fn with(mut self, more: &[&str]) -> Self {
        self.more.extend(more.iter().map(|&arg| arg.to_owned()));
        self
    }

    pub(super) fn args(&self) -> Vec<String> {
        let Self { callers, lasts_ms, pause_ms, more } = self;
        let (lasts, pause) = (format!("{lasts_ms}ms"), format!("{pause_ms}ms"));
        // Already warm: resources are counted from the first call to the last.
        let callers = callers.to_string();
        let fixed = ["bench", "call", "--json", "--warm-up", "0s", "--callers", &callers];
        let rest = ["--duration", &lasts, "--pause", &pause];
        let all = fixed.into_iter().chain(rest).map(str::to_owned);
        all.chain(more.iter().cloned()).collect()
    }

    fn run(&self, rig: &Rig) -> miette::Result<CallFigures> {
        let args = self.args();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let figures: CallFigures = rig.redcall(&args)?;
        match figures.errors {
            0 => Ok(figures),
            errors => Err(miette!("{errors} calls failed")),
        }
    }

    /// A moment of it: everything is loaded and connected then.
    fn warm(&self) -> Self {
        // Of paused callers one call each.
        let lasts_ms = match self.pause_ms {
            0 => self.lasts_ms.min(500),
            pause => pause / 2 + 1,
        };
        Self { lasts_ms, ..self.clone() }
    }
}

/// The measured side.
pub(super) enum Side {
    /// The two sides of a baseline.
    Baseline { answer: Vec<String>, call: Vec<String> },
    /// Redcall.
    Redcall(Load),
}

impl Side {
    /// F1: one caller; elements of `there` and `back` bytes, 200 if 0.
    pub(super) fn f1(lasts_ms: u64, pause_ms: u64, there: usize, back: usize) -> Self {
        let texts = |parts: &[&dyn ToString]| parts.iter().map(|part| part.to_string()).collect();
        let [there, back] = [there, back].map(|size| if size == 0 { 200 } else { size });
        Self::Baseline {
            answer: texts(&[&"ping-answer", &back]),
            call: texts(&[&"ping-call", &lasts_ms, &pause_ms, &there]),
        }
    }

    /// F2.
    pub(super) fn f2(callers: usize, args: &Args) -> Self {
        let callers = args.fewer(callers).to_string();
        let call = ["literal-call".to_owned(), args.lasts.to_string(), callers];
        Self::Baseline { answer: vec!["literal-answer".to_owned()], call: call.to_vec() }
    }
}

/// A line of the table.
pub(super) struct Row<'a> {
    label: String,
    rig: &'a Rig,
    side: Side,
}

impl<'a> Row<'a> {
    pub(super) fn new(label: impl Into<String>, rig: &'a Rig, side: Side) -> Self {
        Self { label: label.into(), rig, side }
    }
}

/// The results of one side.
#[derive(Default)]
pub(super) struct Measured {
    label: String,
    pub(super) rate: Rounds,
    pub(super) p50: Rounds,
    pub(super) p99: Rounds,
    p999: Rounds,
    costs: Option<Costs>,
}

/// The costs of all calls, and their number.
#[derive(Default)]
struct Costs {
    calls: u64,
    spent: Spent,
    shares: Shares,
}

impl Costs {
    /// Commands, and how many of them were sent; CPU us of Redis, client, workers.
    fn per_call(&self) -> [f64; 5] {
        let Self { spent, shares, .. } = self;
        let us = [spent.redis_us, spent.client_us, spent.workers_us].map(|us| us as f64);
        let all = [spent.commands.total(), shares.sent(&spent.commands), us[0], us[1], us[2]];
        all.map(|cost| cost / self.calls as f64)
    }
}

impl Measured {
    fn note(&mut self, figures: &CallFigures) {
        self.rate.note(figures.calls_per_s);
        self.p50.note(figures.p50_us);
        self.p99.note(figures.p99_us);
        self.p999.note(figures.p999_us);
    }

    /// Commands and CPU us of Redis, client and workers together, for each of `parts` parts of a
    /// call.
    pub(super) fn per_part(&self, parts: u64) -> (f64, f64) {
        let costs = self.costs.as_ref().map_or([0.0; 5], Costs::per_call);
        let [commands, _, redis, client, workers] = costs.map(|cost| cost / parts as f64);
        (commands, redis + client + workers)
    }

    /// CPU us of the relay per call.
    pub(super) fn relay_us(&self) -> f64 {
        let per_call = |costs: &Costs| costs.spent.relay_us as f64 / costs.calls as f64;
        self.costs.as_ref().map_or(0.0, per_call)
    }
}

/// Measures all of them, round by round, and prints the table.
pub(super) fn compare<const N: usize>(
    args: &Args,
    rows: [Row<'_>; N],
) -> miette::Result<[Measured; N]> {
    let mut all: [Measured; N] = std::array::from_fn(|_| Measured::default());
    for (row, measured) in rows.iter().zip(&mut all) {
        measured.label.clone_from(&row.label);
        if let Side::Redcall(load) = &row.side {
            let (_, shares) = row.rig.watch(|| load.warm().run(row.rig))?;
            measured.costs = Some(Costs { shares, ..Costs::default() });
        }
    }
    for _ in 0..args.rounds {
        for (row, measured) in rows.iter().zip(&mut all) {
            match &row.side {
                Side::Baseline { answer, call } => {
                    let [answer, call] = [answer, call]
                        .map(|side| side.iter().map(String::as_str).collect::<Vec<_>>());
                    measured.note(&row.rig.baseline(&answer, &call)?);
                }
                Side::Redcall(load) => {
                    let (figures, spent) = row.rig.spend(|| load.run(row.rig))?;
                    measured.note(&figures);
                    if let Some(costs) = &mut measured.costs {
                        costs.calls += figures.calls;
                        costs.spent.add(spent);
                    }
                }
            }
        }
    }
    print(&all)?;
    Ok(all)
}

fn print(all: &[Measured]) -> miette::Result<()> {
    report_line!(
        "| | per s | p50 us | p99 us | p99.9 us | commands (sent) | CPU us: Redis | client | \
         worker |\n|---|---|---|---|---|---|---|---|---|"
    );
    for Measured { label, rate, p50, p99, p999, costs } in all {
        let [rate, p50, p99, p999] = [rate, p50, p99, p999].map(Rounds::text);
        let costs = costs.as_ref().map_or_else(
            || "- | - | - | -".to_owned(),
            |costs| {
                let [commands, sent, redis, client, worker] = costs.per_call();
                format!("{commands:.1} ({sent:.2}) | {redis:.1} | {client:.1} | {worker:.1}")
            },
        );
        report_line!("| {label} | {rate} | {p50} | {p99} | {p999} | {costs} |");
    }
    report_line!("");
    Ok(())
}
