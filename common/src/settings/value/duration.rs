//! Durations in the settings: text with a unit, such as `500ms` or `30d`.

use std::ops::RangeInclusive;
use std::time::Duration;

use config::ValueKind;
use humantime::format_duration;

use crate::settings::source::entry::Entry;
use crate::settings::source::error::SettingsError;

/// The shortest duration that differs from zero on the wire, which counts milliseconds.
pub(crate) const SHORTEST: Duration = Duration::from_millis(1);

pub(crate) const HOUR: Duration = Duration::from_secs(60 * 60);

pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest timeout: the runtime's timers end at about two years. A year as humantime counts it,
/// 365.25 days.
pub(crate) const YEAR: Duration = Duration::from_secs(31_557_600);

const EXAMPLES: &str = "\"500ms\", \"30s\", \"10m\" or \"30d\"";

impl Entry {
    /// Reads a duration within `range`.
    pub(crate) fn duration(
        &self,
        range: RangeInclusive<Duration>,
    ) -> Result<Duration, SettingsError> {
        let help = format!("write a number with its unit, such as {EXAMPLES}");
        let ValueKind::String(text) = &self.value else {
            return Err(match self.value {
                ValueKind::I64(_) | ValueKind::U64(_) | ValueKind::Float(_) => {
                    self.wrong(format!("needs a unit, but is {}", self.shown()), help)
                }
                _ => self.not_a("a duration", help),
            });
        };
        let text = text.trim();
        if text.is_empty() {
            return Err(self.not_a("a duration", help));
        }
        if text.parse::<f64>().is_ok() {
            return Err(self.wrong(format!("needs a unit, but is {}", self.shown()), help));
        }
        let length = humantime::parse_duration(text).map_err(|cause| {
            let problem = format!("must be a duration, but is {}", self.shown());
            self.wrong_because(problem, help, cause)
        })?;
        if range.contains(&length) {
            return Ok(length);
        }
        let (low, high) = (format_duration(*range.start()), format_duration(*range.end()));
        let problem = format!("must be from {low} to {high}, but is {}", format_duration(length));
        Err(self.wrong(problem, format!("write a duration from {low} to {high}")))
    }
}
