//! Text of others in a line of the log: it neither ends the line nor steers a terminal.

use std::fmt::{self, Write};

/// Returns `true` for a character that ends a line, steers a terminal, or changes the direction of
/// the text around it.
pub(super) fn is_unsafe(character: char) -> bool {
    let is_mark = matches!(
        character,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    is_mark || (character.is_control() && character != '\t')
}

/// Writes what is written to it, with unsafe characters as escapes.
pub(super) struct Plain<W>(pub(super) W);

impl<W: Write> Write for Plain<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(is_unsafe) {
            let (safe, tail) = rest.split_at(at);
            self.0.write_str(safe)?;
            let mut tail = tail.chars();
            if let Some(character) = tail.next() {
                write!(self.0, "{}", character.escape_default())?;
            }
            rest = tail.as_str();
        }
        self.0.write_str(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_characters_are_written_as_escapes() {
        let mut out = String::new();
        write!(Plain(&mut out), "a\tb\n\u{1b}[2J\r\u{9b}\u{202e}x\u{2028}ü").unwrap();
        assert_eq!(out, "a\tb\\n\\u{1b}[2J\\r\\u{9b}\\u{202e}x\\u{2028}ü");
    }
}
