//! What the answers add up to. No calling and no printing here.

use std::collections::BTreeMap;

use redcall_client::{CallError, Receipt};

use super::calls::{Counted, Hashed, Summary};
use crate::walk::kind;

/// Files of one extension.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) files: u64,
    pub(super) bytes: u64,
    /// Documents whose words were counted.
    pub(super) documents: u64,
    pub(super) words: u64,
}

/// A call without an answer.
pub(super) struct Failed {
    /// The job's name, and the file if it was about one.
    pub(super) call: String,
    pub(super) error: CallError,
}

/// All outcomes of an index run.
#[derive(Default)]
pub(super) struct Tally {
    kinds: BTreeMap<String, Kind>,
    calls: u64,
    failed: Vec<Failed>,
    sum: Option<i64>,
    summary: Option<Summary>,
}

impl Tally {
    /// `add` ended.
    pub(super) fn sum(&mut self, answer: Result<i64, CallError>) {
        self.sum = self.outcome("add", "", answer);
    }

    /// `log_visit` was queued.
    pub(super) fn visit(&mut self, receipt: Result<Receipt, CallError>) {
        let _ = self.outcome("log_visit", "", receipt);
    }

    /// `hash_file` ended for the file at `path`.
    pub(super) fn hashed(&mut self, path: &str, answer: Result<Hashed, CallError>) {
        if let Some(Hashed { bytes }) = self.outcome("hash_file", path, answer) {
            let kind = self.kinds.entry(kind(path)).or_default();
            kind.files += 1;
            kind.bytes += bytes;
        }
    }

    /// `word_count` ended for the document at `path`.
    pub(super) fn counted(&mut self, path: &str, answer: Result<Counted, CallError>) {
        if let Some(Counted { words }) = self.outcome("word_count", path, answer) {
            let kind = self.kinds.entry(kind(path)).or_default();
            kind.documents += 1;
            kind.words += words;
        }
    }

    /// `summarize` ended.
    pub(super) fn summary(&mut self, answer: Result<Summary, CallError>) {
        self.summary = self.outcome("summarize", "", answer);
    }

    fn outcome<T>(&mut self, job: &str, path: &str, answer: Result<T, CallError>) -> Option<T> {
        self.calls += 1;
        let call = || format!("{job} {path}").trim_end().to_owned();
        answer.map_err(|error| self.failed.push(Failed { call: call(), error })).ok()
    }

    /// By extension; most files first.
    pub(super) fn kinds(&self) -> Vec<(&str, Kind)> {
        let mut kinds: Vec<_> = self.kinds.iter().map(|(name, it)| (name.as_str(), *it)).collect();
        kinds.sort_by_key(|(_, kind)| std::cmp::Reverse(kind.files));
        kinds
    }

    /// All kinds together.
    pub(super) fn total(&self) -> Kind {
        self.kinds.values().fold(Kind::default(), |sum, kind| Kind {
            files: sum.files + kind.files,
            bytes: sum.bytes + kind.bytes,
            documents: sum.documents + kind.documents,
            words: sum.words + kind.words,
        })
    }

    /// How many calls were made.
    pub(super) fn calls(&self) -> u64 {
        self.calls
    }

    /// Those without an answer.
    pub(super) fn failed(&self) -> &[Failed] {
        &self.failed
    }

    /// What `add` answered.
    pub(super) fn answer(&self) -> Option<i64> {
        self.sum
    }

    /// What `summarize` answered.
    pub(super) fn summarized(&self) -> Option<&Summary> {
        self.summary.as_ref()
    }
}
