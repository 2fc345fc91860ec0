//! Condenses repeated lines of Redcall itself: a warning in a tight loop is logged once; then one
//! line every [`WINDOW`] reports the number of repeats.
//!
//! Two classes of lines are limited, each per place in the code and per window:
//!
//! - A warning or an error that is not about one request (it has no field `id`) is logged once.
//!   Repeats of the same text and fields are counted. At most [`TEXTS`] texts are distinguished.
//! - Of all other lines, up to [`MAX_LINES`] are logged: one per request, such as a failed run.
//!   Beyond that, each kind of line (job name and code) has another [`MAX_LINES_OF_KIND`] lines,
//!   and its own count: a flood of one kind hides no other. At most [`KINDS`] kinds are
//!   distinguished.
//!
//! Lines of handlers, of their programs (limited by `handler/program/budget.rs`) and of the levels
//! debug and trace are not limited.

use std::collections::HashMap;
use std::fmt::{Debug, Write as _};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use super::queue::Queue;

/// Time between two lines about the same repeats.
pub(super) const WINDOW: Duration = Duration::from_secs(10);
/// Most texts of one place that are distinguished.
const TEXTS: usize = 16;
/// Most lines about requests that one place of the code logs in a window.
const MAX_LINES: u64 = 1000;
/// Most further lines that each kind logs.
const MAX_LINES_OF_KIND: u64 = 50;
/// Most kinds of one place that are distinguished.
const KINDS: usize = 16;
/// Longest part of a repeated line that is shown, bytes.
const SHOWN: usize = 512;

/// The crates whose lines are condensed.
const OURS: [&str; 4] = ["redcall_worker", "redcall_common", "redcall_store", "redcall_client"];
/// Modules whose lines are not limited: the stderr of programs, and lines about lines.
const PASS: [&str; 3] = [
    crate::handler::program::stderr::TARGET,
    "redcall_worker::log::repeats",
    "redcall_worker::log::writer",
];

/// See the module.
#[derive(Default)]
pub(super) struct Repeats {
    sites: Mutex<HashMap<Identifier, CallSite>>,
    /// `true` if a window is open. Written under the lock of `sites`.
    pending: AtomicBool,
}

/// A place in the code that logged in the last window.
struct CallSite {
    level: Level,
    begun: Instant,
    /// Lines that were logged in this window.
    passed: u64,
    texts: Vec<Text>,
    kinds: Vec<Kind>,
    /// Lines of texts beyond [`TEXTS`], or of kinds beyond [`KINDS`], with the first of them.
    rest: Option<Text>,
}

/// Lines about requests with the same job name and code.
struct Kind {
    hash: u64,
    passed: u64,
    /// Lines beyond the limits, with the first of them.
    rest: Option<Text>,
}

impl CallSite {
    fn new(level: Level, begun: Instant) -> Self {
        let (texts, kinds) = (Vec::new(), Vec::new());
        Self { level, begun, passed: 0, texts, kinds, rest: None }
    }

    /// The kind of this hash, if it is distinguished.
    fn kind(&mut self, hash: u64) -> Option<&mut Kind> {
        let known = self.kinds.iter().position(|kind| kind.hash == hash);
        if known.is_none() && self.kinds.len() < KINDS {
            self.kinds.push(Kind { hash, passed: 0, rest: None });
        }
        let at = known.unwrap_or(self.kinds.len().saturating_sub(1));
        self.kinds.get_mut(at).filter(|kind| kind.hash == hash)
    }

    /// Returns `true` if a line that is distinguished by its text must be logged; counts it
    /// otherwise.
    fn admit_text(&mut self, line: EventText) -> bool {
        if let Some(text) = self.texts.iter_mut().find(|text| text.hash == line.hash) {
            text.held += 1;
            return false;
        }
        if self.texts.len() < TEXTS {
            self.texts.push(Text { hash: line.hash, shown: line.shown, held: 0 });
            return true;
        }
        hold(&mut self.rest, line);
        false
    }

