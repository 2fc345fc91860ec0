//! Totals of the answers. It neither calls nor prints.

use std::collections::BTreeMap;

use redcall_client::{CallError, Receipt};

use super::answers::{Counted, Hashed, Summary};
use crate::walk::kind;

/// Files with one extension.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) files: u64,
    pub(super) bytes: u64,
    /// Number of documents whose words were counted.
    pub(super) documents: u64,
    pub(super) words: u64,
}

/// A call without an answer.
pub(super) struct Failed {
    /// The job's name, and its file, if any.
    pub(super) call: String,
    pub(super) error: CallError,
}

/// All results of an index run.
#[derive(Default)]
pub(super) struct Tally {
    kinds: BTreeMap<String, Kind>,
    calls: u64,
    failed: Vec<Failed>,
    sum: Option<i64>,
    summary: Option<Summary>,
}

impl Tally {
    /// Adds the result of `add`.
    pub(super) fn sum(&mut self, answer: Result<i64, CallError>) {
        self.sum = self.outcome("add", "", answer);
    }

    /// Adds the result of `log_visit`.
    pub(super) fn visit(&mut self, receipt: Result<Receipt, CallError>) {
        let _ = self.outcome("log_visit", "", receipt);
    }

    /// Adds the result of `hash_file` for the file at `path`.
    pub(super) fn hashed(&mut self, path: &str, answer: Result<Hashed, CallError>) {
        if let Some(Hashed { bytes }) = self.outcome("hash_file", path, answer) {
            let kind = self.kinds.entry(kind(path)).or_default();
            kind.files += 1;
            kind.bytes += bytes;
        }
    }

    /// Adds the result of `word_count` for the document at `path`.
    pub(super) fn counted(&mut self, path: &str, answer: Result<Counted, CallError>) {
        if let Some(Counted { words }) = self.outcome("word_count", path, answer) {
            let kind = self.kinds.entry(kind(path)).or_default();
            kind.documents += 1;
            kind.words += words;
        }
    }

    /// Adds the result of `summarize`.
    pub(super) fn summary(&mut self, answer: Result<Summary, CallError>) {
        self.summary = self.outcome("summarize", "", answer);
    }

    fn outcome<T>(&mut self, job: &str, path: &str, answer: Result<T, CallError>) -> Option<T> {
        self.calls += 1;
        let call = || format!("{job} {path}").trim_end().to_owned();
        answer.map_err(|error| self.failed.push(Failed { call: call(), error })).ok()
    }

    /// Returns the totals by extension, most files first.
    pub(super) fn kinds(&self) -> Vec<(&str, Kind)> {
        let mut kinds: Vec<_> = self.kinds.iter().map(|(name, it)| (name.as_str(), *it)).collect();
        kinds.sort_by_key(|(_, kind)| std::cmp::Reverse(kind.files));
        kinds
    }

    /// Returns the totals of all kinds.
    pub(super) fn total(&self) -> Kind {
        self.kinds.values().fold(Kind::default(), |sum, kind| Kind {
            files: sum.files + kind.files,
            bytes: sum.bytes + kind.bytes,
            documents: sum.documents + kind.documents,
            words: sum.words + kind.words,
        })
    }

    /// Returns the number of calls.
    pub(super) fn calls(&self) -> u64 {
        self.calls
    }

    /// Returns the calls without an answer.
    pub(super) fn failed(&self) -> &[Failed] {
        &self.failed
    }

    /// Returns the answer of `add`.
    pub(super) fn answer(&self) -> Option<i64> {
        self.sum
    }

    /// Returns the answer of `summarize`.
    pub(super) fn summarized(&self) -> Option<&Summary> {
        self.summary.as_ref()
    }
}
