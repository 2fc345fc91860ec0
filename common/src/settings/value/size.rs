//! Sizes in the settings: bytes as a number, or text with a binary unit, such as `2MiB`.

use std::ops::RangeInclusive;

use config::ValueKind;

use crate::rules::limits::{UNITS, shown};
use crate::settings::source::entry::Entry;
use crate::settings::source::error::SettingsError;

/// The allowed limits: a smaller one would keep a single large entry.
const BOUNDS: RangeInclusive<u64> = 1 << 20..=1 << 40;

/// The longest list that Redis can hold.
pub(crate) const LONGEST_LIST: u64 = u32::MAX as u64;

const HELP: &str = "write bytes as a whole number, or text such as \"512KiB\" or \"2MiB\" \
                    (units: B, KiB, MiB, GiB)";

impl Entry {
    /// Reads a number of bytes within `range`.
    pub(crate) fn size(&self, range: RangeInclusive<u64>) -> Result<usize, SettingsError> {
        let in_range = u64::try_from(self.bytes()?).ok().filter(|bytes| range.contains(bytes));
        in_range.and_then(|bytes| usize::try_from(bytes).ok()).ok_or_else(|| {
            let (low, high) = (shown(*range.start()), shown(*range.end()));
            self.wrong(format!("must be from {low} to {high}, but is {}", self.shown()), HELP)
        })
    }

    /// Reads a limit in bytes: 0 for none.
    pub(crate) fn bound(&self) -> Result<u64, SettingsError> {
        let in_range = u64::try_from(self.bytes()?).ok();
        in_range.filter(|bytes| *bytes == 0 || BOUNDS.contains(bytes)).ok_or_else(|| {
            let (low, high) = (shown(*BOUNDS.start()), shown(*BOUNDS.end()));
            let shown = self.shown();
            self.wrong(
                format!("must be 0 (no limit) or from {low} to {high}, but is {shown}"),
                HELP,
            )
        })
    }

    fn bytes(&self) -> Result<i128, SettingsError> {
        match (self.integer(), &self.value) {
            (Some(number), _) => Ok(number),
            (None, ValueKind::String(text)) => {
                Ok(parse(text).ok_or_else(|| self.not_a("a size", HELP))?.into())
            }
            (None, _) => Err(self.not_a("a size", HELP)),
        }
    }
}

/// Parses `512KiB`, `512 KiB` or `512B` as bytes. The unit is required: a bare number in quotes is
/// ambiguous.
fn parse(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = UNITS.into_iter().find(|(name, _)| *name == unit.trim())?;
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_unit() {
        assert_eq!(parse("2MiB"), Some(2 << 20));
        assert_eq!(parse(" 512 KiB "), Some(512 << 10));
        assert_eq!(parse("7B"), Some(7));
        for bad in ["", "7", "MiB", "2MB", "-1B", "1.5MiB", "99999999999GiB"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes_are_shown_in_the_largest_whole_unit() {
        assert_eq!([shown(0), shown(1023), shown(1024)], ["0B", "1023B", "1KiB"]);
        assert_eq!(shown(512 << 20), "512MiB");
    }
}
