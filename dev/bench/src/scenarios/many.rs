//! S2: many callers at once, also with the slots that a worker has by default.

use super::args::Args;
use super::compare::{Load, Measured, Row, Side, compare};
use crate::rig::Placement;

/// The capacity of a worker without a setting.
const DEFAULT_SLOTS: usize = 64;
/// The queue of the worker with this capacity.
const NARROW: &str = "narrow";

pub(super) fn run(args: &Args) -> miette::Result<()> {
    for callers in [64, 1000, 5000] {
        let placement = Placement::Own;
        let mut rig = args.rig(placement)?;
        rig.worker(NARROW, DEFAULT_SLOTS)?;
        report_line!("Callers: {}; {}\n", args.fewer(callers), placement.text());
        let load = || Load::of(callers, args);
        let rows = [
            Row::new("F1, one caller", &rig, Side::f1(args.lasts, 0, 0, 0)),
            Row::new("F2", &rig, Side::f2(callers, args)),
            Row::new("Redcall", &rig, Side::Redcall(load())),
            Row::new(
                format!("Redcall, capacity {DEFAULT_SLOTS}"),
                &rig,
                Side::Redcall(load().with(&["--queue", NARROW])),
            ),
        ];
        let [one, two, redcall, narrow] = compare(args, rows)?;
        let to = |measured: &Measured, baseline: &Measured| {
            measured.rate.median() / baseline.rate.median()
        };
        let tail = redcall.p99.median() / redcall.p50.median();
        report_line!(
            "per s: {:.2} x F2, {:.2} x F1; p99: {tail:.2} x p50; \
             with a capacity of {DEFAULT_SLOTS} {:.2} x F2, {:.2} x F1\n",
            to(&redcall, &two),
            to(&redcall, &one),
            to(&narrow, &two),
            to(&narrow, &one),
        );
    }
    Ok(())
}
