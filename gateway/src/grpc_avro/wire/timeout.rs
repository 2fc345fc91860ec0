//! The header `grpc-timeout`.

use std::time::Duration;

/// Reads 1 to 8 digits and a unit; `None` for other text.
pub(crate) fn timeout(text: &[u8]) -> Option<Duration> {
    let (unit, digits) = text.split_last()?;
    let is_number = (1..=8).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    let number: u64 = str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(number * 3600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_have_up_to_8_digits_and_a_unit() {
        assert_eq!(timeout(b"99999999H"), Some(Duration::from_secs(359_999_996_400)));
        assert_eq!(timeout(b"250m"), Some(Duration::from_millis(250)));
        assert_eq!(timeout(b"1n"), Some(Duration::from_nanos(1)));
        for wrong in [&b""[..], b"S", b"1", b"1s", b"123456789S", b"-1S", b"+1S", b"1 S", b"\xff"] {
            assert_eq!(timeout(wrong), None, "{wrong:?}");
        }
    }
}
