//! [`unhex()`].

/// Returns the bytes of hexadecimal digits.
///
/// # Panics
///
/// If the text is anything else.
#[must_use]
pub fn unhex(text: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}
