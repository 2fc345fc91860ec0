//! S9: four workers far from Redis.

use std::time::Duration;

use super::args::Args;
use super::compare::{Load, Row, Side, compare};
use super::musts::{Figure, Found};
use crate::rig::{Network, Persistence, Placement, Rig};

const CALLERS: usize = 5000;
const WORKERS: usize = 4;

pub(super) fn run(args: &Args) -> miette::Result<Found> {
    let (placement, delay) = (Placement::Own, Duration::from_millis(args.latency));
    report_line!(
        "Callers: {}; {}. The latency is that of a TCP relay in the process of this program, \
         on whatever CPU is free: in each direction it passes bytes on {} ms later.\n",
        args.fewer(CALLERS),
        placement.text(),
        delay.as_millis()
    );
    let near = args.rig(placement)?;
    let four = |persistence, network| -> miette::Result<Rig> {
        let mut rig = Rig::bare(placement, persistence, network)?;
        for _ in 0..WORKERS {
            rig.worker("default", args.concurrency)?;
        }
        Ok(rig)
    };
    let synced = four(Persistence::Everysec, Network::Direct)?;
    let relayed = four(Persistence::Everysec, Network::Delayed(Duration::ZERO))?;
    let far = four(Persistence::Everysec, Network::Delayed(delay))?;
    let load = || Side::Redcall(Load::of(CALLERS, args));
    let rows = [
        Row::new("S2: one worker", &near, load()),
        Row::new("four workers, everysec", &synced, load()),
        Row::new("the same through a relay without delay", &relayed, load()),
        Row::new(format!("the same with {} ms each way", args.latency), &far, load()),
    ];
    let [near, synced, relayed, far] = compare(args, rows)?;
    let ratio = far.rate.median() / near.rate.median();
    report_line!(
        "per s: {ratio:.2} x S2 with as many callers ({:.2} without the latency, {:.2} with only \
         the relay); CPU us per call of the relay: {:.1}\n",
        synced.rate.median() / near.rate.median(),
        relayed.rate.median() / near.rate.median(),
        far.relay_us()
    );
    let mut found = Found::default();
    found.note(Figure::FarWorkers, ratio);
    Ok(found)
}
