//! docs/internals/guarantees.md and the decision on the state machine name tests that exist, and
//! the table of results lists every result of every script.

use std::path::{Path, PathBuf};

use crate::support::root;

const DECISION: &str = "docs/internals/decisions/0008-the-state-machine-is-checked.md";

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// Quotations in backticks with the form of a test's name: `life::cancels::name`.
fn named(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2).filter(|word| word.contains("::"))
}

/// Where tests are; each module of tests is a file there, or `tests` in the file of its module.
const FOLDERS: [&str; 8] = [
    "dev/tests/tests/suite",
    "client/src",
    "common/src",
    "common/tests",
    "store/src",
    "dev/model/tests",
    "gateway/src",
    "gateway/tests",
];

/// Returns `true` if there is a test of this name below `folder` of the suite, or in another crate.
fn exists(folder: &str, name: &str) -> bool {
    let (modules, function) = name.rsplit_once("::").unwrap();
    let module = modules.strip_suffix("::tests").unwrap_or(modules);
    let is_at = |folder: PathBuf, modules: &str| {
        let file = root().join(folder).join(modules.replace("::", "/")).with_extension("rs");
        let source = std::fs::read_to_string(file).unwrap_or_default();
        // A macro writes the function of a test of `lua::failures`.
        let heads = [format!("fn {function}()"), format!("    {function}: \"")];
        heads.iter().any(|head| source.contains(head))
    };
    let [suite, others @ ..] = FOLDERS.map(PathBuf::from);
    is_at(suite.join(folder), modules)
        || others.into_iter().any(|of| is_at(of.clone(), modules) || is_at(of, module))
}

/// The rows of the table that begins with `head`, each by its cells.
fn rows<'a>(text: &'a str, head: &str) -> Vec<Vec<&'a str>> {
    let (_, table) = text.split_once(head).unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

#[test]
fn every_test_that_the_guarantees_name_exists() {
    let text = read("docs/internals/guarantees.md");
    let named: Vec<&str> = named(&text).collect();
    assert!(named.len() > 50, "only {} tests are named", named.len());
    let missing = named.into_iter().filter(|name| !exists("", name));
    assert_eq!(missing.collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn every_test_that_the_table_of_results_names_exists() {
    let text = read(DECISION);
    for (head, folder) in [("| script | result | test |", "lua"), ("| script | changed |", "")] {
        for row in rows(&text, head) {
            let tests: Vec<&str> = named(row[row.len() - 1]).collect();
            assert!(!tests.is_empty(), "{row:?} names no test");
            let missing = tests.into_iter().filter(|name| !exists(folder, name));
            assert_eq!(missing.collect::<Vec<_>>(), [""; 0], "{row:?}");
        }
    }
}

/// The scripts by name, each with the results in its header.
fn scripts() -> Vec<(String, String)> {
    let mut files = Vec::new();
    collect(&root().join("store/src/lua"), &mut files);
    let returns = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        let (_, rest) = text.split_once("-- Returns: ").unwrap();
        let (returns, _) = rest.split_once("-- Derived keys: ").unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        (name, returns.replace("\n--", " "))
    };
    files.into_iter().map(returns).collect()
}

/// Adds all files below `folder`.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => collect(&path, files),
            false => files.push(path),
        }
    }
}

/// The results of a script, by its header: quoted words, and small numbers with the name of their
/// field, if it has one.
fn results(returns: &str) -> Vec<(Option<&str>, &str)> {
    // Lists within the list are in braces of their own.
    let fields = returns.split_once("}. ").map_or("", |(fields, _)| fields);
    let fields: Vec<&str> = fields.split(['{', '}', ',', ' ']).collect();
    let (mut field, mut results) = (None, Vec::new());
    for word in returns.split_whitespace() {
        if let Some(name) = word.strip_suffix(':').filter(|name| fields.contains(name)) {
            field = Some(name);
        }
        let plain = word.trim_matches(['{', '}', '(', ')', ',', '.', ';', ':']);
        if let Some(code) = plain.strip_prefix('\'').and_then(|code| code.strip_suffix('\'')) {
            results.push((None, code));
        } else if ["-1", "0", "1", "2"].contains(&plain) {
            results.push((field, plain));
        }
    }
    results
}

#[test]
fn every_result_of_every_script_is_in_the_table_with_its_test() {
    let text = read(DECISION);
    let rows = rows(&text, "| script | result | test |");
    let mut missing = Vec::new();
    let mut count = 0;
    for (script, returns) in scripts() {
        for (field, code) in results(&returns) {
            count += 1;
            let has_both = |cell: &str| {
                let other = |of: char| !(of.is_alphanumeric() || of == '-' || of == '_');
                let words: Vec<&str> = cell.split(other).collect();
                words.contains(&code) && field.is_none_or(|field| words.contains(&field))
            };
            if !rows.iter().any(|row| row[0] == script && has_both(row[1])) {
                missing.push(format!("{script}: {} {code}", field.unwrap_or_default()));
            }
        }
    }
    assert!(count > 40, "only {count} results were found");
    assert_eq!(missing, [""; 0]);
}

/// Scripts and their shared parts.
#[test]
fn every_script_is_in_the_table_of_changes() {
    let text = read(DECISION);
    let rows = rows(&text, "| script | changed |");
    let missing = scripts().into_iter().map(|(script, _)| script);
    let missing = missing.filter(|script| !rows.iter().any(|row| row[0] == script));
    assert_eq!(missing.collect::<Vec<_>>(), [""; 0]);
}
