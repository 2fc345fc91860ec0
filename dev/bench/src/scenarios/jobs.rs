//! S3 and S4: fire-and-forget jobs, as they are enqueued and as they are drained.

use redcall_bench::JobFigures;

use super::args::Args;
use crate::rig::{Persistence, Placement, Rig};
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

pub(super) fn enqueued(args: &Args) -> miette::Result<()> {
    let mut rates = WAYS.map(|_| Rounds::default());
    for _ in 0..args.rounds {
        for ((_, callers, batch), rates) in WAYS.into_iter().zip(&mut rates) {
            rates.note(enqueue_alone(args, args.persistence, callers, batch)?.jobs_per_s);
        }
    }
    report_line!("| | jobs per s |\n|---|---|");
    for ((label, ..), rates) in WAYS.into_iter().zip(&rates) {
        report_line!("| {label} | {} |", rates.text());
    }
    Ok(())
}

pub(super) fn drained(args: &Args) -> miette::Result<()> {
    let rig = args.rig(Placement::Own)?;
    let ways = [("without answers", None), ("with answers", Some("--answers"))];
    let mut rates = ways.map(|_| Rounds::default());
    let jobs = args.jobs.to_string();
    for _ in 0..args.rounds {
        for ((_, more), rates) in ways.into_iter().zip(&mut rates) {
            let mut command = vec!["bench", "drain", "--json", "--jobs", &jobs];
            command.extend(more);
            let figures: JobFigures = rig.redcall(&command)?;
            rates.note(figures.jobs_per_s);
        }
    }
    report_line!("{jobs} jobs\n\n| | jobs per s |\n|---|---|");
    for ((label, _), rates) in ways.into_iter().zip(&rates) {
        report_line!("| {label} | {} |", rates.text());
    }
    Ok(())
}
