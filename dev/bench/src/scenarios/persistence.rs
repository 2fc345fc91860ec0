//! The cost of Redis's append-only file: S1, S2 and S3 with all three settings.

use clap::ValueEnum as _;

use super::args::Args;
use super::compare::{Load, Row, Side, compare};
use super::jobs::{WAYS, enqueue_alone};
use crate::rig::{Persistence, Placement, Rig};
use crate::table::Rounds;

const ALL: [Persistence; 3] = [Persistence::None, Persistence::Everysec, Persistence::Always];

fn name(persistence: Persistence) -> String {
    persistence.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

pub(super) fn run(args: &Args) -> miette::Result<()> {
    let placement = Placement::Own;
    report_line!("{}\n", placement.text());
    for callers in [1, 1000] {
        let start = |persistence| Rig::start(placement, persistence, args.concurrency);
        let [none, second, always] = ALL.map(start);
        let (none, second, always) = (none?, second?, always?);
        let row = |rig, persistence| {
            Row::new(name(persistence), rig, Side::Redcall(Load::of(callers, args)))
        };
        report_line!("Callers: {}\n", args.fewer(callers));
        let rows = [row(&none, ALL[0]), row(&second, ALL[1]), row(&always, ALL[2])];
        let [none, second, always] = compare(args, rows)?;
        report_line!(
            "per s: everysec {:.2} x none, always {:.2} x none\n",
            second.rate.median() / none.rate.median(),
            always.rate.median() / none.rate.median()
        );
    }
    let mut rates = ALL.map(|_| WAYS.map(|_| Rounds::default()));
    for _ in 0..args.rounds {
        for (persistence, rates) in ALL.into_iter().zip(&mut rates) {
            for ((_, callers, batch), rates) in WAYS.into_iter().zip(rates) {
                rates.note(enqueue_alone(args, persistence, callers, batch)?.jobs_per_s);
            }
        }
    }
    report_line!("| enqueued per s | {} | {} |\n|---|---|---|", WAYS[0].0, WAYS[1].0);
    for (persistence, [tasks, batches]) in ALL.into_iter().zip(&rates) {
        report_line!("| {} | {} | {} |", name(persistence), tasks.text(), batches.text());
    }
    Ok(())
}
