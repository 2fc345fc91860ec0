//! Raw JSON: members of objects without interpretation of their values.

use std::fmt;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Returns the members `names` of the object `text`, as JSON; `None` if it is not one object. Of
/// equal names the last counts, as in Python. Nothing else of the object is kept.
pub(super) fn members<'a, const N: usize>(
    text: &'a str,
    names: [&str; N],
) -> Option<[Option<&'a RawValue>; N]> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let found = Members(names).deserialize(&mut reader).ok()?;
    reader.end().ok()?;
    Some(found)
}

struct Members<'n, const N: usize>([&'n str; N]);

impl<'de, const N: usize> DeserializeSeed<'de> for Members<'_, N> {
    type Value = [Option<&'de RawValue>; N];

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de, const N: usize> Visitor<'de> for Members<'_, N> {
    type Value = [Option<&'de RawValue>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = [None; N];
        while let Some(name) = map.next_key::<String>()? {
            match self.0.iter().position(|wanted| *wanted == name) {
                Some(place) => found[place] = Some(map.next_value()?),
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }
}

/// Returns the digits of a whole number of any size, as they are written.
pub(super) fn whole(value: &RawValue) -> Option<&str> {
    is_whole(value.get()).then(|| value.get())
}

/// Returns `true` if `text` is a whole number in JSON.
pub(super) fn is_whole(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let has_zero_in_front = digits.len() > 1 && digits.starts_with('0');
    !digits.is_empty() && !has_zero_in_front && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns `true` if a text in `json` has a half surrogate, half of a character: `"\ud800"`.
pub(super) fn has_half_surrogate(json: &str) -> bool {
    let bytes = json.as_bytes();
    let unit = |at: usize| {
        let digits = json.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok()
    };
    let mut at = 0;
    while let Some(found) = bytes.get(at..).and_then(|rest| rest.iter().position(|b| *b == b'\\')) {
        at += found;
        at += match unit(at) {
            Some(0xd800..=0xdbff) => match unit(at + 6) {
                Some(0xdc00..=0xdfff) => 12,
                _ => return true,
            },
            Some(0xdc00..=0xdfff) => return true,
            Some(_) => 6,
            None => 2,
        };
    }
    false
}

/// Returns `text` as JSON.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Returns a time in ms as JSON, in seconds: `1682467200.0`.
pub(super) fn seconds(ms: u64) -> String {
    let text = format!("{}.{:03}", ms / 1000, ms % 1000);
    let short = text.trim_end_matches('0');
    if short.ends_with('.') { format!("{short}0") } else { short.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_raw_and_the_last_of_equal_names_counts() {
        let text = r#"{"a": 1, "b": {"c": 1.50, "c": 2}, "a": 100000000000000000000000, "x": []}"#;
        let [a, b, d] = members(text, ["a", "b", "d"]).unwrap();
        assert_eq!(a.and_then(whole), Some("100000000000000000000000"));
        assert_eq!((b.unwrap().get(), d.is_none()), (r#"{"c": 1.50, "c": 2}"#, true));
        for wrong in ["", "[]", "1", "{\"a\":}", "{\"a\":1", "{} {}", "{\"a\": NaN}"] {
            assert!(members(wrong, ["a"]).is_none(), "{wrong}");
        }
        // Without recursion: the depth is checked by those who use the value.
        let deep = format!("{{\"x\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(members(&deep, ["x"]).is_some_and(|[x]| x.is_some()));
    }

    #[test]
    fn whole_numbers_are_digits_alone() {
        for (text, is) in [("0", true), ("-12", true), ("1.0", false), ("1e2", false), ("", false)]
        {
            assert_eq!(is_whole(text), is, "{text}");
        }
        assert!(!is_whole("007") && !is_whole("-") && !is_whole("\"1\""));
    }

    #[test]
    fn half_surrogates_are_found() {
        for text in [r#""\ud800""#, r#""\uDC00x""#, r#""\ud83d\u0041""#, r#"["\ud83d"]"#] {
            assert!(has_half_surrogate(text), "{text}");
        }
        for text in [r#""\ud83d\ude00""#, r#""\\ud800""#, r#""\u00e4😀""#, "\"\\", "{}"] {
            assert!(!has_half_surrogate(text), "{text}");
        }
    }

    #[test]
    fn times_are_seconds_with_a_fraction() {
        assert_eq!(seconds(1_682_467_200_000), "1682467200.0");
        assert_eq!((seconds(1_050), seconds(7)), ("1.05".into(), "0.007".into()));
    }
}
