//! `[limits]`: the reader. The struct and its default are in `rules/limits.rs`; the decoder of
//! the wire format applies them.

use super::queues::max_length;
use crate::rules::limits::Limits;
use crate::settings::source::entry::Entry;
use crate::settings::source::section::Section;
use crate::settings::value::forms::count;

/// The smallest limit that leaves room for an error with its message.
pub(crate) const SMALLEST: u64 = 1 << 10;

/// The largest value that Redis can hold.
pub(crate) const LARGEST: u64 = 512 << 20;

/// Reads the `[limits]` table.
pub(crate) fn read(mut section: Section<'_>) -> Limits {
    let default = Limits::default();
    let size = |entry: &Entry| entry.size(SMALLEST..=LARGEST);
    let settings = Limits {
        request: section.read("request", size).unwrap_or(default.request),
        answer: section.read("answer", size).unwrap_or(default.answer),
        frame: section.read("frame", size).unwrap_or(default.frame),
        depth: section.read("depth", |entry| count(entry, 128)).unwrap_or(default.depth),
        max_length: section.read("max_length", max_length).unwrap_or(default.max_length),
        answers_max_bytes: section
            .read("answers_max_bytes", Entry::bound)
            .unwrap_or(default.answers_max_bytes),
    };
    section.finish();
    settings
}
