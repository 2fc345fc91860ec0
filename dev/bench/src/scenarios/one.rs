//! S1 and S5: one caller, whose calls follow each other at once or after a quiet time.

use super::Args;
use super::compare::{Load, Row, Who, compare};
use crate::rig::Placement;

pub(super) fn at_once(args: &Args) -> miette::Result<()> {
    both(args, args.lasts, 0)
}

/// Each call comes after a quiet time, in which everybody goes to sleep.
pub(super) fn after_quiet(args: &Args) -> miette::Result<()> {
    let each = args.samples.div_ceil(args.rounds).max(1);
    say!("{each} calls a round, each after {} ms of quiet\n", args.quiet);
    // One ms less than the last pause would begin at: neither side makes one more.
    both(args, each as u64 * args.quiet - 1, args.quiet)
}

fn both(args: &Args, lasts_ms: u64, pause_ms: u64) -> miette::Result<()> {
    for placement in [Placement::One, Placement::Own] {
        let rig = args.rig(placement)?;
        let load = Load { lasts_ms, pause_ms, ..Load::of(1, args) };
        say!("{}\n", placement.text());
        let floor = Row::new("F1", &rig, Who::f1(lasts_ms, pause_ms, 0, 0));
        let redcall = Row::new("Redcall", &rig, Who::Redcall(load));
        let [floor, redcall] = compare(args, [floor, redcall])?;
        say!("p50: {:.2} x F1\n", redcall.p50.median() / floor.p50.median());
    }
    Ok(())
}
