//! A turn of Redcall, and the check of every turn's figures.

use miette::miette;
use redcall_bench::CallFigures;

use crate::rig::Rig;

/// One turn of Redcall.
pub(super) fn redcall(
    rig: &Rig,
    callers: usize,
    warm_up: u64,
    lasts: u64,
) -> miette::Result<CallFigures> {
    let callers = callers.to_string();
    let [warm_up, lasts] = [warm_up, lasts].map(|ms| format!("{ms}ms"));
    let call = ["bench", "call", "--json", "--callers", &callers];
    rig.redcall(&[&call[..], &["--warm-up", &warm_up, "--duration", &lasts]].concat())
}

/// Refuses figures with failed calls, which are soon done.
pub(super) fn answered(figures: CallFigures) -> miette::Result<CallFigures> {
    match figures.errors {
        0 => Ok(figures),
        errors => Err(miette!("{errors} of {} calls failed", errors + figures.calls)),
    }
}
