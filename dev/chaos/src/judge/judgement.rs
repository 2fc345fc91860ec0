//! [`Judgement`]: the result of judging a history.

use std::collections::BTreeMap;

use crate::report::{Calls, Found, Recovery};

/// The findings of a history.
#[derive(Debug, Default)]
pub(crate) struct Judgement {
    pub(crate) calls: Calls,
    pub(crate) found: Found,
    pub(crate) run_twice: u64,
    pub(crate) recovery: Recovery,
    pub(crate) struck: BTreeMap<&'static str, u64>,
    /// The subjects of the findings, the first of each kind.
    pub(crate) examples: Vec<String>,
}
