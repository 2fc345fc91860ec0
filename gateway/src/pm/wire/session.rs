//! The session envelope: the member `params`, `result` or `error` of a message holds
//! `{"sid": S, "<the same name>": …}`. A peer without sessions sends the bare value.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// A value, taken out of its envelope.
pub(super) struct Opened<'a> {
    /// The session; `None` if the value came bare.
    pub(super) sid: Option<String>,
    /// The value; `None` if the envelope is empty.
    pub(super) value: Option<&'a RawValue>,
}

/// An envelope has these members and no other. Fields of a value that has some of them too are
/// thus kept: `{"sid": 5}` and `{"sid": "x", "y": 1}` are values.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<'a> {
    #[serde(borrow)]
    sid: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "present")]
    params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    error: Option<&'a RawValue>,
}

/// Reads a member that is there, even if it is null.
pub(super) fn present<'de, D: serde::Deserializer<'de>>(
    reader: D,
) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(reader).map(Some)
}

/// Takes the member `name` (`params`, `result` or `error`) out of its envelope, if it is in one.
pub(super) fn open<'a>(name: &str, member: &'a RawValue) -> Opened<'a> {
    let bare = Opened { sid: None, value: Some(member) };
    // Not an object: no envelope, and not worth a reader.
    if !member.get().starts_with('{') {
        return bare;
    }
    let Ok(envelope) = serde_json::from_str::<Envelope<'a>>(member.get()) else { return bare };
    let Envelope { sid, params, result, error } = envelope;
    let value = match (name, params, result, error) {
        (_, None, None, None) => None,
        ("params", Some(value), None, None)
        | ("result", None, Some(value), None)
        | ("error", None, None, Some(value)) => Some(value),
        _ => return bare,
    };
    Opened { sid: Some(sid.into_owned()), value }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(name: &str, json: &str) -> (Option<String>, Option<String>) {
        let member = RawValue::from_string(json.to_owned()).unwrap();
        let Opened { sid, value } = open(name, &member);
        (sid, value.map(|value| value.get().to_owned()))
    }

    #[test]
    fn envelope_gives_its_session_and_value() {
        let some = |text: &str| Some(text.to_owned());
        let inner = opened("params", r#"{"sid": "S", "params": {"b": 1, "a": 1.50}}"#);
        assert_eq!(inner, (some("S"), some(r#"{"b": 1, "a": 1.50}"#)));
        assert_eq!(
            opened("result", r#"{"result":null,"sid":"\u0000"}"#),
            (some("\0"), some("null"))
        );
        assert_eq!(opened("params", r#"{"sid":"S"}"#), (some("S"), None));
    }

    #[test]
    fn other_values_are_bare() {
        for value in [
            "null",
            "[1]",
            "{}",
            r#"{"sid":5}"#,
            r#"{"sid":"S","a":1}"#,
            r#"{"sid":"S","result":1}"#,
            r#"{"sid":"S","params":1,"error":1}"#,
        ] {
            assert_eq!(opened("params", value), (None, Some(value.to_owned())));
        }
    }
}
