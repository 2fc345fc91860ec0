//! One table of the settings while it is read.
//!
//! The keys that are asked for are the keys that exist: [`Section::finish`] reports the rest, so
//! there is no second list of allowed keys that could go stale.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;

use config::{Map, Value, ValueKind};

use super::entry::{Entry, origin_of};
use super::{SettingsError, closest};

/// What all sections of one load share.
pub(super) struct Context {
    /// Name of the settings file as it stands in the origin of its values.
    pub(super) file: Option<String>,
    /// Directory from which relative paths count.
    pub(super) base: PathBuf,
    /// Every mistake so far; written by sections and the environment, read once at the end.
    mistakes: RefCell<Vec<SettingsError>>,
}

impl Context {
    pub(super) fn new(file: Option<String>, base: PathBuf) -> Self {
        Self { file, base, mistakes: RefCell::new(Vec::new()) }
    }

    pub(super) fn report(&self, mistake: SettingsError) {
        self.mistakes.borrow_mut().push(mistake);
    }

    pub(super) fn into_mistakes(self) -> Vec<SettingsError> {
        self.mistakes.into_inner()
    }

    pub(super) fn is_env(&self, origin: &str) -> bool {
        self.file.as_deref() != Some(origin)
    }
}

/// A table, its unread values, and the keys that were asked for.
pub(super) struct Section<'c> {
    context: &'c Context,
    /// Path of the table; empty for the root.
    path: String,
    /// Where the table itself came from, for mistakes that concern no single key of it.
    origin: String,
    unread: BTreeMap<String, Value>,
    known: Vec<&'static str>,
}

impl<'c> Section<'c> {
    /// The whole tree.
    pub(super) fn root(context: &'c Context, tree: Map<String, Value>) -> Self {
        let origin = context.file.clone().unwrap_or_default();
        Self { unread: tree.into_iter().collect(), ..Self::empty(context, String::new(), origin) }
    }

    /// The table at `path`. None for a value that is no table, which was reported.
    pub(super) fn at(
        context: &'c Context,
        path: String,
        value: Value,
        example: &str,
    ) -> Option<Self> {
        let mut section = Self::empty(context, path, origin_of(&value));
        match value.kind {
            ValueKind::Table(table) => section.unread = table.into_iter().collect(),
            // YAML reads a section as nothing when all its keys are commented out.
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

    fn empty(context: &'c Context, path: String, origin: String) -> Self {
        Self { context, path, origin, unread: BTreeMap::new(), known: Vec::new() }
    }

    /// The table under `key`; an empty one if there is none, or something else.
    pub(super) fn section(&mut self, key: &'static str) -> Section<'c> {
        self.known.push(key);
        let example = format!("[{key}] and its keys below");
        self.unread
            .remove(key)
            .and_then(|value| Section::at(self.context, self.child(key), value, &example))
            .unwrap_or_else(|| Section::empty(self.context, self.child(key), self.origin.clone()))
    }

    /// The table under `key`; None if there is none, or something else, which was reported.
    pub(super) fn table(&mut self, key: &'static str, example: &str) -> Option<Section<'c>> {
        self.known.push(key);
        let value = self.unread.remove(key)?;
        Section::at(self.context, self.child(key), value, example)
    }

    /// The value under `key` as `convert` reads it. None if it is absent or was reported.
    pub(super) fn read<T>(
        &mut self,
        key: &'static str,
        convert: impl FnOnce(&Entry) -> Result<T, SettingsError>,
    ) -> Option<T> {
        self.known.push(key);
        let value = self.unread.remove(key)?;
        self.convert(key, value, convert)
    }

    /// A value of [`Section::take_all`], as `convert` reads it. None if it was reported.
    pub(super) fn convert<T>(
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

    /// Where `key` was set, if it is there and not yet read.
    pub(super) fn origin(&self, key: &str) -> Option<String> {
        self.unread.get(key).map(origin_of)
    }

    /// Reports a mistake of the table as a whole.
    pub(super) fn wrong(&self, problem: impl Into<String>, help: impl Into<String>) {
        self.context.report(SettingsError::invalid(&self.origin, &self.path, problem, help));
    }

    /// Whether the environment alone made this table.
    pub(super) fn is_from_env(&self) -> bool {
        self.context.is_env(&self.origin)
    }

    /// Whether values are left that nobody asked for.
    pub(super) fn has_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    /// Reports that the environment set a key of a `what` that nothing else makes: it overrides
    /// nothing. `name` is what it meant, `names` are all of them.
    pub(super) fn overrides_nothing(&self, what: &str, name: &str, names: &[String]) {
        let others = || names.iter().map(String::as_str).filter(|other| *other != name);
        let hint = closest::hint(name, others());
        let known = others().collect::<Vec<_>>().join(", ");
        let known = if known.is_empty() { "none".to_owned() } else { known };
        let problem = format!("there is no such {what} to override");
        self.wrong(problem, format!("{hint}{what}s: {known}"));
    }

    /// All values under names that the user chose.
    pub(super) fn take_all(&mut self) -> BTreeMap<String, Value> {
        std::mem::take(&mut self.unread)
    }

    pub(super) fn context(&self) -> &'c Context {
        self.context
    }

    /// Path of `key` below this table, on one line whatever the key holds.
    pub(super) fn child(&self, key: &str) -> String {
        let key = key.escape_debug();
        if self.path.is_empty() { key.to_string() } else { format!("{}.{key}", self.path) }
    }

    /// Reports every key that nobody asked for.
    pub(super) fn finish(self) {
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
