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
    if json.len() <= limit
        || json.iter().filter(|byte| matches!(byte, b'{' | b'[')).count() <= limit
    {
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
