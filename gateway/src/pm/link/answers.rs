//! The forms of results and progress.

use redcall_common::settings::PmAnswers;
use serde::Deserialize;
use serde_json::value::RawValue;

/// Returns the result of `method` in the door's form. A typed result has a `type` from 0 to 3 and a
/// `content`; data that are not typed are the content of a good result; of null, it has none.
pub(super) fn result(form: PmAnswers, method: &str, data: &RawValue) -> String {
    match form {
        PmAnswers::Typed if has_typed_results(method) && !is_typed(data) => match data.get() {
            "null" => "{\"type\": 0}".to_owned(),
            data => format!("{{\"type\": 0, \"content\": {data}}}"),
        },
        PmAnswers::Typed | PmAnswers::Plain => data.get().to_owned(),
    }
}

/// Returns `true` if Pipeline Manager expects a typed result of this method. Its browser validates
/// results, and rejects typed ones of its other methods: `app_capabilities_get` returns a list, and
/// notices such as `nodes_on_change` return null or an empty object.
fn has_typed_results(method: &str) -> bool {
    method == "specification_get"
        || ["dataflow_", "custom_"].iter().any(|family| method.starts_with(family))
}

fn is_typed(data: &RawValue) -> bool {
    #[derive(Deserialize)]
    struct Typed<'a> {
        #[serde(borrow, rename = "type")]
        kind: &'a RawValue,
    }
    let typed = serde_json::from_str::<Typed<'_>>(data.get());
    data.get().starts_with('{')
        && typed.is_ok_and(|typed| ["0", "1", "2", "3"].contains(&typed.kind.get()))
}

/// Returns the peer's progress for a handler's: its `percent`, else its `progress`, else all of it.
pub(super) fn to_peer(data: &RawValue) -> &RawValue {
    #[derive(Deserialize)]
    struct Progress<'a> {
        #[serde(borrow, default)]
        percent: Option<&'a RawValue>,
        #[serde(borrow, default)]
        progress: Option<&'a RawValue>,
    }
    // An array would be read by position.
    if !data.get().starts_with('{') {
        return data;
    }
    let fields = serde_json::from_str::<Progress<'_>>(data.get());
    fields.ok().and_then(|fields| fields.percent.or(fields.progress)).unwrap_or(data)
}

/// Returns a job's progress for the peer's: `{"percent": P}`.
pub(super) fn from_peer(progress: &RawValue) -> Box<RawValue> {
    let json = format!("{{\"percent\":{}}}", progress.get());
    // JSON in an object is JSON.
    RawValue::from_string(json).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.to_owned()).unwrap()
    }

    #[test]
    fn typed_results_pass_and_others_become_content() {
        let typed = |json: &str| result(PmAnswers::Typed, "dataflow_run", &raw(json));
        for json in [r#"{"type":0}"#, r#"{"content":[],"type":3}"#, r#"{"type": 1, "a": 1.50}"#] {
            assert_eq!(typed(json), json);
        }
        assert_eq!(typed("null"), r#"{"type": 0}"#);
        for json in [
            "[0]",
            "\"x\"",
            "{}",
            r#"{"type":4}"#,
            r#"{"type":0.0}"#,
            r#"{"type":"0"}"#,
            r#"{"content":{"type":0}}"#,
        ] {
            assert_eq!(typed(json), format!(r#"{{"type": 0, "content": {json}}}"#));
            assert_eq!(result(PmAnswers::Plain, "dataflow_run", &raw(json)), json);
        }
    }

    /// The methods of Pipeline Manager's API specification.
    #[test]
    fn only_methods_with_typed_results_are_wrapped() {
        let result = |method: &str, json: &str| result(PmAnswers::Typed, method, &raw(json));
        for typed in [
            "specification_get",
            "dataflow_import",
            "dataflow_export",
            "dataflow_validate",
            "dataflow_run",
            "dataflow_stop",
            "custom_build",
        ] {
            assert_eq!(result(typed, "{}"), r#"{"type": 0, "content": {}}"#, "{typed}");
        }
        for (method, json) in [
            ("app_capabilities_get", r#"[{"name": "Run", "procedureName": "dataflow_run"}]"#),
            ("frontend_on_connect", "{}"),
            ("properties_on_change", "null"),
            ("position_on_change", "null"),
            ("nodes_on_change", "null"),
            ("connections_on_change", "null"),
            ("graph_on_change", "null"),
            ("metadata_on_change", "null"),
            ("viewport_on_center", "null"),
            ("nodes_on_highlight", "null"),
            ("terminal_read", "null"),
            ("button_click", "null"),
        ] {
            assert_eq!(result(method, json), json, "{method}");
        }
    }

    #[test]
    fn progress_is_the_percent_else_the_progress_else_all() {
        for (data, wanted) in [
            (r#"{"percent":50,"progress":1}"#, "50"),
            (r#"{"progress":1.50,"of":2}"#, "1.50"),
            (r#"{"done":1}"#, r#"{"done":1}"#),
            ("[1,2]", "[1,2]"),
            ("70", "70"),
            ("null", "null"),
        ] {
            assert_eq!(to_peer(&raw(data)).get(), wanted);
        }
        assert_eq!(from_peer(&raw("1.50")).get(), r#"{"percent":1.50}"#);
    }
}
