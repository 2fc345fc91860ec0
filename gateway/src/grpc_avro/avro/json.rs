//! A cursor over valid JSON text: the parts of a value as slices of its text.
//!
//! Payloads are never parsed into values: numbers keep their digits, members keep their order.
//! Nesting is counted, not recursed into. The callers pass text that serde_json has checked; other
//! text gives wrong slices, never a panic.

use std::borrow::Cow;
use std::ops::Range;

/// The kind of a JSON value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    Boolean,
    Number,
    Text,
    Array,
    Object,
}

impl Kind {
    /// Returns the kind as messages name it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "a boolean",
            Self::Number => "a number",
            Self::Text => "a text",
            Self::Array => "an array",
            Self::Object => "an object",
        }
    }
}

/// Returns the kind of a value, by its first character.
pub(crate) fn kind(json: &str) -> Kind {
    match json.as_bytes().first() {
        Some(b'n') | None => Kind::Null,
        Some(b't' | b'f') => Kind::Boolean,
        Some(b'"') => Kind::Text,
        Some(b'[') => Kind::Array,
        Some(b'{') => Kind::Object,
        Some(_) => Kind::Number,
    }
}

/// Returns the characters of a JSON text; `None` if it has half of a surrogate pair.
pub(crate) fn text(json: &str) -> Option<Cow<'_, str>> {
    let inner = json.get(1..json.len().checked_sub(1)?)?;
    // A text without escapes is valid as it stands.
    if !inner.contains('\\') {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str(json).ok().map(Cow::Owned)
}

/// Appends a text as JSON.
pub(crate) fn push_text(out: &mut Vec<u8>, text: &str) {
    // Writing a text into memory cannot fail.
    let _ = serde_json::to_writer(out, text);
}

/// Returns a text as JSON.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len() + 2);
    push_text(&mut out, text);
    String::from_utf8(out).unwrap_or_default()
}

/// Returns the elements of an array.
pub(crate) fn elements(json: &str) -> Elements<'_> {
    Elements { json, at: 1 }
}

/// The elements of an array, in order.
pub(crate) struct Elements<'a> {
    json: &'a str,
    at: usize,
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let at = between(self.json, self.at);
        let end = end(self.json, at);
        self.at = end;
        self.json.get(at..end).filter(|element| !element.is_empty())
    }
}

/// Returns the members of an object.
pub(crate) fn members(json: &str) -> Members<'_> {
    Members { json, at: 1 }
}

/// The members of an object, in order: the name as JSON text, and where the value lies.
pub(crate) struct Members<'a> {
    json: &'a str,
    at: usize,
}

impl<'a> Iterator for Members<'a> {
    type Item = (&'a str, Range<usize>);

    fn next(&mut self) -> Option<Self::Item> {
        let at = between(self.json, self.at);
        let name = at..end(self.json, at);
        let at = between(self.json, name.end);
        let value = at..end(self.json, at);
        self.at = value.end;
        let name = self.json.get(name).filter(|name| name.starts_with('"'))?;
        (!value.is_empty()).then_some((name, value))
    }
}

/// Returns the value of a member; the last one if several have this name.
pub(crate) fn member<'a>(json: &'a str, name: &str) -> Option<&'a str> {
    json.get(place(json, name)?)
}

/// Returns the value at the end of a path of members.
pub(crate) fn at<'a>(json: &'a str, path: &[String]) -> Option<&'a str> {
    path.iter().try_fold(json, |json, name| member(json, name))
}

/// Returns the text with the value at the end of a path replaced, or added as the last member. A
/// path through a value that is not an object changes nothing.
pub(crate) fn with(json: &str, path: &[String], value: &str) -> String {
    let mut range = 0..json.len();
    for (index, name) in path.iter().enumerate() {
        let object = &json[range.clone()];
        if kind(object) != Kind::Object {
            return json.to_owned();
        }
        match place(object, name) {
            Some(place) => range = range.start + place.start..range.start + place.end,
            None if index + 1 == path.len() => {
                let comma = if members(object).next().is_some() { "," } else { "" };
                let (head, tail) = json.split_at(range.end.saturating_sub(1));
                return format!("{head}{comma}{}:{value}{tail}", quoted(name));
            }
            None => return json.to_owned(),
        }
    }
    format!("{}{value}{}", &json[..range.start], &json[range.end..])
}

