//! S3 and S4: fire-and-forget jobs, as they are enqueued and as they are drained.

use redcall_bench::JobFigures;

use super::args::Args;
use super::musts::{Figure, Found};
use crate::rig::{Build, Network, Persistence, Placement, Rig};
use crate::table::Rounds;

/// A queue without workers.
pub(super) const ASIDE: &str = "aside";

/// The ways to enqueue jobs: name, number of callers, batch size.
pub(super) const WAYS: [(&str, usize, usize); 2] =
    [("1,000 tasks", 1000, 1), ("batches of 1,000", 1, 1000)];

/// Enqueues for at most a second, with `callers` callers and this batch size.
pub(super) fn enqueue(
    args: &Args,
    rig: &Rig,
    callers: usize,
    batch: usize,
) -> miette::Result<JobFigures> {
    let (callers, batch) = (args.fewer(callers).to_string(), batch.to_string());
    let lasts = format!("{}ms", args.lasts.min(1000));
    let enqueue = ["bench", "enqueue", "--json", "--queue", ASIDE, "--callers", &callers];
    rig.redcall(&[&enqueue[..], &["--batch", &batch, "--duration", &lasts]].concat())
}

/// The same on a Redis of its own, without earlier jobs.
pub(super) fn enqueue_alone(
    args: &Args,
    persistence: Persistence,
    callers: usize,
    batch: usize,
) -> miette::Result<JobFigures> {
    let rig = Rig::start(Placement::Own, persistence, args.concurrency)?;
    enqueue(args, &rig, callers, batch)
}

/// A Redis with a worker of `build`.
fn rig_of(args: &Args, build: &Build) -> miette::Result<Rig> {
    let rig = Rig::bare(Placement::Own, args.persistence, Network::Direct)?;
    let mut rig = rig.with_build(build.clone());
    rig.worker("default", args.concurrency)?;
    Ok(rig)
}

pub(super) fn enqueued(args: &Args) -> miette::Result<Found> {
    let builds = args.builds()?;
    let [tasks, batches] = WAYS;
    let ways =
        [(tasks.0, tasks, Figure::EnqueueTasks), (batches.0, batches, Figure::EnqueueBatches)];
    in_turns(args, ways, builds.len(), |(_, callers, batch), build| {
        // A Redis of its own, without earlier jobs.
        Ok(enqueue(args, &rig_of(args, &builds[build])?, callers, batch)?.jobs_per_s)
    })
}

pub(super) fn drained(args: &Args) -> miette::Result<Found> {
    let rigs: Vec<Rig> =
        args.builds()?.iter().map(|build| rig_of(args, build)).collect::<miette::Result<_>>()?;
    let jobs = args.jobs.to_string();
    report_line!("{jobs} jobs\n");
    let ways = [
        ("without answers", None, Figure::Drain),
        ("with answers", Some("--answers"), Figure::DrainAnswers),
    ];
    in_turns(args, ways, rigs.len(), |more, build| {
        let mut command = vec!["bench", "drain", "--json", "--jobs", &jobs];
        command.extend(more);
        let figures: JobFigures = rigs[build].redcall(&command)?;
        Ok(figures.jobs_per_s)
    })
}

/// Measures both ways with each build, round by round, and prints the table. A `rate` is of a way
/// and the number of a build; the first build is this one.
fn in_turns<Way: Copy>(
    args: &Args,
    ways: [(&str, Way, Figure); 2],
    builds: usize,
    rate: impl Fn(Way, usize) -> miette::Result<f64>,
) -> miette::Result<Found> {
    let mut rates = ways.map(|_| vec![Rounds::default(); builds]);
    for _ in 0..args.rounds {
        for ((_, way, _), rates) in ways.iter().zip(&mut rates) {
            for (build, rates) in rates.iter_mut().enumerate() {
                rates.note(rate(*way, build)?);
            }
        }
    }
    match builds {
        1 => report_line!("| | jobs per s |\n|---|---|"),
        _ => report_line!("| | jobs per s | other build | ratio |\n|---|---|---|---|"),
    }
    let mut found = Found::default();
    for ((label, _, figure), rates) in ways.iter().zip(&rates) {
        match rates.as_slice() {
            [own, other] => {
                let ratio = own.median() / other.median();
                report_line!("| {label} | {} | {} | {ratio:.2} x |", own.text(), other.text());
                found.note(*figure, ratio);
            }
            rates => {
                let texts: Vec<String> = rates.iter().map(Rounds::text).collect();
                report_line!("| {label} | {} |", texts.join(" | "));
            }
        }
    }
    Ok(found)
}
