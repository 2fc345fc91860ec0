//! Values of the settings that are passed on as JSON, in any file format.

use std::collections::BTreeMap;

use config::ValueKind;
use serde_json::value::RawValue;

use crate::settings::source::entry::Entry;
use crate::settings::source::error::SettingsError;

impl Entry {
    /// Returns the value as JSON text; the keys of tables in order, so that all programs with the
    /// same settings get the same text. An environment variable has JSON already.
    pub(crate) fn json(&self) -> Result<String, SettingsError> {
        let help = "write a value that JSON can express";
        match &self.value {
            ValueKind::String(text) if self.from_env => {
                let read = serde_json::from_str::<&RawValue>(text.trim());
                let json = read.map_err(|e| self.wrong_because("is not JSON", help, e))?;
                Ok(json.get().to_owned())
            }
            value => {
                let no_json = || self.wrong("holds a number that JSON does not have", help);
                written(value).ok_or_else(no_json)
            }
        }
    }
}

/// Returns `None` for infinity and NaN.
fn written(value: &ValueKind) -> Option<String> {
    match value {
        ValueKind::Nil => Some("null".to_owned()),
        ValueKind::Boolean(value) => Some(value.to_string()),
        ValueKind::I64(_) | ValueKind::I128(_) | ValueKind::U64(_) | ValueKind::U128(_) => {
            Some(value.to_string())
        }
        ValueKind::Float(number) => Some(serde_json::Number::from_f64(*number)?.to_string()),
        ValueKind::String(text) => Some(quoted(text)),
        ValueKind::Array(items) => {
            let items = items.iter().map(|item| written(&item.kind));
            Some(format!("[{}]", items.collect::<Option<Vec<_>>>()?.join(",")))
        }
        ValueKind::Table(table) => {
            let sorted: BTreeMap<_, _> = table.iter().collect();
            let fields = sorted
                .into_iter()
                .map(|(key, value)| Some(format!("{}:{}", quoted(key), written(&value.kind)?)));
            Some(format!("{{{}}}", fields.collect::<Option<Vec<_>>>()?.join(",")))
        }
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
