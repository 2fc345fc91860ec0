//! The competitors, and those that are installed.

use std::path::Path;

use miette::miette;

use super::adapter::Adapter;

/// One competitor.
struct Competitor {
    name: &'static str,
    /// With 1,000 callers it takes seconds for one call each: it gets fewer rounds.
    slow: bool,
}

const ALL: &[Competitor] = &[
    Competitor { name: "rq", slow: true },
    Competitor { name: "celery", slow: true },
    Competitor { name: "saq", slow: false },
    Competitor { name: "bullmq", slow: false },
    Competitor { name: "bullmq-rust", slow: false },
    Competitor { name: "apalis", slow: false },
    Competitor { name: NATS, slow: false },
    Competitor { name: "tarpc", slow: false },
];

/// The competitor that a target of the measurements names.
pub(crate) const NATS: &str = "nats";

/// Of a slow competitor.
pub(super) const MAX_ROUNDS: usize = 3;
pub(super) const LONGEST_MS: u64 = 1000;

/// Returns the named competitors, or all, as far as they are installed, and `true` for each slow
/// one. Prints how to install the others.
pub(super) fn present(installed: &Path, names: &[String]) -> miette::Result<Vec<(Adapter, bool)>> {
    let unknown = |name: &&String| ALL.iter().all(|competitor| competitor.name != **name);
    if let Some(name) = names.iter().find(unknown) {
        let known: Vec<&str> = ALL.iter().map(|competitor| competitor.name).collect();
        return Err(miette!("unknown competitor `{name}`. Known: {}", known.join(", ")));
    }
    let mut present = Vec::new();
    for Competitor { name, slow } in ALL {
        if !names.is_empty() && !names.iter().any(|chosen| chosen == name) {
            continue;
        }
        match Adapter::find(installed, name) {
            Some(adapter) => present.push((adapter, *slow)),
            None => report_line!(
                "{name} is not installed: run cargo xtask bench competitors {name} --install"
            ),
        }
    }
    Ok(present)
}

/// Returns rounds and their duration, of a slow competitor fewer and shorter ones.
pub(super) fn bounded(slow: bool, rounds: usize, lasts_ms: u64) -> (usize, u64) {
    match slow {
        true => (rounds.min(MAX_ROUNDS), lasts_ms.min(LONGEST_MS)),
        false => (rounds, lasts_ms),
    }
}
