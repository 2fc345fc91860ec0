//! `[log]`: the level directive and the form of a line.
//!
//! The binaries hand the directive to tracing's `EnvFilter`, which takes an unknown single word
//! for a target and logs all of it: a typing slip in `debug` would silence everything else. Hence
//! the stricter look here, before.

use super::entry::Entry;
use super::section::Section;
use super::{LogFormat, LogSettings, SettingsError, closest};

/// What tracing knows.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

const FORMATS: [(&str, LogFormat); 2] = [("text", LogFormat::Text), ("json", LogFormat::Json)];

/// The `[log]` table.
pub(super) fn read(mut section: Section<'_>) -> LogSettings {
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

/// What is wrong with `directive`, if anything, and what to do about it.
fn problem(directive: &str) -> Option<(String, String)> {
    if directive.contains("://") {
        // Which may bear its password.
        let help = format!("use one of {}", LEVELS.join(", "));
        return Some(("must be a level, but is an address".to_owned(), help));
    }
    directive.split(',').find_map(|part| {
        let part = part.trim();
        // Spans in brackets have a grammar of their own, which is tracing's business.
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
        let (told, _) = problem("redis://:secret@host,secret").unwrap();
        assert_eq!(told, "must be a level, but is an address");
    }
}
