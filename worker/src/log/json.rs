//! A log line as a JSON object with unique keys.
//!
//! `timestamp`, `level`, `target` and `message` belong to the line itself; `span` and `spans` list
//! its spans. All fields are top-level keys. A field whose name is taken gets `_` appended:
//! handlers choose names freely.

use std::fmt::{self, Debug};

use redcall_common::clean::clean_json;
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormattedFields};
use tracing_subscriber::registry::{LookupSpan, SpanRef};

/// Keys that fields must not use.
const OF_THE_LINE: [&str; 6] = ["timestamp", "level", "target", "message", "span", "spans"];

/// The formatter of lines.
pub(super) struct JsonLines;

impl<S> FormatEvent<S, JsonFields> for JsonLines
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        let mut line = Line::of(metadata.level().as_str(), metadata.target());
        event.record(&mut Fields { line: &mut line, has_message: false });
        if let Some(span) = context.event_scope().and_then(|mut scope| scope.next()) {
            let all: Vec<Value> = span.scope().from_root().map(|span| of_span(&span)).collect();
            line.0.extend([("span", of_span(&span)), ("spans", all.into())].map(owned));
        }
        writeln!(writer, "{}", line.text())
    }
}

fn owned((key, value): (&str, Value)) -> (String, Value) {
    (key.to_owned(), value)
}

/// A span: its fields, and its name.
fn of_span<S: for<'span> LookupSpan<'span>>(span: &SpanRef<'_, S>) -> Value {
    let mut line = Line(vec![owned(("name", span.name().into()))]);
    let extensions = span.extensions();
    let fields = extensions.get::<FormattedFields<JsonFields>>();
    let fields = fields.and_then(|fields| serde_json::from_str::<Value>(&fields.fields).ok());
    if let Some(Value::Object(fields)) = fields {
        fields.into_iter().for_each(|(name, value)| line.put(&name, value, &[]));
    }
    line.0.into_iter().collect()
}

/// An object with ordered, unique keys.
pub(super) struct Line(Vec<(String, Value)>);

impl Line {
    /// Returns the beginning of a line.
    pub(super) fn of(level: &str, target: &str) -> Self {
        let mut time = String::new();
        // Writing to a string does not fail.
        let _ = SystemTime.format_time(&mut Writer::new(&mut time));
        let begin =
            [("timestamp", time.into()), ("level", level.into()), ("target", target.into())];
        Self(begin.map(owned).into())
    }

    /// Adds the message.
    pub(super) fn message(mut self, text: &str) -> Self {
        self.0.push(owned(("message", text.into())));
        self
    }

    /// Adds a field under its name, with `_` appended until the key is new and not in `taken`.
    fn put(&mut self, name: &str, value: Value, taken: &[&str]) {
        let mut key = name.strip_prefix("r#").unwrap_or(name).to_owned();
        while taken.contains(&&*key) || self.0.iter().any(|(known, _)| *known == key) {
            key.push('_');
        }
        self.0.push((key, value));
    }

    /// Returns the line as text, without a line feed.
    pub(super) fn text(&self) -> String {
        // Strings, numbers and trees of them: nothing here can fail to serialise. JSON allows some
        // control characters unescaped.
        clean_json(&serde_json::to_string(self).unwrap_or_default()).into_owned()
    }
}

impl Serialize for Line {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

/// Adds the fields of an event to its line.
struct Fields<'a> {
    line: &'a mut Line,
    has_message: bool,
}

impl Fields<'_> {
    fn put(&mut self, field: &Field, value: Value) {
        // The first one of this name is the text of the line; a field may have it, too.
        if field.name() == "message" && !std::mem::replace(&mut self.has_message, true) {
            self.line.0.push(owned(("message", value)));
        } else {
            self.line.put(field.name(), value, &OF_THE_LINE);
        }
    }
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use redcall_common::clean::steers;

    use super::*;

    #[test]
    fn field_never_takes_a_key_that_the_line_has() {
        let mut line = Line::of("INFO", "t").message("m");
        for name in ["level", "level", "message", "spans", "level_", "r#type", "id"] {
            line.put(name, 1.into(), &OF_THE_LINE);
        }
        let keys: Vec<&str> = line.0.iter().map(|(key, _)| &**key).skip(3).collect();
        let expected = ["message", "level_", "level__", "message_", "spans_", "level___"];
        assert_eq!(keys[..6], expected);
        assert_eq!(keys[6..], ["type", "id"]);
    }

    #[test]
    fn foreign_text_stays_unchanged_and_controls_no_terminal() {
        let message = "a\n\u{1b}[2J\u{9b}\u{202e}\u{2028}\u{e0041}\"ü";
        let text = Line::of("INFO", "t").message(message).text();
        assert!(!text.contains(|c| c == '\n' || steers(c)), "{text}");
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&line["message"], &line["level"]), (&message.into(), &"INFO".into()));
    }
}
