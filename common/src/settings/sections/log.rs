//! `[log]`: the level directive and the form of a line.
//!
//! The binaries pass the directive to tracing's `EnvFilter`, which treats an unknown single word as
//! a target and logs all of it: a typing slip in `debug` would silence everything else. Hence this
//! stricter check.

use crate::settings::source::closest;
use crate::settings::source::entry::Entry;
use crate::settings::source::error::SettingsError;
use crate::settings::source::section::Section;

/// `[log]`: the level and format of the log on stderr.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// Directive of tracing's `EnvFilter`, such as `info` or `info,redcall_worker=debug`. Default
    /// `info`.
    pub level: String,
    /// The format of a line. Default [`LogFormat::Text`].
    pub format: LogFormat,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Text }
    }
}

/// The format of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// `format = "text"`: for reading.
    #[default]
    Text,
    /// `format = "json"`: one object per line.
    Json,
}

/// The levels of tracing.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

const FORMATS: [(&str, LogFormat); 2] = [("text", LogFormat::Text), ("json", LogFormat::Json)];

/// Reads the `[log]` table.
pub(crate) fn read(mut section: Section<'_>) -> LogSettings {
    let default = LogSettings::default();
    let settings = LogSettings {
        level: section.read("level", directive).unwrap_or(default.level),
        format: section.read("format", |entry| entry.choice(&FORMATS)).unwrap_or(default.format),
    };
    section.finish();
    settings
}

fn directive(entry: &Entry) -> Result<String, SettingsError> {
    let text = entry.text("write a level such as info")?;
    match problem(text) {
        None => Ok(text.to_owned()),
        Some((problem, help)) => Err(entry.wrong(problem, help)),
    }
}

/// Returns the problem of `directive` with its fix, if it has one.
fn problem(directive: &str) -> Option<(String, String)> {
    if directive.contains("://") {
        // The address may contain its password.
        let help = format!("use one of {}", LEVELS.join(", "));
        return Some(("must be a level, but is an address".to_owned(), help));
    }
    directive.split(',').find_map(|part| {
        let part = part.trim();
        // Spans in brackets have a grammar of their own, which tracing checks.
        if part.contains(['[', ']', '{', '}']) {
            return None;
        }
        let level = part.rsplit_once('=').map_or(part, |(_, level)| level);
        let known = LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level));
        (!known).then(|| {
            let help = format!(
                "{}use one of {}, or a list such as info,redcall_worker=debug",
                closest::hint(level, LEVELS),
                LEVELS.join(", "),
            );
            (format!("has no level {level:?}"), help)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_are_judged_part_by_part() {
        for good in ["info", "WARN", "off", "info,redcall_worker=debug", "a[span{x=1}]=trace,info"]
        {
            assert_eq!(problem(good), None, "{good}");
        }
        for bad in ["", "inof", "info,", "redcall_worker=loud"] {
            assert!(problem(bad).is_some(), "{bad}");
        }
        let (message, _) = problem("redis://:secret@host,secret").unwrap();
        assert_eq!(message, "must be a level, but is an address");
    }
}
