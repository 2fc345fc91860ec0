//! S10: answers in parts, compared with as many plain calls.

use super::args::Args;
use super::compare::{Load, Measured, Row, Side, compare};
use crate::rig::Placement;

/// How many parts an answer has.
const PARTS: u64 = 1000;

pub(super) fn run(args: &Args) -> miette::Result<()> {
    let placement = Placement::Own;
    let rig = args.rig(placement)?;
    for callers in [1, 64] {
        report_line!("Callers: {}; {}\n", args.fewer(callers), placement.text());
        let count = |size: u16| {
            let data = format!(r#"{{"to":{PARTS},"size":{size}}}"#);
            let more = ["--job", "count", "--data", &data, "--stream"];
            Side::Redcall(Load::of(callers, args).with(&more))
        };
        let rows = [
            Row::new("plain calls", &rig, Side::Redcall(Load::of(callers, args))),
            Row::new(format!("{PARTS} parts of a number"), &rig, count(0)),
            Row::new(format!("{PARTS} parts of 1 kB"), &rig, count(1000)),
        ];
        let [plain, small, large] = compare(args, rows)?;
        let line = |of: &Measured, parts: u64| {
            let (commands, us) = of.per_part(parts);
            format!(
                "{:.0} per s, {commands:.1} commands, {us:.1} us",
                of.rate.median() * parts as f64
            )
        };
        report_line!(
            "A call: {}. A part: {}; of 1 kB: {}. The us are of CPU, all processes together.\n",
            line(&plain, 1),
            line(&small, PARTS),
            line(&large, PARTS),
        );
    }
    Ok(())
}
