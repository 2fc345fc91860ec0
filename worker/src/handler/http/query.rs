//! The query of a request without a body: the URL's own parameters, and the caller's fields.
//!
//! A field must not repeat a parameter of the URL: of two values servers use the first, the last,
//! or both.

use redcall_common::error::Code;
use serde_json::Value;
use serde_json::value::RawValue;
use url::Url;

use crate::handler::error::HandlerError;

/// Adds the fields of the data to the query.
///
/// # Errors
///
/// `invalid_data` if the data cannot be parameters, or repeat one of the URL.
pub(super) fn add_query(url: &mut Url, data: &RawValue) -> Result<(), HandlerError> {
    let wrong = |message: String| HandlerError::with_code(Code::InvalidData, message);
    let unfit = || {
        wrong("a request without a body needs an object of strings, numbers and booleans".into())
    };
    let fields = match serde_json::from_str(data.get()).map_err(|_| unfit())? {
        Value::Null => return Ok(()),
        Value::Object(fields) => fields,
        _ => return Err(unfit()),
    };
    let own: Vec<String> = url.query_pairs().map(|(name, _)| folded(&name)).collect();
    let mut query = url.query_pairs_mut();
    for (name, value) in fields {
        let text = match value {
            Value::Null => continue,
            Value::String(text) => text,
            Value::Bool(_) | Value::Number(_) => value.to_string(),
            Value::Array(_) | Value::Object(_) => return Err(unfit()),
        };
        if own.contains(&folded(&name)) {
            return Err(wrong(format!(
                "the field `{}` is set by the job's url: omit it",
                name.escape_debug()
            )));
        }
        query.append_pair(&name, &text);
    }
    Ok(())
}

/// Returns the name that a server may read: servers ignore case or surrounding space, read `a[]`
/// and `a[b]` as parts of `a`, end a name at a zero, or write `_` for `.` and a space.
fn folded(name: &str) -> String {
    let name = name.split('\0').next().unwrap_or_default();
    let name = name.trim();
    let end = name.char_indices().find(|(at, found)| *at > 0 && *found == '[');
    let name = &name[..end.map_or(name.len(), |(at, _)| at)];
    let plain = |c: char| if matches!(c, '.' | ' ' | '+' | '[') { '_' } else { c };
    name.trim().to_lowercase().chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(url: &str, data: &str) -> Result<String, String> {
        let mut url = Url::parse(url).unwrap();
        let data = RawValue::from_string(data.to_owned()).unwrap();
        add_query(&mut url, &data).map_err(|error| error.error.message)?;
        Ok(url.query().unwrap_or_default().to_owned())
    }

    #[test]
    fn field_that_repeats_an_own_parameter_is_refused() {
        let url = "http://h/?role=user&r%C3%B6le=x";
        for name in [
            "role",
            "Role",
            "ROLE",
            " role",
            "role ",
            "role[]",
            "role[0]",
            "role\\u0000x",
            "r\u{f6}le",
        ] {
            let refused = query(url, &format!(r#"{{"{name}":"admin"}}"#)).unwrap_err();
            assert!(refused.contains("is set by the job's url"), "{name}: {refused}");
        }
        let refused = query("http://h/?a.b=1", r#"{"a_b":2}"#).unwrap_err();
        assert!(refused.contains("`a_b`"), "{refused}");
    }

    #[test]
    fn field_cannot_leave_its_place_in_the_query() {
        let query = query("http://h/?role=user#part", r#"{"q":"x&role=admin#y;role=z","&role":1}"#);
        assert_eq!(query.unwrap(), "role=user&%26role=1&q=x%26role%3Dadmin%23y%3Brole%3Dz");
    }

    #[test]
    fn other_fields_and_null_are_accepted() {
        assert_eq!(
            query("http://h/?role=user", r#"{"roles":1,"role":null}"#).unwrap(),
            "role=user&roles=1"
        );
    }
}
