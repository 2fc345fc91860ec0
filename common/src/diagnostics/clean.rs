//! The one cleaner for text that reaches a terminal.
//!
//! Names, messages, answers and events come from other programs. A control character in them moves
//! the cursor, clears the screen or answers a prompt; a direction mark reorders a word. [`clean`]
//! escapes them for display (`\u{1b}`), [`clean_json`] as JSON escapes, so that the value does not
//! change. [`crate::output`] applies the latter to all output.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Returns `true` if `c` can control a terminal, or hide or reorder text. Not for line feeds and
/// tabs.
#[must_use]
pub fn steers(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        // C0, DEL and C1.
        c if c.is_control() => true,
        // Marks and overrides of direction; separators of lines and paragraphs.
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' => true,
        // Isolates of direction, further invisible ones, annotations, and tags.
        '\u{2066}'..='\u{206f}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}' => true,
        _ => false,
    }
}

/// Returns `text` for display, with control characters escaped. Copies only if there are any.
#[must_use]
pub fn clean(text: &str) -> Cow<'_, str> {
    replaced(text, |c, out| out.extend(c.escape_default()))
}

/// Does the same for text that is, or may be, JSON: each escape means the same character, and a
/// carriage return, which JSON has only between its values, becomes a space.
#[must_use]
pub fn clean_json(text: &str) -> Cow<'_, str> {
    replaced(text, |c, out| match c {
        '\r' => out.push(' '),
        c => {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    })
}

fn replaced(text: &str, write: impl Fn(char, &mut String)) -> Cow<'_, str> {
    let Some(first) = text.find(steers) else { return Cow::Borrowed(text) };
    let mut out = String::with_capacity(text.len() + 16);
    out.push_str(&text[..first]);
    for c in text[first..].chars() {
        match steers(c) {
            true => write(c, &mut out),
            false => out.push(c),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVIL: &str = "a\u{1b}[2J\u{9b}\u{202e}\u{2067}\u{61c}\u{7f}\u{2028}\u{e0041}z";

    #[test]
    fn steering_characters_are_written_out() {
        let shown = "a\\u{1b}[2J\\u{9b}\\u{202e}\\u{2067}\\u{61c}\\u{7f}\\u{2028}\\u{e0041}z";
        assert_eq!(clean(EVIL), shown);
        assert_eq!(clean("tab\tline\n\r\n"), "tab\tline\n\\r\n");
        // Joiners are parts of words and of emoji.
        let words = "größe \u{1f469}\u{200d}\u{1f680} \u{645}\u{6cc}\u{200c}\u{62e}";
        assert!(matches!(clean(words), Cow::Borrowed(text) if text == words));
        assert!(matches!(clean_json(words), Cow::Borrowed(text) if text == words));
    }

    #[test]
    fn json_keeps_its_value() {
        let json = serde_json::json!({ EVIL: [EVIL, 1.5] });
        let raw = format!("{{\r\n\"{}\":\t[\"{}\", 1.5]}}", &EVIL[5..], &EVIL[5..]);
        for text in [json.to_string(), raw] {
            let cleaned = clean_json(&text);
            assert!(!cleaned.contains(steers), "{cleaned}");
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(serde_json::from_str::<serde_json::Value>(&cleaned).unwrap(), value);
        }
    }
}
