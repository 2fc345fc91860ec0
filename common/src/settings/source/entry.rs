//! Reads one value of the settings as a type: text, choice, whole number, list, path.
//!
//! Each reader returns the value or the complete mistake: origin, key, problem and fix. Durations
//! and sizes have files of their own; the caller gives the ranges.

use std::error::Error;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use config::{Value, ValueKind};

use super::closest;
use super::error::SettingsError;

/// A value with its origin.
pub(crate) struct Entry {
    /// The path of the key, such as `worker.concurrency`.
    pub(crate) key: String,
    /// The file, or the environment variable, that set it.
    pub(crate) origin: String,
    /// Values from the environment are text, so that text is read more leniently.
    pub(crate) from_env: bool,
    pub(crate) value: ValueKind,
}

impl Entry {
    /// Creates a mistake in this value.
    pub(crate) fn wrong(
        &self,
        problem: impl Into<String>,
        help: impl Into<String>,
    ) -> SettingsError {
        SettingsError::invalid(&self.origin, &self.key, problem, help)
    }

    /// Creates a mistake in this value with another crate's error as cause.
    pub(crate) fn wrong_because(
        &self,
        problem: impl Into<String>,
        help: impl Into<String>,
        cause: impl Error + Send + Sync + 'static,
    ) -> SettingsError {
        SettingsError::Invalid {
            origin: self.origin.clone(),
            key: self.key.clone(),
            problem: problem.into(),
            help: help.into(),
            source: Some(Box::new(cause)),
        }
    }

    /// Creates the mistake that the value is not `wanted` (with its article), or is empty.
    pub(crate) fn not_a(&self, wanted: &str, help: impl Into<String>) -> SettingsError {
        if self.is_blank() {
            return self.wrong("must not be empty", help);
        }
        self.wrong(format!("must be {wanted}, but is {}", self.shown()), help)
    }

    /// Reads text that is not blank.
    pub(crate) fn text(&self, help: &str) -> Result<&str, SettingsError> {
        match &self.value {
            ValueKind::String(text) if !self.is_blank() => Ok(text),
            _ => Err(self.not_a("text", help)),
        }
    }

    fn is_blank(&self) -> bool {
        match &self.value {
            ValueKind::Nil => true,
            ValueKind::String(text) => text.trim().is_empty(),
            _ => false,
        }
    }

    /// Reads text that passes `allowed`; `rule` describes the valid form.
    pub(crate) fn name(
        &self,
        allowed: impl Fn(&str) -> bool,
        rule: &str,
    ) -> Result<String, SettingsError> {
        let help = format!("write {rule}");
        let text = self.text(&help)?;
        if allowed(text) { Ok(text.to_owned()) } else { Err(self.not_a(rule, help)) }
    }

    /// Reads one of `options` by its word.
    pub(crate) fn choice<T: Copy>(&self, options: &[(&str, T)]) -> Result<T, SettingsError> {
        let words: Vec<&str> = options.iter().map(|(word, _)| *word).collect();
        let wanted = match words.split_last() {
            Some((last, first)) if !first.is_empty() => format!("{} or {last}", first.join(", ")),
            _ => words.concat(),
        };
        let text = self.text(&format!("write {wanted}"))?;
        let chosen = options.iter().find(|(word, _)| *word == text);
        chosen.map(|(_, value)| *value).ok_or_else(|| {
            let hint = closest::hint(text, words.iter().copied());
            self.not_a(&wanted, format!("{hint}allowed values: {}", words.join(", ")))
        })
    }

    /// Reads a whole number within `range`.
    pub(crate) fn whole(&self, range: RangeInclusive<u64>) -> Result<u64, SettingsError> {
        let (low, high) = (*range.start(), *range.end());
        let help = format!("write a whole number from {low} to {high}");
        let Some(number) = self.integer() else {
            return Err(self.not_a("a whole number", help));
        };
        match u64::try_from(number) {
            Ok(number) if range.contains(&number) => Ok(number),
            _ => Err(self.wrong(format!("must be from {low} to {high}, but is {number}"), help)),
        }
    }

    /// Returns the integer, from a number or from the environment's text.
    pub(crate) fn integer(&self) -> Option<i128> {
        match &self.value {
            ValueKind::I64(number) => Some((*number).into()),
            ValueKind::U64(number) => Some((*number).into()),
            ValueKind::String(text) if self.from_env => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// Reads a list of entries. In an environment variable: `a,b`, or JSON if an item has a comma
    /// (`["a","b"]`).
    pub(crate) fn list(&self, example: &str) -> Result<Vec<Self>, SettingsError> {
        let in_env = if self.from_env { ", items separated by commas, or JSON" } else { "" };
        let help = format!("write a list such as {example}{in_env}");
        let items: Vec<ValueKind> = match &self.value {
            _ if self.is_blank() => Vec::new(),
            ValueKind::Array(items) => items.iter().map(|item| item.kind.clone()).collect(),
            ValueKind::String(text) if self.from_env && text.trim_start().starts_with('[') => {
                let numbers = |error| match serde_json::from_str::<Vec<u64>>(text) {
                    Ok(numbers) => Ok(numbers.iter().map(u64::to_string).collect()),
                    Err(_) => Err(error),
                };
                let items: Vec<String> = serde_json::from_str(text)
                    .or_else(numbers)
                    .map_err(|e| self.wrong_because("is not a JSON list of texts", &*help, e))?;
                items.into_iter().map(ValueKind::String).collect()
            }
            ValueKind::String(text) if self.from_env => {
                text.split(',').map(|item| ValueKind::String(item.trim().to_owned())).collect()
            }
            _ => return Err(self.not_a("a list", help)),
        };
        if items.is_empty() {
            return Err(self.wrong("must not be empty", help));
        }
        let place = |(index, value)| Self {
            key: format!("{}[{index}]", self.key),
            origin: self.origin.clone(),
            from_env: self.from_env,
            value,
        };
        Ok(items.into_iter().enumerate().map(place).collect())
    }

    /// Reads a path, relative to `base`.
    pub(crate) fn path(&self, base: &Path) -> Result<PathBuf, SettingsError> {
        Ok(base.join(self.text("write the path of a PEM file")?))
    }

    /// Returns the value as messages show it.
    pub(crate) fn shown(&self) -> String {
        match &self.value {
            ValueKind::Nil => "empty".to_owned(),
            // A secret may be in the wrong place.
            _ if self.key.starts_with("auth") || self.key.ends_with(".token") => {
                "something else".to_owned()
            }
            ValueKind::Boolean(value) => value.to_string(),
            ValueKind::Float(number) => number.to_string(),
            // A Redis address in the wrong place may contain its password.
            ValueKind::String(text) if text.contains("://") => "an address".to_owned(),
            ValueKind::String(text) => shortened(text),
            ValueKind::Table(_) => "a table".to_owned(),
            ValueKind::Array(_) => "a list".to_owned(),
            ValueKind::I64(_) | ValueKind::I128(_) | ValueKind::U64(_) | ValueKind::U128(_) => {
                self.value.to_string()
            }
        }
    }
}

/// Returns the origin of a value of the tree. We build the tree, with an origin on every value.
pub(crate) fn origin_of(value: &Value) -> String {
    value.origin().unwrap_or("settings").to_owned()
}

/// Returns `text` in quotes on one line, shortened.
fn shortened(text: &str) -> String {
    const MAX_CHARS: usize = 60;
    if text.chars().count() <= MAX_CHARS {
        return format!("{text:?}");
    }
    let start: String = text.chars().take(MAX_CHARS).collect();
    format!("{start:?}…")
}
