//! `[jobs.X] retries`: the number and delay of further attempts.

use std::collections::HashSet;
use std::time::Duration;

use humantime::format_duration;

use crate::rules::error::Code;
use crate::rules::limits::MAX_RETRY_DELAY;
use crate::settings::source::entry::Entry;
use crate::settings::source::error::SettingsError;
use crate::settings::source::section::Section;
use crate::settings::value::duration::{DAY, SHORTEST};
use crate::settings::value::forms::number;

const BACKOFFS: [(&str, BackoffKind); 2] =
    [("exponential", BackoffKind::Exponential), ("constant", BackoffKind::Constant)];

/// `[jobs.X] retries`: the number and delay of further attempts after a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retries {
    /// The number of further attempts, 0 to 1,000. Default 0.
    pub max: u32,
    /// The growth of the delay. Default [`BackoffKind::Exponential`].
    pub backoff: BackoffKind,
    /// The upper bound of the first delay, 1 ms to 1 day. Default 500 ms. Each delay is drawn
    /// evenly between zero and its bound (full jitter).
    pub base: Duration,
    /// The upper bound of every delay, 1 ms to 30 days. Default 5 minutes.
    pub cap: Duration,
    /// The error codes after which the job is retried. Default `handler_failed`,
    /// `handler_panicked`, `timeout`.
    pub on: Vec<Code>,
}

/// The growth of the delay between attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BackoffKind {
    /// `backoff = "exponential"`: doubles each time.
    #[default]
    Exponential,
    /// `backoff = "constant"`: always `base`.
    Constant,
}

impl Retries {
    /// The codes of failed runs that may be retried.
    pub const CODES: [Code; 6] = [
        Code::HandlerFailed,
        Code::HandlerPanicked,
        Code::Timeout,
        Code::InvalidData,
        Code::TooLarge,
        Code::Internal,
    ];
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            max: 0,
            backoff: BackoffKind::Exponential,
            base: Duration::from_millis(500),
            cap: Duration::from_secs(5 * 60),
            on: vec![Code::HandlerFailed, Code::HandlerPanicked, Code::Timeout],
        }
    }
}

/// Reads the job's `retries`, if it has them.
pub(crate) fn read(job: &mut Section<'_>) -> Option<Retries> {
    let mut section = job.table("retries", "retries = { max = 3 }")?;
    let default = Retries::default();
    let is_named = section.origin("max").is_some();
    let retries = Retries {
        max: section.read("max", |entry| number(entry, 0..=1000)).unwrap_or(default.max),
        backoff: section
            .read("backoff", |entry| entry.choice(&BACKOFFS))
            .unwrap_or(default.backoff),
        base: section.read("base", |entry| entry.duration(SHORTEST..=DAY)).unwrap_or(default.base),
        cap: section
            .read("cap", |entry| entry.duration(SHORTEST..=MAX_RETRY_DELAY))
            .unwrap_or(default.cap),
        on: section.read("on", codes).unwrap_or(default.on),
    };
    if retries.base > retries.cap {
        let (base, cap) = (format_duration(retries.base), format_duration(retries.cap));
        let problem = format!("has a base ({base}) that is longer than its cap ({cap})");
        section.wrong(problem, "shorten base, or lengthen cap");
    }
    // Without `max` the other keys have no effect. An unknown key most likely misspells it.
    if !is_named && !section.has_unread() {
        section.wrong("has no max", "add the number of further attempts, such as max = 3");
    }
    section.finish();
    Some(retries)
}

fn codes(entry: &Entry) -> Result<Vec<Code>, SettingsError> {
    let mut seen = HashSet::new();
    let options = Retries::CODES.map(|code| (code.as_str(), code));
    let items = entry.list("[\"handler_failed\", \"timeout\"]")?;
    let code = |item: &Entry| {
        let code = item.choice(&options)?;
        if seen.insert(code) {
            return Ok(code);
        }
        Err(item.wrong(format!("repeats the code `{code}`"), "name each code once"))
    };
    items.iter().map(code).collect()
}
