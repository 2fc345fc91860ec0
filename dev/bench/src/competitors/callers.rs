//! Redcall and all installed competitors at each of several numbers of callers, in turns.
//!
//! A competitor's worker starts for each of its turns: a stopped one would miss its heartbeats in
//! the turns of all others, and calls of apalis failed then.

use std::path::{Path, PathBuf};

use miette::{IntoDiagnostic as _, WrapErr as _};
use redcall_bench::CallFigures;

use super::adapter::Adapter;
use super::list::{bounded, present};
use super::table::Seen;
use super::turns::{answered, redcall};
use crate::plot::{self, Point, Series};
use crate::rig::{Persistence, Placement, Rig};
use crate::table::Rounds;

/// The most callers of a slow competitor: with more it takes half a minute for one call of each.
const MOST_CALLERS_IF_SLOW: usize = 1000;

/// The measurements to make.
pub(crate) struct Plan {
    /// The competitors; all that are installed if none is named.
    pub(crate) names: Vec<String>,
    /// Where they are; without it, Redcall is measured alone.
    pub(crate) installed: Option<PathBuf>,
    pub(crate) callers: Vec<usize>,
    pub(crate) rounds: usize,
    pub(crate) lasts_ms: u64,
    pub(crate) warm_up_ms: u64,
    /// The capacity of Redcall's worker.
    pub(crate) concurrency: usize,
    pub(crate) svg: Option<PathBuf>,
}

/// A measured system.
enum System<'a> {
    Redcall(&'a Rig),
    Competitor { adapter: &'a Adapter, slow: bool },
}

/// A system, and its results so far.
struct Entrant<'a> {
    system: System<'a>,
    series: Series,
    /// Why it is measured no more.
    failure: Option<String>,
}

/// The rounds of a system at one number of callers.
#[derive(Default)]
struct Turns {
    seen: Seen,
    /// How many times as many calls Redcall answers, in the same round.
    ratio: Rounds,
}

impl Plan {
    /// Measures and prints; writes the plot if one is wanted. Returns the median ratio of Redcall's
    /// calls per second to each competitor's, with its name and the number of callers.
    pub(crate) fn run(&self) -> miette::Result<Vec<(String, usize, f64)>> {
        let adapters = match &self.installed {
            Some(installed) => present(installed, &self.names)?,
            None => Vec::new(),
        };
        let rig = Rig::start(Placement::Own, Persistence::None, self.concurrency)?;
        let mut entrants = vec![Entrant::new("Redcall", System::Redcall(&rig))];
        for (adapter, slow) in &adapters {
            let about = adapter.about()?;
            report_line!("{}\n", about.trim());
            let system = System::Competitor { adapter, slow: *slow };
            entrants.push(Entrant::new(adapter.name(), system));
        }
        report_line!(
            "Each turn after {} ms of warm-up; {}\n\n| callers | | per s | p50 us | p99 us | \
             Redcall / it |\n|---|---|---|---|---|---|",
            self.warm_up_ms,
            Placement::Own.text()
        );
        let mut ratios = Vec::new();
        for &callers in &self.callers {
            ratios.extend(self.at(callers, &rig.address, &mut entrants)?);
        }
        for Entrant { series, failure, .. } in &entrants {
            if let Some(failure) = failure {
                report_line!("\n{} could not be measured further: {failure}", series.name);
            }
        }
        if let Some(path) = &self.svg {
            self.draw(path, entrants.into_iter().map(|entrant| entrant.series).collect())?;
        }
        report_line!("");
        Ok(ratios)
    }

    fn at(
        &self,
        callers: usize,
        redis: &str,
        entrants: &mut [Entrant<'_>],
    ) -> miette::Result<Vec<(String, usize, f64)>> {
        let mut all: Vec<Turns> = entrants.iter().map(|_| Turns::default()).collect();
        for round in 0..self.rounds {
            let mut ours = None;
            for (entrant, turns) in entrants.iter_mut().zip(&mut all) {
                let Some(figures) = entrant.turn(self, redis, callers, round)? else { continue };
                turns.seen.note(&figures);
                match (&entrant.system, ours) {
                    (System::Redcall(_), _) => ours = Some(figures.calls_per_s),
                    (System::Competitor { .. }, Some(ours)) => {
                        turns.ratio.note(ours / figures.calls_per_s);
                    }
                    (System::Competitor { .. }, None) => {}
                }
            }
        }
        let mut ratios = Vec::new();
        for (Entrant { system, series, .. }, Turns { seen, ratio }) in entrants.iter_mut().zip(&all)
        {
            if seen.rate.is_empty() {
                continue;
            }
            report_line!("| {callers} | {} | {} | {} |", series.name, seen.text(), ratio.text());
            series.points.push(Point {
                callers,
                per_s: seen.rate.median(),
                p50_us: seen.p50.median(),
                p99_us: seen.p99.median(),
            });
            if matches!(system, System::Competitor { .. }) {
                ratios.push((series.name.clone(), callers, ratio.median()));
            }
        }
        Ok(ratios)
    }

    fn draw(&self, path: &Path, all: Vec<Series>) -> miette::Result<()> {
        let description = format!(
            "Three charts with logarithmic axes: calls per second, and the latencies p50 and p99, \
             against the number of callers. Systems: {}. Medians of {} rounds of {} ms.",
            all.iter().map(|series| series.name.as_str()).collect::<Vec<_>>().join(", "),
            self.rounds,
            self.lasts_ms
        );
        let picture = plot::svg("Waited calls by number of callers", &description, &all);
        std::fs::write(path, picture).into_diagnostic().wrap_err_with(|| path.display().to_string())
    }
}

impl<'a> Entrant<'a> {
    fn new(name: &str, system: System<'a>) -> Self {
        let series = Series { name: name.to_owned(), points: Vec::new() };
        Self { system, series, failure: None }
    }

    /// One turn; `None` if there is none: it has failed, or is too slow for more. A failure of
    /// Redcall ends the run, that of a competitor only its own turns.
    fn turn(
        &mut self,
        plan: &Plan,
        redis: &str,
        callers: usize,
        round: usize,
    ) -> miette::Result<Option<CallFigures>> {
        let (adapter, slow) = match &self.system {
            System::Redcall(rig) => {
                let figures = redcall(rig, callers, plan.warm_up_ms, plan.lasts_ms)?;
                return answered(figures).map(Some);
            }
            System::Competitor { adapter, slow } => (adapter, *slow),
        };
        let (rounds, lasts_ms) = bounded(slow, plan.rounds, plan.lasts_ms);
        let too_many = slow && callers > MOST_CALLERS_IF_SLOW;
        if self.failure.is_some() || round >= rounds || too_many {
            return Ok(None);
        }
        let turn = || adapter.start(redis)?.call(callers, plan.warm_up_ms, lasts_ms);
        match turn().and_then(answered) {
            Ok(figures) => Ok(Some(figures)),
            Err(error) => {
                self.failure = Some(format!("{callers} callers: {error}"));
                Ok(None)
            }
        }
    }
}
