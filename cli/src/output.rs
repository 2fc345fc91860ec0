//! Tables for people.

use comfy_table::presets::NOTHING;
use comfy_table::{Cell, CellAlignment, Table};
use redcall_common::clean::clean;

/// A plain table: `head` in the first row, columns whose name ends in `#` to the right. Each cell
/// is one line, and may be text of others.
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

/// A length of time as people say it, to the second above one, else to the millisecond.
pub(crate) fn time(ms: u64) -> String {
    let ms = if ms < 1000 { ms } else { ms - ms % 1000 };
    humantime::format_duration(std::time::Duration::from_millis(ms)).to_string()
}

/// A moment, in UTC to the second; `ms` since the epoch.
pub(crate) fn moment(ms: u64) -> String {
    let since = std::time::Duration::from_millis(ms);
    let moment = std::time::SystemTime::UNIX_EPOCH.checked_add(since);
    // What lies beyond the year 9999 cannot be written.
    let moment = moment.filter(|_| ms < 253_402_300_800_000);
    moment.map_or_else(|| "-".to_owned(), |at| humantime::format_rfc3339_seconds(at).to_string())
}

/// Text of others on one line, of at most `most` characters, safe to be printed.
pub(crate) fn line(text: &str, most: usize) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let text = clean(&words.join(" ")).into_owned();
    if text.chars().count() <= most {
        return text;
    }
    let mut short: String = text.chars().take(most.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// JSON on one line: outside of its texts, the end of a line is a space.
pub(crate) fn one_line(json: &str) -> String {
    json.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_of_others_is_short_and_cannot_steer_the_terminal() {
        assert_eq!(line(" two\n  lines\x07 ", 60), "two lines\\u{7}");
        assert_eq!((line("größer", 6), line("größer", 5)), ("größer".into(), "größ…".into()));
    }

    #[test]
    fn moments_are_told_in_utc() {
        assert_eq!(moment(1_763_683_200_999), "2025-11-21T00:00:00Z");
        assert_eq!(moment(u64::MAX), "-");
    }
}
