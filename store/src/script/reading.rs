//! The result of reading a script's reply, as [`crate::fuzzing`] compares it with the reply.

use std::fmt::Debug;

/// The result of reading a reply.
#[derive(Debug)]
pub struct Reading {
    /// Its `Debug` text.
    pub shown: String,
    /// The number of results, requests or letters; `None` if it is not a list.
    pub count: Option<usize>,
}

impl Reading {
    /// Shows one value.
    pub(crate) fn of(value: impl Debug) -> Self {
        Self { shown: format!("{value:?}"), count: None }
    }

    /// Shows a list.
    pub(crate) fn list<T: Debug>(all: Vec<T>) -> Self {
        Self::counted(all.len(), all)
    }

    /// Shows a value with `count` results.
    pub(crate) fn counted(count: usize, value: impl Debug) -> Self {
        Self { count: Some(count), ..Self::of(value) }
    }
}
