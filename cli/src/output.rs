//! Tables for people.

use comfy_table::presets::NOTHING;
use comfy_table::{Cell, CellAlignment, Table};

/// A plain table: `head` in the first row, columns whose name ends in `#` to the right.
pub(crate) fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(head.iter().map(|name| name.trim_end_matches('#').to_uppercase()));
    for row in rows {
        table.add_row(row.into_iter().zip(head).map(|(text, name)| {
            let right = name.ends_with('#');
            let align = if right { CellAlignment::Right } else { CellAlignment::Left };
            Cell::new(text).set_alignment(align)
        }));
    }
    table
}

/// A length of time as people say it, to the second above one, else to the millisecond.
pub(crate) fn time(ms: u64) -> String {
    let ms = if ms < 1000 { ms } else { ms - ms % 1000 };
    humantime::format_duration(std::time::Duration::from_millis(ms)).to_string()
}

/// How long ago a Unix time (ms) was, by this machine's clock.
pub(crate) fn ago(unix_ms: u64) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
    time(now.saturating_sub(unix_ms))
}
