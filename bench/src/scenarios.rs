//! What is measured: each scenario's floor and Redcall in turns, in one run.

use std::process::ExitCode;

use miette::miette;
use redcall_bench::{CallFigures, JobFigures};

use crate::rig::{Persistence, Placement, Rig};
use crate::table::Rounds;

/// What to run.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Scenarios, such as s1 s2; all of them if none is named
    names: Vec<String>,
    /// How often each is measured
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long each measurement takes, ms
    #[arg(long, default_value_t = 2000)]
    lasts: u64,
    /// How many slots the worker has
    #[arg(long, default_value_t = 1024)]
    concurrency: usize,
    /// What Redis keeps on disk
    #[arg(long, value_enum, default_value_t = Persistence::None)]
    persistence: Persistence,
}

/// One scenario.
struct Scenario {
    name: &'static str,
    about: &'static str,
    run: fn(&Args) -> miette::Result<()>,
}

const ALL: &[Scenario] = &[
    Scenario { name: "s1", about: "one caller: round trip", run: s1 },
    Scenario { name: "s2", about: "64, 1,000 and 5,000 callers: calls per second", run: s2 },
    Scenario { name: "s3", about: "enqueue by 1,000 tasks, and in batches of 1,000", run: s3 },
    Scenario { name: "s4", about: "drain 100,000, without answers and with", run: s4 },
    Scenario { name: "s5", about: "a call after 2 s of quiet", run: s5 },
];