fn place(json: &str, name: &str) -> Option<Range<usize>> {
    if kind(json) != Kind::Object {
        return None;
    }
    let named = |(found, _): &(&str, _)| text(found).is_some_and(|found| found == name);
    members(json).filter(named).last().map(|(_, place)| place)
}

/// Returns the start of the next value: after white space, commas and colons.
fn between(json: &str, at: usize) -> usize {
    let rest = json.as_bytes().get(at..).unwrap_or_default();
    let skipped = |byte: &&u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b',' | b':');
    at + rest.iter().take_while(skipped).count()
}

/// Returns the end of the value that starts at `at`; `at` itself if none does.
fn end(json: &str, at: usize) -> usize {
    let bytes = json.as_bytes();
    match bytes.get(at) {
        Some(b'"') => end_of_text(bytes, at),
        Some(b'[' | b'{') => end_of_nested(bytes, at),
        _ => {
            let rest = bytes.get(at..).unwrap_or_default();
            let ends = |byte: &u8| {
                matches!(byte, b',' | b']' | b'}' | b':' | b' ' | b'\t' | b'\n' | b'\r')
            };
            at + rest.iter().position(ends).unwrap_or(rest.len())
        }
    }
}

fn end_of_text(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn end_of_nested(bytes: &[u8], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0_usize);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at = end_of_text(bytes, at);
                continue;
            }
            b'[' | b'{' => depth += 1,
            b']' | b'}' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_values_are_slices_of_their_text() {
        let parts: Vec<_> = elements("[ 1.50 ,\"a,]\\\"\" , [1,{\"x\":[]}],{} ]").collect();
        assert_eq!(parts, ["1.50", "\"a,]\\\"\"", "[1,{\"x\":[]}]", "{}"]);
        assert_eq!(elements("[ ]").count(), 0);
        let json = r#"{"a":1, "b" : {"c":[2]}, "a":null}"#;
        let names: Vec<_> = members(json).map(|(name, value)| (name, &json[value])).collect();
        assert_eq!(names, [("\"a\"", "1"), ("\"b\"", "{\"c\":[2]}"), ("\"a\"", "null")]);
        assert_eq!(members("{ }").count(), 0);
        assert_eq!(member(json, "a"), Some("null"));
        assert_eq!(member("[]", "a"), None);
    }

    #[test]
    fn values_at_a_path_are_found_replaced_and_added() {
        let path = |dotted: &str| dotted.split('.').map(str::to_owned).collect::<Vec<_>>();
        let json = r#"{"a":{"b\n":1,"c":2},"d":[]}"#;
        assert_eq!(at(json, &path("a.b\n")), Some("1"));
        assert_eq!(at(json, &path("d.b")), None);
        assert_eq!(with(json, &path("a.c"), "\"x\""), r#"{"a":{"b\n":1,"c":"x"},"d":[]}"#);
        assert_eq!(with(json, &path("a.e"), "3"), r#"{"a":{"b\n":1,"c":2,"e":3},"d":[]}"#);
        assert_eq!(with("{}", &path("e"), "3"), r#"{"e":3}"#);
        assert_eq!(with(json, &path("d.x"), "3"), json);
        assert_eq!(with(json, &path("x.y"), "3"), json);
    }

    #[test]
    fn texts_are_unescaped_and_half_surrogates_refused() {
        assert_eq!(text(r#""a\u0000\ud83d\ude00""#).as_deref(), Some("a\0😀"));
        assert_eq!(text(r#""a\ud83d""#), None);
    }

    /// Checked callers only: the cursor must end on any other text too.
    #[test]
    fn cursor_over_invalid_text_ends() {
        for broken in ["", "[", "{", "{\"", "[[", "]", "{\"a\"", "{\"a\":", "[1,,]", "{:}", "\"\\"]
        {
            assert!(elements(broken).count() < 4, "{broken}");
            assert!(members(broken).count() < 4, "{broken}");
        }
    }
}
