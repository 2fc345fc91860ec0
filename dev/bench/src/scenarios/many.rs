//! S2: many callers at once, also with the slots that a worker has by default.

use super::args::Args;
use super::compare::{Load, Measured, Row, Side, compare};
use super::musts::{Figure, Found};
use crate::rig::Placement;

/// The capacity of a worker without a setting.
const DEFAULT_SLOTS: usize = 64;
/// The queue of the worker with this capacity.
const NARROW: &str = "narrow";

/// The numbers of callers, and the figures that have a target: calls per second, p99.
const CALLERS: [(usize, Figure, Option<Figure>); 3] = [
    (64, Figure::Callers64, None),
    (1000, Figure::Callers1000, Some(Figure::Callers1000Tail)),
    (5000, Figure::Callers5000, Some(Figure::Callers5000Tail)),
];

pub(super) fn run(args: &Args) -> miette::Result<Found> {
    let mut found = Found::default();
    for (callers, rate, tail_figure) in CALLERS {
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
        found.note(rate, to(&redcall, &two));
        if let Some(figure) = tail_figure {
            found.note(figure, tail);
        }
    }
    Ok(found)
}
