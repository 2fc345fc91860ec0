//! Tables and other text output.

use comfy_table::presets::NOTHING;
use comfy_table::{Cell, CellAlignment, Table};
use redcall_common::clean::clean;

/// Builds a table: `head` in the first row; columns whose name ends in `#` are right-aligned. Each
/// cell is one line and may hold untrusted text.
pub(crate) fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(head.iter().map(|name| name.trim_end_matches('#').to_uppercase()));
    for row in rows {
        table.add_row(row.into_iter().zip(head).map(|(text, name)| {
            let right = name.ends_with('#');
            let align = if right { CellAlignment::Right } else { CellAlignment::Left };
            Cell::new(line(&text, usize::MAX)).set_alignment(align)
        }));
    }
    table
}

/// Formats a duration: to the second from 1 s on, else to the millisecond.
pub(crate) fn time(ms: u64) -> String {
    let ms = if ms < 1000 { ms } else { ms - ms % 1000 };
    humantime::format_duration(std::time::Duration::from_millis(ms)).to_string()
}

/// Formats a time in UTC to the second; `ms` since the epoch.
pub(crate) fn moment(ms: u64) -> String {
    let since = std::time::Duration::from_millis(ms);
    let moment = std::time::SystemTime::UNIX_EPOCH.checked_add(since);
    // A year beyond 9999 cannot be formatted.
    let moment = moment.filter(|_| ms < 253_402_300_800_000);
    moment.map_or_else(|| "-".to_owned(), |at| humantime::format_rfc3339_seconds(at).to_string())
}

/// Formats untrusted text on one line of at most `max` characters, without control characters.
pub(crate) fn line(text: &str, max: usize) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let text = clean(&words.join(" ")).into_owned();
    if text.chars().count() <= max {
        return text;
    }
    let mut short: String = text.chars().take(max.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// Puts JSON on one line: line breaks outside of strings become spaces.
pub(crate) fn one_line(json: &str) -> String {
    json.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn untrusted_line_is_shortened_and_has_no_control_characters() {
        assert_eq!(line(" two\n  lines\x07 ", 60), "two lines\\u{7}");
        assert_eq!((line("größer", 6), line("größer", 5)), ("größer".into(), "größ…".into()));
    }

    #[test]
    fn moments_are_formatted_in_utc() {
        assert_eq!(moment(1_763_683_200_999), "2025-11-21T00:00:00Z");
        assert_eq!(moment(u64::MAX), "-");
    }
}
