//! Replies of scripts, as their readers take them: nested lists, written as JSON
//! (`redcall_store::fuzzing` describes the form). Text is read as a message of the control channel
//! as well.
//!
//! - A reply that a reader does not understand is a typed error that names it, never a guess:
//!   neither a lost connection nor a refusal.
//! - No number is read that the reply does not contain.
//! - There are as many results as there were elements in the request.
//! - A result is not larger than its reply, except for names of fields.
//! - A control message that is read and written again reads the same.

use redcall_store::fuzzing::{read, readers};
use redcall_store::{Control, StoreError};
use serde_json::Value;

/// Passes the reply in `input` to every reader.
///
/// # Panics
///
/// If one of the module's assertions fails.
pub fn check(input: &[u8]) {
    let Ok(reply) = serde_json::from_slice::<Value>(input) else { return };
    if let Some(message) = reply.as_str() {
        control(message);
    }
    for reader in readers() {
        // A character each, in the reply itself or first in the list.
        let results = reply.as_str().or_else(|| reply[0].as_str());
        let results = results.map_or(0, |text| text.chars().count());
        for expected in [results, results + 1] {
            let reading = match read(reader, &reply, expected) {
                Some(Ok(reading)) => reading,
                Some(Err(StoreError::Unexpected(_))) => continue,
                Some(Err(other)) => panic!("{reader}: {other:?}"),
                None => panic!("{reader} is in the list, but not known"),
            };
            if ["cancel", "poll", "revive"].contains(&reader) {
                assert_eq!(reading.count, Some(expected), "{reader}: {reply}");
            }
            assert!(reading.count.is_none_or(|count| count <= input.len()), "{reader}: {reply}");
            unsaid(&reading.shown, &reply, reader);
            let max = 1024 + 64 * input.len();
            assert!(reading.shown.len() <= max, "{reader}: {} bytes", reading.shown.len());
        }
    }
}

/// Panics on a number in the result that was not in the reply: wrapped, or made up.
fn unsaid(shown: &str, reply: &Value, reader: &str) {
    // Letters and events hold JSON in text, where digits can be written as escapes.
    if ["letters", "events", "group"].contains(&reader) || has_fraction(reply) {
        return;
    }
    let reply_text = reply.to_string();
    let numbers = shown.split(|c: char| !c.is_ascii_digit());
    let unsaid =
        numbers.filter(|digits| digits.len() > 6).find(|digits| !reply_text.contains(digits));
    assert_eq!(unsaid, None, "{reader} reads {shown} in {reply_text}");
}

/// The driver truncates a fraction where an integer is expected, which is harmless.
fn has_fraction(reply: &Value) -> bool {
    match reply {
        Value::Number(number) => number.is_f64() || number.as_i64().is_none(),
        Value::Array(items) => items.iter().any(has_fraction),
        Value::Object(fields) => fields.values().any(has_fraction),
        _ => false,
    }
}

fn control(message: &str) {
    if let Some(control) = Control::parse(message.as_bytes()) {
        assert_eq!(Control::parse(control.to_string().as_bytes()), Some(control));
    }
}
