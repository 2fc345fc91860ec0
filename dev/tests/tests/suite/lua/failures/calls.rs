//! The table of cases: each script, in each of its ways.

mod admin;
mod callers;
mod lanes;
mod polls;
mod workers;

use std::pin::Pin;
use std::time::Duration;

use redcall_store::StoreError;

use super::fill::State;
use super::world::{Party, World};

const MINUTE: Duration = Duration::from_secs(60);

/// Makes the call under test; the last argument is `true` the second time.
type Call = for<'a> fn(&'a World, &'a Party, bool) -> Calling<'a>;
type Calling<'a> = Pin<Box<dyn Future<Output = Result<(), StoreError>> + 'a>>;

/// One call of a script.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) script: &'static str,
    pub(super) state: State,
    /// Requests that may end without a trace: they have run, without a waiting caller.
    pub(super) vanish: &'static [&'static str],
    /// Requests that the call brings.
    pub(super) offers: &'static [&'static str],
    /// `true` if each heartbeat makes the call again, even after a successful one.
    pub(super) is_repeated: bool,
    pub(super) call: Call,
}

const fn case(script: &'static str, name: &'static str, state: State, call: Call) -> Case {
    Case { name, script, state, vanish: &[], offers: &[], is_repeated: false, call }
}

impl Case {
    const fn vanish(self, vanish: &'static [&'static str]) -> Self {
        Self { vanish, ..self }
    }

    const fn repeated(self) -> Self {
        Self { is_repeated: true, ..self }
    }

    const fn offers(self, offers: &'static [&'static str]) -> Self {
        Self { offers, ..self }
    }
}

/// All cases.
pub(super) fn cases() -> impl Iterator<Item = &'static Case> {
    [polls::CASES, lanes::CASES, workers::CASES, callers::CASES, admin::CASES].into_iter().flatten()
}
