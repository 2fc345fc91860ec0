//! The imports between the Rust files of a crate, read from their syntax.
//!
//! A path that begins with `crate`, `self`, `super` or a child module counts as an import of the
//! file that defines the longest module on it. Test code does not count: it sits above everything.

use std::collections::{BTreeMap, BTreeSet};

use syn::visit::{self, Visit};

use super::files::SourceFile;

/// The path of a module within its crate; empty for the root.
pub(super) type Module = Vec<String>;

/// The files of one crate by module.
pub(super) struct Crate<'a> {
    pub(super) files: BTreeMap<Module, &'a SourceFile>,
}

impl<'a> Crate<'a> {
    /// Returns the library or program whose root is in `folder`, such as `client/src`.
    pub(super) fn of(folder: &str, files: &'a [SourceFile]) -> Self {
        let prefix = format!("{folder}/");
        let own = files.iter().filter_map(|file| {
            let inner = file.path.strip_prefix(&prefix)?.strip_suffix(".rs")?;
            if inner.starts_with("bin/") {
                return None;
            }
            let mut module: Module = inner.split('/').map(str::to_owned).collect();
            if matches!(module.last().map(String::as_str), Some("mod" | "lib" | "main")) {
                module.pop();
            }
            Some((module, file))
        });
        // A program next to a library is a crate of its own: `lib.rs`, the first, is the root.
        let mut all = BTreeMap::new();
        for (module, file) in own {
            all.entry(module).or_insert(file);
        }
        Self { files: all }
    }

    /// Returns the imports of the file of `module`; empty if it does not parse, which the compiler
    /// reports.
    fn imports(&self, module: &Module) -> BTreeSet<Module> {
        let Some(file) = self.files.get(module) else { return BTreeSet::new() };
        let Ok(syntax) = syn::parse_file(&file.text) else { return BTreeSet::new() };
        let mut reader = Reader { known: self, module, inner: Vec::new(), found: BTreeSet::new() };
        reader.visit_file(&syntax);
        reader.found
    }

    /// Returns the module of a file that `path`, absolute in the crate, leads into.
    fn resolve(&self, path: &[String]) -> Module {
        let lengths = (0..=path.len()).rev();
        let mut known = lengths.map(|length| path[..length].to_vec());
        known.find(|module| self.files.contains_key(module)).unwrap_or_default()
    }
}

struct Reader<'a> {
    known: &'a Crate<'a>,
    module: &'a Module,
    /// Names of the modules in braces around the place that is read.
    inner: Vec<String>,
    found: BTreeSet<Module>,
}

impl Reader<'_> {
    fn path(&mut self, path: &[String]) {
        let here: Vec<String> = self.module.iter().chain(&self.inner).cloned().collect();
        let (mut base, mut rest) = (here, path);
        match rest.first().map(String::as_str) {
            Some("crate") => (base, rest) = (Vec::new(), &rest[1..]),
            Some("self") => rest = &rest[1..],
            Some("super") => {
                while rest.first().is_some_and(|part| part == "super") {
                    base.pop();
                    rest = &rest[1..];
                }
            }
            Some(name) => {
                let child: Vec<String> = base.iter().cloned().chain([name.to_owned()]).collect();
                if !self.known.files.contains_key(&child) {
                    return;
                }
            }
            None => return,
        }
        base.extend(rest.iter().cloned());
        let to = self.known.resolve(&base);
        if to != *self.module {
            self.found.insert(to);
        }
    }

    fn tree(&mut self, before: &[String], tree: &syn::UseTree) {
        let with = |name: &syn::Ident| {
            before.iter().cloned().chain([name.to_string()]).collect::<Vec<_>>()
        };
        match tree {
            syn::UseTree::Path(path) => self.tree(&with(&path.ident), &path.tree),
            syn::UseTree::Name(name) => self.path(&with(&name.ident)),
            syn::UseTree::Rename(name) => self.path(&with(&name.ident)),
            syn::UseTree::Glob(_) => self.path(before),
            syn::UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.tree(before, tree));
            }
        }
    }
}

/// Returns `true` if the item is compiled for tests only.
pub(super) fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Ident>().is_ok_and(|what| what == "test")
    })
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if is_test(&item.attrs) {
            return;
        }
        self.inner.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.inner.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if !is_test(&item.attrs) {
            self.tree(&[], &item.tree);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<String> = path.segments.iter().map(|part| part.ident.to_string()).collect();
        if names.len() > 1 && path.leading_colon.is_none() {
            self.path(&names);
        }
        visit::visit_path(self, path);
    }
}

/// The modules that `crate_` has, each with those it imports.
pub(super) fn graph(crate_: &Crate<'_>) -> BTreeMap<Module, BTreeSet<Module>> {
    crate_.files.keys().map(|module| (module.clone(), crate_.imports(module))).collect()
}