impl Args {
    pub(crate) fn run(&self) -> miette::Result<ExitCode> {
        for name in &self.names {
            if !ALL.iter().any(|scenario| scenario.name == name) {
                let known: Vec<&str> = ALL.iter().map(|scenario| scenario.name).collect();
                return Err(miette!("there is no scenario `{name}`: {}", known.join(", ")));
            }
        }
        let (rounds, lasts) = (self.rounds, self.lasts);
        println!(
            "{rounds} rounds of {lasts} ms each, median (least to most); worker with {} slots; \
             persistence {:?}",
            self.concurrency, self.persistence
        );
        for scenario in ALL {
            if self.names.is_empty() || self.names.iter().any(|name| name == scenario.name) {
                println!("\n## {}: {}\n", scenario.name.to_uppercase(), scenario.about);
                (scenario.run)(self)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    fn rig(&self, placement: Placement) -> miette::Result<Rig> {
        Rig::start(placement, self.persistence, self.concurrency)
    }
}

/// A column of figures for each quantity of calls.
#[derive(Default)]
struct Seen {
    rate: Rounds,
    p50: Rounds,
    p99: Rounds,
    p999: Rounds,
}

impl Seen {
    fn note(&mut self, figures: &CallFigures) {
        self.rate.note(figures.calls_per_s);
        self.p50.note(figures.p50_us);
        self.p99.note(figures.p99_us);
        self.p999.note(figures.p999_us);
    }

    fn print(&self, who: &str) {
        let Self { rate, p50, p99, p999 } = self;
        let (rate, p50) = (rate.text(), p50.text());
        println!("| {who} | {rate} | {p50} | {} | {} |", p99.text(), p999.text());
    }
}

const HEAD: &str = "| | per s | p50 us | p99 us | p99.9 us |\n|---|---|---|---|---|";

fn s1(args: &Args) -> miette::Result<()> {
    one_caller(args, args.lasts, 0)
}

/// Each call comes after a quiet time, in which everybody goes to sleep.
fn s5(args: &Args) -> miette::Result<()> {
    const SAMPLES: u64 = 20;
    const QUIET_MS: u64 = 2000;
    one_caller(args, SAMPLES * QUIET_MS, QUIET_MS)
}

fn one_caller(args: &Args, lasts: u64, pause: u64) -> miette::Result<()> {
    for placement in [Placement::One, Placement::Own] {
        let load = Load { callers: 1, lasts, pause };
        let floor = ["ping-call", &lasts.to_string(), &pause.to_string()];
        let Compared { floor, ours, costs } =
            compare(args, placement, load, ("ping-answer", &floor))?;
        println!("{}\n\n{HEAD}", placement.text());
        floor.print("F1");
        ours.print("Redcall");
        println!("\np50: {:.2} x F1; {costs}\n", ours.p50.median() / floor.p50.median());
    }
    Ok(())
}

fn s2(args: &Args) -> miette::Result<()> {
    for callers in [64, 1000, 5000] {
        let (placement, lasts) = (Placement::Own, args.lasts);
        let load = Load { callers, lasts, pause: 0 };
        let floor = ["literal-call", &lasts.to_string(), &callers.to_string()];
        let Compared { floor, ours, costs } =
            compare(args, placement, load, ("literal-answer", &floor))?;
        println!("{callers} callers; {}\n\n{HEAD}", placement.text());
        floor.print("F2");
        ours.print("Redcall");
        let tail = ours.p99.median() / ours.p50.median();
        let ratio = ours.rate.median() / floor.rate.median();
        println!("\nper s: {ratio:.2} x F2; p99: {tail:.2} x p50; {costs}\n");
    }
    Ok(())
}

/// How many call, how long a round lasts, and what is between two calls of one; both in ms.
struct Load {
    callers: usize,
    lasts: u64,
    pause: u64,
}

/// A floor and Redcall, in turns; and what Redcall's calls cost.
struct Compared {
    floor: Seen,
    ours: Seen,
    costs: String,
}

/// Runs both; the floor is who answers, and how the caller is called.
fn compare(
    args: &Args,
    placement: Placement,
    Load { callers, lasts, pause }: Load,
    (answer, call): (&str, &[&str]),
) -> miette::Result<Compared> {
    let rig = args.rig(placement)?;
    bench_call(&rig, callers, "500ms", "0s")?;
    let (lasts, pause) = (format!("{lasts}ms"), format!("{pause}ms"));
    let (mut floor, mut ours) = (Seen::default(), Seen::default());
    let (mut redis, mut worker, mut calls) = (0, 0, 0);
    for _ in 0..args.rounds {
        floor.note(&rig.floor(answer, call)?);
        let before = rig.cpu_us();
        let figures = bench_call(&rig, callers, &lasts, &pause)?;
        let after = rig.cpu_us();
        redis += after.0 - before.0;
        worker += after.1 - before.1;
        calls += figures.calls;
        ours.note(&figures);
    }
    let per = |cost: u64| cost as f64 / calls as f64;
    let (redis, worker) = (per(redis), per(worker));
    let costs = format!("CPU us per call: Redis {redis:.1}, worker {worker:.1}");
    Ok(Compared { floor, ours, costs })
}

fn s3(args: &Args) -> miette::Result<()> {
    println!("| | jobs per s |\n|---|---|");
    for (who, callers, batch) in [("1,000 tasks", 1000, 1), ("batches of 1,000", 1, 1000)] {
        let mut rates = Rounds::default();
        for _ in 0..args.rounds {
            // Each on its own: what was enqueued before must not be in the way.
            let rig = args.rig(Placement::Own)?;
            let (callers, batch) = (callers.to_string(), batch.to_string());
            let lasts = format!("{}ms", args.lasts.min(1000));
            let enqueue = ["bench", "enqueue", "--json", "--queue", "aside", "--callers", &callers];
            let rest = ["--batch", &batch, "--duration", &lasts];
            let figures: JobFigures = rig.redcall(&[&enqueue[..], &rest].concat())?;
            rates.note(figures.jobs_per_s);
        }
        println!("| {who} | {} |", rates.text());
    }
    Ok(())
}

fn s4(args: &Args) -> miette::Result<()> {
    println!("| | jobs per s |\n|---|---|");
    let rig = args.rig(Placement::Own)?;
    for (who, more) in [("without answers", None), ("with answers", Some("--answers"))] {
        let mut rates = Rounds::default();
        for _ in 0..args.rounds {
            let mut command = vec!["bench", "drain", "--json", "--jobs", "100000"];
            command.extend(more);
            let figures: JobFigures = rig.redcall(&command)?;
            rates.note(figures.jobs_per_s);
        }
        println!("| {who} | {} |", rates.text());
    }
    Ok(())
}

fn bench_call(rig: &Rig, callers: usize, lasts: &str, pause: &str) -> miette::Result<CallFigures> {
    let callers = callers.to_string();
    // Warm already: what Redis and the worker do is counted from the first call to the last.
    let call = ["bench", "call", "--json", "--warm-up", "0s", "--callers", &callers];
    let rest = ["--duration", lasts, "--pause", pause];
    let figures: CallFigures = rig.redcall(&[&call[..], &rest].concat())?;
    match figures.errors {
        0 => Ok(figures),
        errors => Err(miette!("{errors} calls failed")),
    }
}
