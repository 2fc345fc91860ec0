//! Foreign text in a log line: it neither ends the line nor controls a terminal.

use std::fmt::{self, Write};

use redcall_common::clean::clean;

/// Escapes line feeds and control characters.
pub(super) struct Plain<W>(pub(super) W);

impl<W: Write> Write for Plain<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for (number, line) in text.split('\n').enumerate() {
            if number > 0 {
                self.0.write_str("\\n")?;
            }
            self.0.write_str(&clean(line))?;
        }
        Ok(())
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
