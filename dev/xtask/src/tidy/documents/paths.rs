//! Paths of source files that a document names in backticks exist.

use std::collections::HashSet;

use super::markdown;
use crate::tidy::files::SourceFile;
use crate::tidy::finding::Finding;

/// The ends of names of files that documents speak about.
const KINDS: &[&str] = &["rs", "lua", "sh", "py", "json", "toml", "md"];

/// Checks every path in every Markdown file. A path begins with a folder of the root: all others
/// are relative to another place, or examples.
pub(super) fn check(files: &[SourceFile]) -> Vec<Finding> {
    let paths: HashSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
    let folders: HashSet<&str> =
        paths.iter().filter_map(|path| Some(path.split_once('/')?.0)).collect();
    let missing = |path: &str| {
        let first = path.split_once('/').map_or("", |(folder, _)| folder);
        folders.contains(first) && is_path(path) && !paths.contains(path)
    };
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.has_extension("md")) {
        for (line, code) in markdown::code_spans(&file.text) {
            if missing(code) {
                findings.push(Finding {
                    path: file.path.clone(),
                    line,
                    what: format!("`{code}` does not exist"),
                    fix: "correct the path",
                });
            }
        }
    }
    findings
}

/// Returns `true` if `code` is the path of one file, without placeholders.
fn is_path(code: &str) -> bool {
    let plain = |of: char| of.is_ascii_alphanumeric() || matches!(of, '/' | '.' | '_' | '-');
    let kind = code.rsplit_once('.').map_or("", |(_, kind)| kind);
    KINDS.contains(&kind) && code.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_files_of_existing_folders_are_named() {
        let text = "`a/b.rs` `a/c.rs` `target/x.rs`\n```\n`a/d.rs`\n```\n`a/*.rs` `d.rs` `a/e.rs`";
        let files = [SourceFile::new("a/b.rs", ""), SourceFile::new("x.md", text)];
        let found: Vec<_> = check(&files).iter().map(ToString::to_string).collect();
        let [one, two] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!(one, "x.md:1: `a/c.rs` does not exist – correct the path");
        assert_eq!(two, "x.md:5: `a/e.rs` does not exist – correct the path");
    }
}
