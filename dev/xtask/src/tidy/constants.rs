//! No constant of the same name and value twice within a crate. Reason: two copies of one timeout
//! are two places to change it, and one of them is forgotten.

use std::collections::BTreeMap;

use proc_macro2::{TokenStream, TokenTree};

use super::files::SourceFile;
use super::finding::Finding;

/// The folders of the crates that are checked.
const CRATES: &[&str] = &[
    "cli/",
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

/// Constants that are twice in a crate for a reason: crate, name, reason.
const ALLOWED: &[(&str, &str, &str)] =
    &[("example/", "WITHOUT_PYTHON", "the test states the text that a program prints")];

/// The crate, the name and the value of a constant.
type Key<'a> = (&'a str, String, String);

/// Checks all crates whose files are among `files`.
pub(super) fn check(files: &[SourceFile]) -> Vec<Finding> {
    let mut first: BTreeMap<Key<'_>, &str> = BTreeMap::new();
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.has_extension("rs")) {
        let Some(of) = CRATES.iter().find(|folder| file.path.starts_with(**folder)) else {
            continue;
        };
        // A file that does not parse is reported by the compiler.
        let Ok(tokens) = file.text.parse() else { continue };
        let mut constants = Vec::new();
        read(tokens, &mut constants);
        for Constant { name, value, line } in constants {
            let is_allowed =
                ALLOWED.iter().any(|(folder, allowed, _)| folder == of && *allowed == name);
            let key = (*of, name, value);
            match first.get(&key) {
                None => {
                    first.insert(key, &file.path);
                }
                // Two functions of one file, or two modules of tests, may each have their own.
                Some(path) if *path == file.path || is_allowed => {}
                Some(path) => findings.push(Finding {
                    path: file.path.clone(),
                    line,
                    what: format!("the constant {} has the same value in {path}", key.1),
                    fix: "give it one home, or another name if it means something else",
                }),
            }
        }
    }
    findings
}

/// A constant of a file.
struct Constant {
    name: String,
    /// The source text of its value, with even spaces.
    value: String,
    line: usize,
}

/// Adds the constants in `tokens`, at every depth.
fn read(tokens: TokenStream, found: &mut Vec<Constant>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let is_mark =
        |token: &TokenTree, mark| matches!(token, TokenTree::Punct(own) if own.as_char() == mark);
    for (at, token) in tokens.iter().enumerate() {
        if let TokenTree::Group(group) = token {
            read(group.stream(), found);
        }
        // `const NAME: TYPE = VALUE;`
        let [TokenTree::Ident(word), TokenTree::Ident(name), colon, rest @ ..] = &tokens[at..]
        else {
            continue;
        };
        if word != "const" || !is_mark(colon, ':') {
            continue;
        }
        let end = rest.iter().position(|token| is_mark(token, ';')).unwrap_or(rest.len());
        let Some(equals) = rest[..end].iter().position(|token| is_mark(token, '=')) else {
            continue;
        };
        let value: TokenStream = rest[equals + 1..end].iter().cloned().collect();
        found.push(Constant {
            name: name.to_string(),
            value: value.to_string(),
            line: name.span().start().line,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let file = |(path, text): &(&str, &str)| SourceFile {
            path: (*path).to_owned(),
            text: (*text).to_owned(),
        };
        let files: Vec<SourceFile> = files.iter().map(file).collect();
        check(&files).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn second_constant_of_the_same_name_and_value_is_found() {
        let files = [
            ("dev/chaos/a.rs", "const PAUSE: Duration = Duration::from_millis(5);"),
            (
                "dev/chaos/b.rs",
                "fn f() {\n    const PAUSE: Duration = Duration::from_millis( 5 );\n}",
            ),
        ];
        assert_eq!(
            found(&files),
            ["dev/chaos/b.rs:2: the constant PAUSE has the same value in dev/chaos/a.rs – \
              give it one home, or another name if it means something else"]
        );
    }

    #[test]
    fn other_value_other_name_and_other_crate_pass() {
        let files = [
            ("dev/chaos/a.rs", "const N: u8 = 1;"),
            ("dev/chaos/b.rs", "const N: u8 = 2; const M: u8 = 1;"),
            ("dev/model/a.rs", "const N: u8 = 1;"),
            ("dev/chaos/c.rs", "impl A { const fn n() -> u8 { 1 } }"),
        ];
        assert_eq!(found(&files), [""; 0]);
    }
}
