//! How deep JSON nests.

/// Returns `true` if `data` fits into a frame that nests at most `depth` levels: the frame is one
/// of them.
#[must_use]
pub fn data_fits(data: &[u8], depth: usize) -> bool {
    !deeper_than(data, depth.saturating_sub(1))
}

/// Does the same for the data of an error, whose object is one more level.
#[must_use]
pub fn error_data_fits(data: &[u8], depth: usize) -> bool {
    !deeper_than(data, depth.saturating_sub(2))
}

/// Returns `true` if `json` nests deeper than `limit` arrays and objects. Brackets in strings do
/// not count.
#[must_use]
pub fn deeper_than(json: &[u8], limit: usize) -> bool {
    // Fast path: a short element, and one with fewer brackets in all than the limit.
    if json.len() <= limit || opening_brackets(json) <= limit {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in json {
        match (in_string, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_string = !in_string,
            (false, b'{' | b'[') => {
                depth += 1;
                if depth > limit {
                    return true;
                }
            }
            (false, b'}' | b']') => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// Returns the number of opening brackets, also those in strings. Counts in parts whose number fits
/// into a byte: then compilers compare many bytes at once.
fn opening_brackets(json: &[u8]) -> usize {
    // The brackets `[` and `{` differ in one bit.
    let count = |part: &[u8]| part.iter().map(|byte| u8::from((byte | 0x20) == b'{')).sum::<u8>();
    json.chunks(255).map(|part| usize::from(count(part))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_nested_brackets_outside_of_strings_count() {
        for depth in [1, 5, 254, 255, 256, 1000] {
            let nested = "[{".repeat(depth / 2) + &"[".repeat(depth % 2);
            assert!(deeper_than(nested.as_bytes(), depth - 1), "{depth}");
            assert!(!deeper_than(nested.as_bytes(), depth), "{depth}");
            assert!(!deeper_than(format!(r#"["{nested}"]"#).as_bytes(), 1), "{depth}");
            assert!(!deeper_than("[],{}".repeat(depth).as_bytes(), 1), "{depth}");
        }
    }

    #[test]
    fn opening_brackets_are_counted() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(opening_brackets(&bytes), 2);
        assert_eq!(opening_brackets(&bytes.repeat(5)), 10);
        assert_eq!(opening_brackets("[".repeat(600).as_bytes()), 600);
    }
}