    /// Returns `true` if another line of this kind must be logged; counts it otherwise. Returns
    /// `None` for the first line that is not logged, whose text [`CallSite::hold_kind`] stores.
    fn admit_kind(&mut self, hash: u64) -> Option<bool> {
        let has_room = self.passed < MAX_LINES;
        let kind = self.kind(hash);
        let is_admitted =
            has_room || kind.as_ref().is_some_and(|kind| kind.passed < MAX_LINES_OF_KIND);
        if is_admitted {
            kind.into_iter().for_each(|kind| kind.passed += 1);
            self.passed += 1;
            return Some(true);
        }
        let rest = match kind {
            Some(kind) => kind.rest.as_mut(),
            None => self.rest.as_mut(),
        };
        rest.map(|rest| {
            rest.held += 1;
            false
        })
    }

    /// Counts a line of this kind that is not logged.
    fn hold_kind(&mut self, hash: u64, line: EventText) {
        match self.kind(hash) {
            Some(kind) => hold(&mut kind.rest, line),
            None => hold(&mut self.rest, line),
        }
    }
}

/// Counts a line that is not logged.
fn hold(rest: &mut Option<Text>, line: EventText) {
    let first = || Text { hash: line.hash, shown: line.shown, held: 0 };
    rest.get_or_insert_with(first).held += 1;
}

/// A line, and its number of repeats.
struct Text {
    hash: u64,
    shown: String,
    held: u64,
}

/// A report about repeats.
#[derive(Debug, PartialEq, Eq)]
struct RepeatReport {
    level: Level,
    text: String,
    held: u64,
    /// `true` if the counted lines differ from the one shown.
    is_mixed: bool,
}

impl Repeats {
    /// Returns `true` if the writer must check them again without being woken.
    pub(super) fn are_pending(&self) -> bool {
        self.pending.load(Ordering::Acquire)
    }

    /// Returns `true` if the line must be logged now. `line` and `kind` are called without a lock:
    /// formatting a value may log, too.
    fn admit(
        &self,
        metadata: &Metadata<'_>,
        kind: impl FnOnce() -> u64,
        line: impl Fn() -> EventText,
        now: Instant,
    ) -> bool {
        let is_warning = *metadata.level() <= Level::WARN;
        if is_warning && metadata.fields().field("id").is_none() {
            let line = line();
            return self.site(metadata, now, |site| site.admit_text(line));
        }
        let kind = kind();
        let is_admitted = self.site(metadata, now, |site| site.admit_kind(kind));
        if is_admitted == Some(true) {
            return true;
        }
        if is_admitted.is_none() {
            let line = line();
            self.site(metadata, now, |site| site.hold_kind(kind, line));
        }
        false
    }

    fn site<T>(
        &self,
        metadata: &Metadata<'_>,
        now: Instant,
        then: impl FnOnce(&mut CallSite) -> T,
    ) -> T {
        let mut sites = self.lock();
        self.pending.store(true, Ordering::Release);
        let level = *metadata.level();
        then(sites.entry(metadata.callsite()).or_insert_with(|| CallSite::new(level, now)))
    }

    /// Ends the windows that are over, or all of them; returns their reports.
    fn due(&self, now: Instant, all: bool) -> Vec<RepeatReport> {
        let mut due = Vec::new();
        let mut sites = self.lock();
        sites.retain(|_, site| {
            if !all && now.saturating_duration_since(site.begun) < WINDOW {
                return true;
            }
            let level = site.level;
            let mut report = |text: &mut Text, is_mixed| {
                let (text, held) = (text.shown.clone(), mem::take(&mut text.held));
                due.push(RepeatReport { level, text, held, is_mixed });
            };
            // A text without repeats is forgotten: its next line is logged in full.
            site.texts.retain_mut(|text| {
                let is_repeated = text.held > 0;
                if is_repeated {
                    report(text, false);
                }
                is_repeated
            });
            let rests = site.kinds.drain(..).filter_map(|kind| kind.rest);
            rests.chain(site.rest.take()).for_each(|mut rest| report(&mut rest, true));
            (site.begun, site.passed) = (now, 0);
            !site.texts.is_empty()
        });
        self.pending.store(!sites.is_empty(), Ordering::Release);
        due
    }

