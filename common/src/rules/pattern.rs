//! Patterns of names: a name, or the start of one with `*` after it.

/// Returns `true` if `pattern` matches `name`: it equals the name, or ends with `*` after a prefix
/// of the name.
#[must_use]
pub fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => pattern == name,
    }
}

/// Returns `true` if `pattern` is valid: a `*` only at its end.
#[must_use]
pub fn is_pattern(pattern: &str) -> bool {
    let start = pattern.strip_suffix('*').unwrap_or(pattern);
    let form = |c: char| c != '*' && !c.is_control() && !c.is_whitespace();
    !pattern.is_empty() && start.chars().all(form)
}
