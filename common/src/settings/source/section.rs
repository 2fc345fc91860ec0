//! Reads one table of the settings.
//!
//! The keys that are read are the keys that exist: [`Section::finish`] reports the rest, so there
//! is no second list of allowed keys to maintain.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;

use config::{Map, Value, ValueKind};

use super::closest;
use super::entry::{Entry, origin_of};
use super::error::SettingsError;

/// The common state of all sections of one load.
pub(crate) struct LoadContext {
    /// The name of the settings file as in the origin of its values.
    pub(crate) file: Option<String>,
    /// The base directory of relative paths.
    pub(crate) base: PathBuf,
    /// All mistakes so far; written by sections and the environment, read once at the end.
    mistakes: RefCell<Vec<SettingsError>>,
}

impl LoadContext {
    pub(crate) fn new(file: Option<String>, base: PathBuf) -> Self {
        Self { file, base, mistakes: RefCell::new(Vec::new()) }
    }

    pub(crate) fn report(&self, mistake: SettingsError) {
        self.mistakes.borrow_mut().push(mistake);
    }

    pub(crate) fn into_mistakes(self) -> Vec<SettingsError> {
        self.mistakes.into_inner()
    }

    pub(crate) fn is_env(&self, origin: &str) -> bool {
        self.file.as_deref() != Some(origin)
    }
}

/// A table, its unread values, and the keys that were read.
pub(crate) struct Section<'c> {
    context: &'c LoadContext,
    /// The path of the table; empty for the root.
    path: String,
    /// The origin of the table itself, for mistakes that concern no single key.
    origin: String,
    unread: BTreeMap<String, Value>,
    known: Vec<&'static str>,
}

impl<'c> Section<'c> {
    /// Creates the section of the whole tree.
    pub(crate) fn root(context: &'c LoadContext, tree: Map<String, Value>) -> Self {
        let origin = context.file.clone().unwrap_or_default();
        Self { unread: tree.into_iter().collect(), ..Self::empty(context, String::new(), origin) }
    }

    /// Creates the section at `path`. `None` if the value is not a table, which was reported.
    pub(crate) fn at(
        context: &'c LoadContext,
        path: String,
        value: Value,
        example: &str,
    ) -> Option<Self> {
        let mut section = Self::empty(context, path, origin_of(&value));
        match value.kind {
            ValueKind::Table(table) => section.unread = table.into_iter().collect(),
            // YAML reads a section as nil if all its keys are commented out.
            ValueKind::Nil => {}
            kind => {
                let entry = Entry {
                    key: section.path,
                    from_env: context.is_env(&section.origin),
                    origin: section.origin,
                    value: kind,
                };
                context.report(entry.not_a("a table", format!("write {example}")));
                return None;
            }
        }
        Some(section)
    }

    fn empty(context: &'c LoadContext, path: String, origin: String) -> Self {
        Self { context, path, origin, unread: BTreeMap::new(), known: Vec::new() }
    }

    /// Returns the table under `key`; an empty one if it is missing or invalid.
    pub(crate) fn section(&mut self, key: &'static str) -> Section<'c> {
        self.known.push(key);
        let example = format!("[{key}] and its keys below");
        self.unread
            .remove(key)
            .and_then(|value| Section::at(self.context, self.child(key), value, &example))
            .unwrap_or_else(|| Section::empty(self.context, self.child(key), self.origin.clone()))
    }

    /// Returns the table under `key`; `None` if it is missing, or not a table, which was reported.
    pub(crate) fn table(&mut self, key: &'static str, example: &str) -> Option<Section<'c>> {
        self.known.push(key);
        let value = self.unread.remove(key)?;
        Section::at(self.context, self.child(key), value, example)
    }

    /// Reads the value under `key` with `convert`. `None` if it is absent or was reported.
    pub(crate) fn read<T>(
        &mut self,
        key: &'static str,
        convert: impl FnOnce(&Entry) -> Result<T, SettingsError>,
    ) -> Option<T> {
        self.known.push(key);
        let value = self.unread.remove(key)?;
        self.convert(key, value, convert)
    }

    /// Reads a value of [`Section::take_all`] with `convert`. `None` if it was reported.
    pub(crate) fn convert<T>(
        &self,
        key: &str,
        value: Value,
        convert: impl FnOnce(&Entry) -> Result<T, SettingsError>,
    ) -> Option<T> {
        let origin = origin_of(&value);
        let from_env = self.context.is_env(&origin);
        let entry = Entry { key: self.child(key), origin, from_env, value: value.kind };
        convert(&entry).map_err(|mistake| self.context.report(mistake)).ok()
    }

    /// Returns the origin of `key`, if it exists and was not read yet.
    pub(crate) fn origin(&self, key: &str) -> Option<String> {
        self.unread.get(key).map(origin_of)
    }

    /// Reports a mistake of the table as a whole.
    pub(crate) fn wrong(&self, problem: impl Into<String>, help: impl Into<String>) {
        self.context.report(SettingsError::invalid(&self.origin, &self.path, problem, help));
    }

    /// Returns `true` if only the environment made this table.
    pub(crate) fn is_from_env(&self) -> bool {
        self.context.is_env(&self.origin)
    }

    /// Returns `true` if unread values are left.
    pub(crate) fn has_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    /// Reports that the environment sets a key of a `what` that does not exist, so that it
    /// overrides nothing. `name` is the meant one, `names` are all existing ones.
    pub(crate) fn overrides_nothing(&self, what: &str, name: &str, names: &[String]) {
        let others = || names.iter().map(String::as_str).filter(|other| *other != name);
        let hint = closest::hint(name, others());
        let known = others().collect::<Vec<_>>().join(", ");
        let known = if known.is_empty() { "none".to_owned() } else { known };
        let problem = format!("there is no such {what} to override");
        self.wrong(problem, format!("{hint}{what}s: {known}"));
    }

    /// Returns all values under user-defined names.
    pub(crate) fn take_all(&mut self) -> BTreeMap<String, Value> {
        std::mem::take(&mut self.unread)
    }

    pub(crate) fn context(&self) -> &'c LoadContext {
        self.context
    }

    /// Returns the path of `key` in this table, on one line even if the key has line feeds.
    pub(crate) fn child(&self, key: &str) -> String {
        let key = key.escape_debug();
        if self.path.is_empty() { key.to_string() } else { format!("{}.{key}", self.path) }
    }

    /// Reports every key that was not read.
    pub(crate) fn finish(self) {
        let allowed = self.known.join(", ");
        for (key, value) in &self.unread {
            let (what, list) = match (self.path.is_empty(), &value.kind) {
                (true, ValueKind::Table(_)) => ("section", "sections"),
                (true, _) => ("key outside of a section", "sections"),
                (false, _) => ("key", "allowed keys"),
            };
            let hint = closest::hint(key, self.known.iter().copied());
            self.context.report(SettingsError::invalid(
                &origin_of(value),
                &self.child(key),
                format!("unknown {what}"),
                format!("{hint}{list}: {allowed}"),
            ));
        }
    }
}
