//! The answer to a caller: one element of the list at its response key.

use serde::Deserialize;
use serde_json::value::RawValue;

/// Writes the answer to a caller, with the spaces of Python's JSON writer. The values in `data`
/// pass unchanged.
pub(super) fn write(data: &RawValue, id: &str, response_key: &str) -> String {
    let mut answer = String::with_capacity(data.get().len() + 128);
    answer.push_str("{\"data\": ");
    spaced(data.get(), &mut answer);
    answer.push_str(", \"id\": \"");
    answer.push_str(id);
    answer.push_str("\", \"response_key\": \"");
    answer.push_str(response_key);
    answer.push_str("\"}");
    answer
}

/// Reads the data of an rq worker's answer; `None` if it is not one.
pub(super) fn read(element: &[u8]) -> Option<Box<RawValue>> {
    #[derive(Deserialize)]
    struct Answer {
        data: Box<RawValue>,
    }
    serde_json::from_slice(element).ok().map(|Answer { data }| data)
}

/// Writes JSON text with a space after each comma and colon, and no other white space.
fn spaced(json: &str, into: &mut String) {
    let (mut in_text, mut is_escaped) = (false, false);
    for sign in json.chars() {
        match sign {
            ' ' | '\n' | '\r' | '\t' if !in_text => continue,
            '"' if !is_escaped => in_text = !in_text,
            _ => {}
        }
        is_escaped = in_text && sign == '\\' && !is_escaped;
        into.push(sign);
        if !in_text && matches!(sign, ',' | ':') {
            into.push(' ');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.to_owned()).unwrap()
    }

    #[test]
    fn answer_has_the_bytes_that_python_writes() {
        let key = "11111111-2222-4333-8444-555555555555";
        let written = write(&data(r#"{"answer":42}"#), "ad13d8cf", key);
        let recorded = "{\"data\": {\"answer\": 42}, \"id\": \"ad13d8cf\", \
            \"response_key\": \"11111111-2222-4333-8444-555555555555\"}";
        assert_eq!(written, recorded);
    }

    #[test]
    fn values_of_an_answer_pass_unchanged() {
        let json =
            "{ \"b,:\\\" \\\\\" :[1.50, 123456789012345678901234567890,\n{}],\"a\": \"x  \"}";
        let written = write(&data(json), "", "");
        let wanted =
            r#""data": {"b,:\" \\": [1.50, 123456789012345678901234567890, {}], "a": "x  "}, "id""#;
        assert!(written.contains(wanted), "{written}");
        assert_eq!(read(written.as_bytes()).unwrap().get().len(), wanted.len() - 14);
    }

    #[test]
    fn element_that_is_not_an_answer_is_not_read() {
        for wrong in ["", "1", "{}", "{\"data\": NaN}", "{\"data\": 1", "\u{feff}{\"data\": 1}"] {
            assert!(read(wrong.as_bytes()).is_none(), "{wrong}");
        }
        assert!(read(b"{\"data\": \"\xff\"}").is_none());
        assert_eq!(read(b"{\"id\": 1, \"data\": null}").unwrap().get(), "null");
    }
}
