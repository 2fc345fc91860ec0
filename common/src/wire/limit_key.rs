//! The field of a request's data by which a limit counts, as `partitions.lua` reads it: the first
//! one, within the first 64 KiB.

use crate::wire::decode::members;

/// The part of a request that the script reads, bytes.
const SCRIPT_READS: usize = 65_536;

/// Returns the reason why the script may count `raw`, a whole request, under another key than the
/// value of `field` in its data; `None` if both are the same. Such a request must not run: it would
/// use the limit of another key, or none.
#[must_use]
pub fn misread(raw: &[u8], field: &str) -> Option<String> {
    let envelope = members(raw).ok()?;
    let (_, data) = envelope.into_iter().find(|(name, _)| name == "data")?;
    let data = data.get();
    if !data.starts_with('{') {
        return None;
    }
    let Ok(found) = members(data.as_bytes()) else {
        return Some("a name in `data` is not valid Unicode".to_owned());
    };
    let mut found = found.into_iter().filter(|(name, _)| name == field);
    let (_, value) = found.next()?;
    if found.next().is_some() {
        return Some(format!("`{field}`, by which its limit counts, occurs twice in `data`"));
    }
    let value = value.get();
    let is_key = !value.starts_with(['{', '[', 'n']);
    // Both are slices of `raw`.
    let end = value.as_ptr() as usize + value.len() - raw.as_ptr() as usize;
    (is_key && end >= SCRIPT_READS).then(|| {
        format!("`{field}`, by which its limit counts, has to end within 64 KiB of the request")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(data: &str) -> Option<String> {
        misread(format!(r#"{{"id":"a","name":"add","data":{data}}}"#).as_bytes(), "customer")
    }

    #[test]
    fn field_read_alike_by_both_passes() {
        for data in ["7", "[]", "{}", r#"{"customer":"a"}"#, r#"{"customer":{"a":1},"b":1,"b":2}"#]
        {
            assert_eq!(of(data), None, "{data}");
        }
        let long = format!(r#"{{"customer":"a","text":"{}"}}"#, "x".repeat(SCRIPT_READS));
        assert_eq!(of(&long), None);
    }

    #[test]
    fn field_that_stands_twice_or_far_behind_is_refused() {
        assert!(of(r#"{"customer":"a","customer":"b"}"#).is_some());
        assert!(of(r#"{"customer":"a","\u0063ustomer":"b"}"#).is_some());
        let far = format!(r#"{{"text":"{}","customer":"a"}}"#, "x".repeat(SCRIPT_READS));
        assert!(of(&far).is_some());
        let long = format!(r#"{{"customer":"{}"}}"#, "x".repeat(SCRIPT_READS));
        assert!(of(&long).is_some());
    }
}
