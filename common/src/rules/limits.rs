//! The maximum size and depth of everything on the wire, with the protocol's defaults.
//!
//! Read by both ends: a client refuses oversized data before it is queued, a worker answers
//! `too_large` if the data reached the queue by another way.

use std::time::Duration;

/// Upper limits, in bytes unless stated otherwise. `[limits]` in the settings file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The maximum size of a request envelope, 1 KiB to 512 MiB. Default 2 MiB.
    pub request: usize,
    /// The maximum size of the `data` of an answer, 1 KiB to 512 MiB. Default 8 MiB.
    pub answer: usize,
    /// The maximum size of a progress or chunk frame, 1 KiB to 512 MiB. Default 1 MiB.
    pub frame: usize,
    /// The maximum nesting of the JSON of a request, an answer or a frame, with its envelope, 1 to
    /// 128 levels. Default 64.
    pub depth: usize,
    /// The maximum number of requests in one queue, 1 to 4,294,967,295; 0 for no limit. Default
    /// 1,000,000.
    pub max_length: u64,
    /// The maximum bytes of stored answers of one queue, 1 MiB to 1,024 GiB; 0 for no limit. Above
    /// it, new requests that want an answer are refused. Default 1 GiB.
    pub answers_max_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request: 2 << 20,
            answer: 8 << 20,
            frame: 1 << 20,
            depth: 64,
            max_length: 1_000_000,
            answers_max_bytes: 1 << 30,
        }
    }
}

/// The maximum bytes of requests or answers in one command, unless a single one is larger: the
/// command must complete well within the response timeout.
pub const COMMAND_BYTES: usize = 8 << 20;

/// The longest time that a deferred answer may take.
pub const MAX_DEFERRAL: Duration = Duration::from_secs(7 * 24 * 3600);

/// The longest delay before another attempt.
pub const MAX_RETRY_DELAY: Duration = Duration::from_secs(30 * 24 * 3600);

/// The range of the TTL of an answer or a status, ms.
pub const TTL_RANGE_MS: std::ops::RangeInclusive<u64> = 1_000..=7 * 24 * 3_600_000;

/// The units of sizes, the largest first.
pub(crate) const UNITS: [(&str, u64); 4] =
    [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Formats `bytes` in the largest unit that divides it, such as `256MiB`.
#[must_use]
pub fn shown(bytes: u64) -> String {
    let fits = |(_, factor): &(&str, u64)| bytes >= *factor && bytes.is_multiple_of(*factor);
    let (name, factor) = UNITS.into_iter().find(fits).unwrap_or(("B", 1));
    format!("{}{name}", bytes / factor)
}

/// Returns how many elements of these `sizes` (bytes) fit into one command: at least the first.
#[must_use]
pub fn batch_len(sizes: impl Iterator<Item = usize>) -> usize {
    let mut bytes = 0;
    let fits = |size: &usize| {
        let is_first = bytes == 0;
        bytes += size;
        is_first || bytes <= COMMAND_BYTES
    };
    sizes.take_while(fits).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batch_is_bounded_but_never_empty() {
        assert_eq!(batch_len([COMMAND_BYTES - 1, 1, 1].into_iter()), 2);
        assert_eq!(batch_len([2 * COMMAND_BYTES, 1].into_iter()), 1);
        assert_eq!(batch_len(std::iter::empty()), 0);
    }
}
