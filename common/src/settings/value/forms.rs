//! Forms of values that several sections have.

use std::ops::RangeInclusive;

use config::ValueKind;

use crate::rules::name::is_plain;
use crate::settings::source::entry::Entry;
use crate::settings::source::error::SettingsError;

/// Reads true or false.
pub(crate) fn flag(entry: &Entry) -> Result<bool, SettingsError> {
    match &entry.value {
        ValueKind::Boolean(flag) => Ok(*flag),
        _ => entry.choice(&[("true", true), ("false", false)]),
    }
}

/// The form of the name of a queue, a pool or a service.
pub(crate) const QUEUE: &str = "1 to 64 characters of A-Z, a-z, 0-9, `_`, `.` and `-`";

/// Reads a queue's name, or another text of the same form.
pub(crate) fn queue(entry: &Entry) -> Result<String, SettingsError> {
    entry.name(is_plain, QUEUE)
}

/// Reads a whole number from 1 to `max`.
pub(crate) fn count(entry: &Entry, max: u32) -> Result<usize, SettingsError> {
    // Cannot saturate: `max` fits.
    number(entry, 1..=max).map(|number| usize::try_from(number).unwrap_or(usize::MAX))
}

/// Reads a whole number within `range`.
pub(crate) fn number(entry: &Entry, range: RangeInclusive<u32>) -> Result<u32, SettingsError> {
    let whole = entry.whole((*range.start()).into()..=(*range.end()).into())?;
    // Cannot saturate: the range's end fits.
    Ok(u32::try_from(whole).unwrap_or(*range.end()))
}