    /// Logs the repeats of windows that are over, or of all. Called by the writer.
    pub(super) fn report(&self, now: Instant, all: bool) {
        if !self.are_pending() {
            return;
        }
        for RepeatReport { level, text, held, is_mixed } in self.due(now, all) {
            let more = if is_mixed { "more lines such as" } else { "times more" };
            match level {
                Level::ERROR => tracing::error!(repeated = held, "{held} {more}: {text}"),
                Level::WARN => tracing::warn!(repeated = held, "{held} {more}: {text}"),
                _ => tracing::info!(repeated = held, "{held} {more}: {text}"),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Identifier, CallSite>> {
        self.sites.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The layer that filters by [`Repeats`].
pub(super) struct Condense {
    pub(super) repeats: Arc<Repeats>,
    pub(super) queue: Arc<Queue>,
}

impl<S: Subscriber> Layer<S> for Condense {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if *metadata.level() > Level::INFO || !is_ours(metadata.target()) {
            return true;
        }
        let was_pending = self.repeats.are_pending();
        let (kind, line) = (|| kind_of(event), || EventText::of(event));
        let is_admitted = self.repeats.admit(metadata, kind, line, Instant::now());
        if !was_pending {
            self.queue.wake();
        }
        is_admitted
    }
}

fn is_ours(target: &str) -> bool {
    let is_below = |module: &str| {
        target.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    OURS.into_iter().any(is_below) && !PASS.into_iter().any(is_below)
}

/// The kind of a line about a request: its job name and code, as a hash.
fn kind_of(event: &Event<'_>) -> u64 {
    struct Kind(DefaultHasher);
    impl Visit for Kind {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            if matches!(field.name(), "name" | "code") {
                (field.name(), format!("{value:?}")).hash(&mut self.0);
            }
        }
    }
    let mut kind = Kind(DefaultHasher::new());
    event.record(&mut kind);
    kind.0.finish()
}

/// The text and the fields of an event.
#[derive(Default)]
struct EventText {
    hash: u64,
    shown: String,
}

impl EventText {
    fn of(event: &Event<'_>) -> Self {
        let mut visitor = Visitor::default();
        event.record(&mut visitor);
        let Visitor { mut shown, rest, hasher } = visitor;
        shown.push_str(&rest);
        shown.truncate(shown.floor_char_boundary(SHOWN));
        Self { hash: hasher.finish(), shown }
    }
}

/// Collects the message, then the other fields.
#[derive(Default)]
struct Visitor {
    shown: String,
    rest: String,
    hasher: DefaultHasher,
}

impl Visit for Visitor {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = format!("{value:?}");
        field.name().hash(&mut self.hasher);
        text.hash(&mut self.hasher);
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.shown, "{text}"),
            name => write!(self.rest, " {name}={text}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use tracing::field::FieldSet;
    use tracing::metadata::Kind;

    use super::*;

    struct Site;

    static WARNING: Metadata<'static> = metadata(Level::WARN, &["message"]);
    static JOB: Metadata<'static> = metadata(Level::WARN, &["message", "id"]);

    const fn metadata(level: Level, names: &'static [&'static str]) -> Metadata<'static> {
        let fields = FieldSet::new(names, Identifier(&Site));
        Metadata::new("", "redcall_worker", level, None, None, None, fields, Kind::EVENT)
    }

    impl tracing::Callsite for Site {
        fn set_interest(&self, _: tracing::subscriber::Interest) {}
        fn metadata(&self) -> &Metadata<'_> {
            &WARNING
        }
    }

    fn line(text: &str) -> EventText {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        EventText { hash: hasher.finish(), shown: text.to_owned() }
    }

    #[test]
    fn repeated_warning_is_logged_once_and_counted_per_window() {
        let (repeats, begun) = (Repeats::default(), Instant::now());
        let admit = |text, at| repeats.admit(&WARNING, || 0, || line(text), at);
        assert!(admit("a queue", begun));
        assert!((0..19).all(|_| !admit("a queue", begun)));
        assert!(admit("another queue", begun), "another text is another warning");
        assert!(repeats.due(begun + WINDOW / 2, false).is_empty());
        let expected = |held| {
            let text = "a queue".to_owned();
            vec![RepeatReport { level: Level::WARN, text, held, is_mixed: false }]
        };
        assert_eq!(repeats.due(begun + WINDOW, false), expected(19));
        // Repeats continue: one line of them per window.
        assert!(!admit("a queue", begun + WINDOW));
        assert!(admit("another queue", begun + WINDOW), "it was not repeated");
        assert_eq!(repeats.due(begun + WINDOW * 2, false), expected(1));
        // A window without repeats ends the series.
        assert!(repeats.due(begun + WINDOW * 3, false).is_empty());
        assert!(!repeats.are_pending());
        assert!(admit("a queue", begun + WINDOW * 3));
    }

    #[test]
    fn varying_texts_of_one_place_are_bounded() {
        let (repeats, now) = (Repeats::default(), Instant::now());
        let admit = |n: usize| repeats.admit(&WARNING, || 0, || line(&n.to_string()), now);
        let logged = (0..100).filter(|n| admit(*n));
        assert_eq!(logged.count(), TEXTS);
        let (text, held) = (TEXTS.to_string(), 100 - TEXTS as u64);
        let report = RepeatReport { level: Level::WARN, text, held, is_mixed: true };
        assert_eq!(repeats.due(now, true), [report]);
    }

    #[test]
    fn lines_about_requests_are_bounded_by_number() {
        let (repeats, now) = (Repeats::default(), Instant::now());
        let logged = (0..MAX_LINES + 5).filter(|_| repeats.admit(&JOB, || 0, || line("lost"), now));
        assert_eq!(logged.count() as u64, MAX_LINES);
        let reports = repeats.due(now + WINDOW, false);
        assert_eq!((reports.len(), reports[0].held, reports[0].is_mixed), (1, 5, true));
        assert!(!repeats.are_pending());
    }

    #[test]
    fn flood_of_one_kind_hides_no_other_and_each_is_counted() {
        let (repeats, now) = (Repeats::default(), Instant::now());
        let admit = |kind, text| repeats.admit(&JOB, || kind, || line(text), now);
        let logged = |kind, text, lines: u64| (0..lines).filter(|_| admit(kind, text)).count();
        assert_eq!(logged(0, "flood", MAX_LINES + 500) as u64, MAX_LINES);
        assert_eq!(logged(1, "rare", 3), 3);
        assert_eq!(logged(2, "second", MAX_LINES_OF_KIND + 7) as u64, MAX_LINES_OF_KIND);
        // All kinds together are limited, too.
        let others =
            (3..1000).map(|kind| logged(kind, "other", MAX_LINES_OF_KIND) as u64).sum::<u64>();
        assert_eq!(others, (KINDS as u64 - 3) * MAX_LINES_OF_KIND);
        let reports: Vec<_> = repeats
            .due(now + WINDOW, false)
            .into_iter()
            .map(|report| (report.text, report.held))
            .collect();
        let rest = (1000 - 3) * MAX_LINES_OF_KIND - others;
        let expected = [("flood", 500), ("second", 7), ("other", rest)];
        assert_eq!(reports, expected.map(|(text, held)| (text.to_owned(), held)));
        assert!(admit(0, "flood"), "another window");
    }

    #[test]
    fn foreign_lines_and_those_of_programs_pass() {
        for target in ["redcall_worker", "redcall_worker::dispatcher", "redcall_store::link"] {
            assert!(is_ours(target), "{target}");
        }
        for target in ["redcall_workers", "example", "redcall_worker::handler::stderr", ""] {
            assert!(!is_ours(target), "{target}");
        }
    }
}
