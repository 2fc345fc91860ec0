//! S1 and S5: one caller, whose calls follow each other at once or after a quiet time.

use super::args::Args;
use super::compare::{Load, Row, Side, compare};
use super::musts::{Figure, Found};
use crate::rig::Placement;

pub(super) fn at_once(args: &Args) -> miette::Result<Found> {
    both(args, args.lasts, 0, [Figure::OneCallerOneCpu, Figure::OneCallerTwoCpus])
}

/// Each call follows a quiet time in which all processes go idle.
pub(super) fn after_quiet(args: &Args) -> miette::Result<Found> {
    let each = args.samples.div_ceil(args.rounds).max(1);
    report_line!("{each} calls a round, each after {} ms of quiet\n", args.quiet);
    // One ms less than the last pause would begin at: neither side makes one more.
    let lasts_ms = each as u64 * args.quiet - 1;
    both(args, lasts_ms, args.quiet, [Figure::IdleOneCpu, Figure::IdleTwoCpus])
}

fn both(args: &Args, lasts_ms: u64, pause_ms: u64, figures: [Figure; 2]) -> miette::Result<Found> {
    let mut found = Found::default();
    for (placement, figure) in [Placement::One, Placement::Own].into_iter().zip(figures) {
        let rig = args.rig(placement)?;
        let load = Load { lasts_ms, pause_ms, ..Load::of(1, args) };
        report_line!("{}\n", placement.text());
        let baseline = Row::new("F1", &rig, Side::f1(lasts_ms, pause_ms, 0, 0));
        let redcall = Row::new("Redcall", &rig, Side::Redcall(load));
        let [baseline, redcall] = compare(args, [baseline, redcall])?;
        let ratio = redcall.p50.median() / baseline.p50.median();
        report_line!("p50: {ratio:.2} x F1\n");
        found.note(figure, ratio);
        if figure == Figure::OneCallerTwoCpus {
            found.note(Figure::Commands, redcall.per_part(1).0);
        }
    }
    Ok(found)
}
