//! The answers of the jobs that the index calls.

use serde::Deserialize;

/// Answer of `hash_file`: the fields used.
#[derive(Deserialize)]
pub(super) struct Hashed {
    pub(super) bytes: u64,
}

/// Answer of `word_count`: the fields used.
#[derive(Deserialize)]
pub(super) struct Counted {
    pub(super) words: u64,
}

/// Answer of `summarize`: the fields used.
#[derive(Deserialize)]
pub(super) struct Summary {
    pub(super) files: u64,
    pub(super) bytes: u64,
    /// Number of progress frames before it.
    #[serde(skip)]
    pub(super) frames: u64,
}
