//! S6: requests of 100 B, 10 kB and 1 MB, with small answers and with answers as large.

use super::args::Args;
use super::compare::{Load, Row, Side, compare};
use super::musts::{Figure, Found};
use crate::rig::Placement;

/// The size of an envelope without its data.
const AROUND: usize = 187;

/// The largest size, which has a target.
const LARGE: usize = 1_000_000;

pub(super) fn run(args: &Args) -> miette::Result<Found> {
    let mut found = Found::default();
    let placement = Placement::Own;
    let rig = args.rig(placement)?;
    report_line!(
        "`add` takes data of so many bytes and answers 12, `echo` answers with its data. F1 has \
         one caller and elements as long. {}\n",
        placement.text()
    );
    // Bounds the bytes in flight to 8 MB.
    for (size, name, many) in [(100, "100 B", 64), (10_000, "10 kB", 64), (LARGE, "1 MB", 8)] {
        report_line!("{name}\n");
        let (text, at_once) = (size.to_string(), args.fewer(many));
        let load = |callers, job| {
            Side::Redcall(Load::of(callers, args).with(&["--job", job, "--size", &text]))
        };
        let f1 = |back| Side::f1(args.lasts, 0, AROUND + size, back);
        let rows = [
            Row::new("F1, small answer", &rig, f1(0)),
            Row::new("F1, answer as large", &rig, f1(AROUND + size)),
            Row::new("add, 1 caller", &rig, load(1, "add")),
            Row::new("echo, 1 caller", &rig, load(1, "echo")),
            Row::new(format!("add, {at_once} at once"), &rig, load(many, "add")),
            Row::new(format!("echo, {at_once} at once"), &rig, load(many, "echo")),
        ];
        let [small, large, add, echo, ..] = compare(args, rows)?;
        let add = add.p50.median() / small.p50.median();
        let echo = echo.p50.median() / large.p50.median();
        report_line!("p50 of one caller: add {add:.2} x F1, echo {echo:.2} x F1\n");
        if size == LARGE {
            found.note(Figure::LargeRequest, add);
            found.note(Figure::LargeAnswer, echo);
        }
    }
    Ok(found)
}
