//! Sums of JSON numbers in decimal notation: exact for integers of any size.

use std::cmp::Ordering;

use serde::de::{Error, Unexpected};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// A number as written.
pub(super) struct Term(Box<RawValue>);

impl Term {
    pub(super) fn text(&self) -> &str {
        self.0.get()
    }
}

impl<'de> Deserialize<'de> for Term {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(from)?;
        let text = raw.get();
        let found = match text.as_bytes().first() {
            Some(b'0'..=b'9' | b'-') => return Ok(Self(raw)),
            Some(b'"') => {
                let text: String = serde_json::from_str(text).unwrap_or_default();
                return Err(D::Error::invalid_type(Unexpected::Str(&text), &"a JSON number"));
            }
            Some(b'{') => Unexpected::Map,
            Some(b'[') => Unexpected::Seq,
            Some(b'n') => Unexpected::Unit,
            _ => Unexpected::Bool(text == "true"),
        };
        Err(D::Error::invalid_type(found, &"a JSON number"))
    }
}

/// An integer: its sign, and its digits without leading zeros.
struct Whole<'a> {
    is_negative: bool,
    digits: &'a [u8],
}

/// Returns the sum of two JSON numbers; `None` if it exceeds the range of fractions.
pub(super) fn of(a: &str, b: &str) -> Option<String> {
    // The common case, several times as fast.
    if let (Ok(a), Ok(b)) = (a.parse::<i64>(), b.parse::<i64>())
        && let Some(sum) = a.checked_add(b)
    {
        return Some(sum.to_string());
    }
    match (whole(a), whole(b)) {
        (Some(a), Some(b)) => Some(exact(&a, &b)),
        _ => {
            let sum = a.parse::<f64>().ok()? + b.parse::<f64>().ok()?;
            serde_json::Number::from_f64(sum).map(|sum| sum.to_string())
        }
    }
}

fn whole(text: &str) -> Option<Whole<'_>> {
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let is_whole = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    is_whole.then(|| Whole { is_negative, digits: digits.trim_start_matches('0').as_bytes() })
}

fn exact(a: &Whole<'_>, b: &Whole<'_>) -> String {
    let (is_negative, digits) = match a.is_negative == b.is_negative {
        true => (a.is_negative, digits(a.digits, b.digits, i8::wrapping_add)),
        false => {
            let larger = a.digits.len().cmp(&b.digits.len()).then_with(|| a.digits.cmp(b.digits));
            let (large, small) = if larger == Ordering::Less { (b, a) } else { (a, b) };
            (large.is_negative, digits(large.digits, small.digits, i8::wrapping_sub))
        }
    };
    let digits = digits.trim_start_matches('0');
    match digits {
        "" => "0".to_owned(),
        digits if is_negative => format!("-{digits}"),
        digits => digits.to_owned(),
    }
}

/// Combines digits from the right; in a subtraction the first number is not the smaller one.
fn digits(a: &[u8], b: &[u8], combine: fn(i8, i8) -> i8) -> String {
    let digit = |number: &[u8], place: usize| {
        let at = number.len().checked_sub(place + 1);
        // A digit fits.
        at.map_or(0, |at| i8::try_from(number[at] - b'0').unwrap_or_default())
    };
    let (mut out, mut carry) = (Vec::with_capacity(a.len().max(b.len()) + 1), 0);
    for place in 0..=a.len().max(b.len()) {
        let sum = combine(digit(a, place), digit(b, place)) + carry;
        carry = sum.div_euclid(10);
        out.push(char::from(b'0' + sum.rem_euclid(10).unsigned_abs()));
    }
    out.iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_added_exactly() {
        for a in -1200_i64..=1200 {
            for b in [-1201, -1000, -999, -10, -1, 0, 1, 9, 10, 11, 99, 100, 999, 1000, 1201] {
                let (a_text, b_text, sum) = (a.to_string(), b.to_string(), (a + b).to_string());
                assert_eq!(of(&a_text, &b_text).as_deref(), Some(&*sum), "{a} + {b}");
                let (Some(a), Some(b)) = (whole(&a_text), whole(&b_text)) else { panic!() };
                assert_eq!(exact(&a, &b), sum, "{a_text} + {b_text}");
            }
        }
        for (a, b) in [(i64::MAX, 1), (i64::MIN, -1), (i64::MAX, i64::MIN)] {
            let sum = i128::from(a) + i128::from(b);
            assert_eq!(of(&a.to_string(), &b.to_string()), Some(sum.to_string()));
        }
        let large = i128::MAX.to_string();
        assert_eq!(of(&large, "-1"), Some((i128::MAX - 1).to_string()));
        assert_eq!(of("-0", "0").as_deref(), Some("0"));
    }

    #[test]
    fn fractions_are_added_as_such() {
        assert_eq!(of("1.5", "2").as_deref(), Some("3.5"));
        assert_eq!(of("1e3", "1").as_deref(), Some("1001.0"));
        assert_eq!(of("1e308", "1e308"), None);
    }
}
