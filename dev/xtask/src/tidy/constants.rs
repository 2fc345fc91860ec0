//! No constant has the same name and value in two places, in the shipped crates together, nor in
//! one of the other crates. Reason: one of the two is changed some day, and the other is not.

use std::collections::BTreeMap;

use syn::visit::{self, Visit};

use super::files::SourceFile;
use super::finding::Finding;
use super::imports::is_test;

/// The shipped crates: they share constants by `common`.
const SHIPPED: &[&str] = &["cli/src/", "client/src/", "common/src/", "store/src/", "worker/src/"];

/// The other crates, each with its own constants.
const OTHERS: &[&str] = &[
    "dev/bench/inner/",
    "dev/bench/src/",
    "dev/chaos/",
    "dev/fuzz/",
    "dev/model/",
    "dev/testkit/",
    "dev/tests/",
    "dev/xtask/",
    "example/",
];

/// Names that may have the same value in several files, with the reason.
const ALLOWED: &[(&str, &str)] = &[
    ("ALLOCATOR", "each program names its allocator itself"),
    ("STICKY", "POSIX fixes the bits of a mode"),
    ("WITHOUT_PYTHON", "the example's test states the text that its program prints"),
];

/// Checks the constants and statics of all files; in shipped crates, without those of tests.
pub(super) fn check(files: &[SourceFile]) -> Vec<Finding> {
    let mut seen: BTreeMap<(&str, String, String), (&str, usize)> = BTreeMap::new();
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.has_extension("rs")) {
        let Some(scope) = scope(&file.path) else { continue };
        let Ok(syntax) = syn::parse_file(&file.text) else { continue };
        let mut reader = Reader { text: &file.text, found: Vec::new() };
        reader.visit_file(&syntax);
        for (name, value, line) in reader.found {
            if ALLOWED.iter().any(|(allowed, _)| *allowed == name) {
                continue;
            }
            match seen.get(&(scope, name.clone(), value.clone())) {
                Some((path, first)) => findings.push(Finding {
                    path: file.path.clone(),
                    line,
                    what: format!("`{name}` has the same value in {path}:{first}"),
                    fix: "define it once below both, or name each for its own use",
                }),
                None => {
                    seen.insert((scope, name, value), (&file.path, line));
                }
            }
        }
    }
    findings
}

/// Returns the files that share constants with this one, as a name; `None` for tests of shipped
/// crates.
fn scope(path: &str) -> Option<&'static str> {
    if SHIPPED.iter().any(|folder| path.starts_with(folder)) {
        let is_test = path.split('/').any(|part| part == "tests" || part == "tests.rs");
        return (!is_test).then_some("shipped");
    }
    OTHERS.iter().find(|folder| path.starts_with(**folder)).copied()
}

/// The constants of a file: name, value as it is written but for spaces, line.
struct Reader<'a> {
    text: &'a str,
    found: Vec<(String, String, usize)>,
}

impl Reader<'_> {
    /// Adds a constant whose value is between these signs.
    fn add(&mut self, name: &syn::Ident, equals: &syn::Token![=], end: &syn::Token![;]) {
        let value = self.text.get(equals.span.byte_range().end..end.span.byte_range().start);
        let value = value.unwrap_or_default().split_whitespace().collect();
        // An unnamed constant is an assertion of the compiler.
        if name != "_" {
            self.found.push((name.to_string(), value, name.span().start().line));
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        self.add(&item.ident, &item.eq_token, &item.semi_token);
    }

    fn visit_item_static(&mut self, item: &'ast syn::ItemStatic) {
        self.add(&item.ident, &item.eq_token, &item.semi_token);
    }

    fn visit_impl_item_const(&mut self, item: &'ast syn::ImplItemConst) {
        self.add(&item.ident, &item.eq_token, &item.semi_token);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_test(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let files: Vec<_> =
            files.iter().map(|(path, text)| SourceFile::new(*path, *text)).collect();
        check(&files).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn same_name_and_value_in_two_files_is_found() {
        let found = found(&[
            ("client/src/a.rs", "const PAUSE: Duration = Duration::from_millis(50);"),
            (
                "worker/src/b.rs",
                "fn f() {\n const PAUSE: Duration = Duration::from_millis( 50 );\n}",
            ),
        ]);
        let [one] = found.as_slice() else { panic!("{found:?}") };
        assert!(
            one.starts_with("worker/src/b.rs:2: `PAUSE` has the same value in client/src/a.rs:1")
        );
    }

    #[test]
    fn each_other_crate_has_its_own_constants() {
        let files = [
            ("dev/chaos/a.rs", "const N: u8 = 1;"),
            ("dev/model/b.rs", "const N: u8 = 1;"),
            ("dev/chaos/c.rs", "const N: u8 = 1;"),
        ];
        let found = found(&files);
        let [one] = found.as_slice() else { panic!("{found:?}") };
        assert!(one.starts_with("dev/chaos/c.rs:1: `N` has the same value in dev/chaos/a.rs:1"));
    }

    #[test]
    fn other_values_tests_and_other_crates_pass() {
        let files = [
            ("client/src/a.rs", "const A: u8 = 1; const B: u8 = 1; const _: () = ();"),
            ("client/src/b.rs", "const A: u8 = 2; const _: () = ();"),
            ("worker/src/c.rs", "#[cfg(test)] mod tests { const A: u8 = 1; }"),
            ("worker/src/c/tests.rs", "const A: u8 = 1;"),
            ("dev/chaos/src/d.rs", "const A: u8 = 1;"),
        ];
        assert_eq!(found(&files), [""; 0]);
    }
}
